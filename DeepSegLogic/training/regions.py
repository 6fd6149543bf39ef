"""Structures that overlap: the labels that stand for their combinations, as in nnU-Net's region-based training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations as subsets
from itertools import count
from typing import Any

import numpy as np

from ..data.label_map import LabelMap
from ..data.types import LabelArray, MaskArray
from ..models.nnunet_plan import labels_of
from ..util.errors import InputError
from ..util.words import some_of

Combination = frozenset[str]
"""The names of all structures that a voxel belongs to."""
MOST_COMBINATIONS = 1000
_TOLD = 5  # pairs of structures, and cases of each


@dataclass(frozen=True)
class Regions:
    """Structures that overlap: each is made of one or more label values.

    Attributes:
        values: of the labels in each structure, by name.
        order: the label that each structure writes in the result, in writing order.
    """

    values: Mapping[str, tuple[int, ...]]
    order: tuple[int, ...]

    def table(self) -> MaskArray:
        """(structures, highest label + 1) bool: which label belongs to which structure."""
        table = np.zeros((len(self.values), 1 + max(max(v) for v in self.values.values())), bool)
        for row, values in zip(table, self.values.values(), strict=True):
            row[list(values)] = True
        return table

    def labels(self) -> dict[int, str]:
        """Each label with the name of the smallest structure that it belongs to."""
        smallest: dict[int, str] = {}
        for name, values in sorted(self.values.items(), key=lambda item: -len(item[1])):
            smallest |= dict.fromkeys(values, name)
        return dict(sorted(smallest.items()))

    def by_combination(self) -> dict[Combination, int]:
        """The label of each combination of structures; 0 for none of them."""
        members = combinations_of(self.values)
        return {frozenset(): 0} | {members[label]: label for label in sorted(members, reverse=True)}

    def label_of(self, combination: Combination, asked: Combination) -> int | None:
        """A label for voxels of a case in which only some structures were looked for; None if there is none.

        Args:
            combination: the structures there; what was not looked for does not count.
            asked: the structures that were looked for.
        """
        labels = self.by_combination()
        found = agreeing(combination, asked, labels)
        return None if found is None else labels[found]

    def as_dataset_json(self) -> dict[str, Any]:
        """As ``dataset.json`` says it."""
        labels = {name: list(v) if len(v) > 1 else v[0] for name, v in self.values.items()}
        return {"labels": {"background": 0, **labels}, "regions_class_order": list(self.order)}

    def written(self) -> dict[str, Combination]:
        """What the labels of a result stand for: the structures that are there for sure, by name of the label.

        A voxel of a result has the label that the last structure there writes, and a name for what that leaves, such as
        ``liver_without_tumor``.
        """
        return {name: frozenset.intersection(*under) for name, under in self._under().items()}

    def hidden(self) -> Combination:
        """The structures of which a result does not show all, as others are written over them that may lie outside."""
        doubts = (frozenset.union(*under) - frozenset.intersection(*under) for under in self._under().values())
        return frozenset[str]().union(*doubts)

    def _under(self) -> dict[str, list[Combination]]:
        """The combinations that become each label of a result, by its name."""
        names, last = labels_of(self.as_dataset_json())[0], dict[int, int]()
        for value, labels in zip(self.order, self.values.values(), strict=True):
            last |= dict.fromkeys(labels, value)
        found: dict[str, list[Combination]] = {}
        for label, members in combinations_of(self.values).items():
            found.setdefault(names[last[label]], []).append(members)
        return found


def combinations_of(structures: Mapping[str, Sequence[int]]) -> dict[int, Combination]:
    """The structures that each label belongs to, from the labels of each structure."""
    found: dict[int, set[str]] = {}
    for name, values in structures.items():
        for value in values:
            found.setdefault(value, set()).add(name)
    return {value: frozenset(names) for value, names in found.items()}


def agreeing(combination: Combination, asked: Combination, known: Iterable[Combination]) -> Combination | None:
    """Which of the ``known`` combinations has the same of the structures that were ``asked`` for, and as few others as
    possible; None if none has.
    """
    here = combination & asked
    return min((one for one in known if one & asked == here), key=lambda one: len(one - here), default=None)


def regions_of(found: Mapping[Combination, int], given: Regions | None = None) -> Regions:
    """Labels for all combinations of structures that occur.

    Structures are written from the largest to the smallest. A structure's own label is the combination in which it is
    most often the smallest, so that a label map of the result says as much as one label per voxel can.

    Args:
        found: number of voxels by combination.
        given: what ``dataset.json`` or a model says; its labels are kept, where structures overlap also their order,
            and labels are added for what it lacks.
    """
    given = given or Regions({}, ())
    values = {name: list(labels) for name, labels in given.values.items()}
    order = dict(zip(values, given.order, strict=True))
    sizes: Counter[str] = Counter()
    for combination, voxels in found.items():
        sizes.update(dict.fromkeys(combination, voxels))
    added = sorted(sizes.keys() - values.keys(), key=lambda name: (-sizes[name], name))
    overlap = any(len(members) > 1 for members in combinations_of(given.values).values())
    names = list(values) if overlap else sorted(values, key=lambda name: -sizes[name])
    for name in added:
        met = [n for n, other in enumerate(names) if any({name, other} <= combination for combination in found)]
        after = max((n + 1 for n in met if sizes[names[n]] >= sizes[name]), default=0)
        names.insert(min((n for n in met if n >= after), default=len(names)), name)
    values |= {name: [] for name in added}
    for label, alone in combinations_of(given.values).items():
        within = [c for c in found if c > alone and c & given.values.keys() == alone]
        if within and not found.get(alone):  # what was by itself is always in a structure that is added
            for name in max(within, key=found.__getitem__) - alone:
                values[name].append(label)
    free = count(1 + max((label for labels in values.values() for label in labels), default=0))
    known = {frozenset[str](), *combinations_of(values).values()}
    waiting = sorted(found.keys() - known, key=lambda c: (-found[c], sorted(c)))
    for name in added:
        own = next((c for c in waiting if max(c, key=names.index) == name), frozenset({name}))
        order[name] = next(free)
        for member in own:
            values[member].append(order[name])
        waiting = [c for c in waiting if c != own]
    for combination, label in zip(waiting, free, strict=False):
        for member in combination:
            values[member].append(label)
    return Regions({name: tuple(values[name]) for name in names}, tuple(order[name] for name in names))


def combined(label_map: LabelMap) -> tuple[LabelArray, dict[int, frozenset[int]]]:
    """One array for the layers of a label map.

    Returns:
        (K, J, I) uint16; and for each value from 1 in it, the values in ``label_map`` of the structures at its voxels.

    Raises:
        InputError: there are too many combinations.
    """
    codes, found = np.zeros(label_map.array.shape, np.uint16), [frozenset[int]()]
    for layer in label_map.layers:
        own = [0, *(s.value for s in layer.structures)]
        place = np.zeros(max(own) + 1, np.int32)
        place[own] = range(len(own))
        pairs = np.multiply(codes, len(own), dtype=np.int32)
        pairs += place[layer.array]
        counts = np.zeros(len(found) * len(own), np.int64)
        for part in pairs:
            counts += np.bincount(part.ravel(), minlength=len(counts))
        counts[0] += 1
        present = np.flatnonzero(counts)
        check_number(len(present) - 1)
        table = np.zeros(len(counts), np.uint16)
        table[present] = range(len(present))
        codes = table[pairs]
        found = [found[p // len(own)] | ({own[p % len(own)]} - {0}) for p in present.tolist()]
    return codes, {code: members for code, members in enumerate(found) if members}


def check_number(combinations: int) -> None:
    """Check that there are few enough combinations of structures.

    Raises:
        InputError: there are too many.
    """
    if combinations > MOST_COMBINATIONS:
        raise InputError(
            f"The structures overlap in more than {MOST_COMBINATIONS} combinations.",
            "Train on fewer structures, or on segmentations that overlap less.",
            code="input.overlap",
        )


def overlap_sentences(cases: Mapping[str, Mapping[Combination, int]], known: Regions | None = None) -> list[str]:
    """One sentence for each pair of structures that overlap, and where they do not although both are there.

    Args:
        cases: number of voxels by combination, by name of the case.
        known: of ``dataset.json``; what overlaps there needs no sentence.
    """
    told = set(_pairs(known.by_combination())) if known is not None else set()
    overlapping: dict[tuple[str, str], list[str]] = {}
    for case, found in cases.items():
        for pair in set(_pairs(found)) - told:
            overlapping.setdefault(pair, []).append(case)
    sentences = []
    for (first, second), where in sorted(overlapping.items()):
        both = [n for n, found in cases.items() if {first, second} <= frozenset[str]().union(*found)]
        apart = [name for name in both if name not in where]
        sentence = f"{first} and {second} overlap in {some_of(where, _TOLD)}: trained as regions."
        if apart:
            sentence += f" In {some_of(apart, _TOLD)} they lie side by side: check that all cases are labelled alike."
        sentences.append(sentence)
    more = [f"{len(sentences) - _TOLD} more pairs of structures overlap."] if len(sentences) > _TOLD else []
    return sentences[:_TOLD] + more


def _pairs(combinations: Mapping[Combination, int]) -> Iterator[tuple[str, str]]:
    for combination in combinations:
        yield from subsets(sorted(combination), 2)
