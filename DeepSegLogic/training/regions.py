"""Structures that overlap: the labels that stand for their combinations, as in nnU-Net's region-based training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations as subsets
from itertools import count

import numpy as np

from ..data.label_map import LabelMap
from ..data.types import LabelArray, MaskArray
from ..util.errors import InputError

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


def combinations_of(structures: Mapping[str, Sequence[int]]) -> dict[int, Combination]:
    """The structures that each label belongs to, from the labels of each structure."""
    found: dict[int, set[str]] = {}
    for name, values in structures.items():
        for value in values:
            found.setdefault(value, set()).add(name)
    return {value: frozenset(names) for value, names in found.items()}


def regions_of(found: Mapping[Combination, int], given: Regions | None = None) -> Regions:
    """Labels for all combinations of structures that occur.

    Structures are written from the largest to the smallest. A structure's own label is the combination in which it is
    most often the smallest, so that a label map of the result says as much as one label per voxel can.

    Args:
        found: number of voxels by combination.
        given: what ``dataset.json`` says; it is kept, and labels are added for what it lacks.
    """
    values = {name: list(labels) for name, labels in given.values.items()} if given is not None else {}
    order = list(given.order) if given is not None else []
    known = set(given.by_combination()) if given is not None else {frozenset[str]()}
    sizes: Counter[str] = Counter()
    for combination, voxels in found.items():
        sizes.update(dict.fromkeys(combination, voxels))
    added = sorted(sizes.keys() - values.keys(), key=lambda name: (-sizes[name], name))
    names = [*values, *added]
    values |= {name: [] for name in added}
    free = count(1 + max((label for labels in values.values() for label in labels), default=0))
    waiting = sorted(found.keys() - known, key=lambda c: (-found[c], sorted(c)))
    for name in added:
        own = next((c for c in waiting if max(c, key=names.index) == name), frozenset({name}))
        order.append(next(free))
        for member in own:
            values[member].append(order[-1])
        waiting = [c for c in waiting if c != own]
    for combination, label in zip(waiting, free, strict=False):
        for member in combination:
            values[member].append(label)
    return Regions({name: tuple(labels) for name, labels in values.items()}, tuple(order))


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
        but = f" In {_listed(apart)} they lie side by side: check that all cases are labelled alike." if apart else ""
        sentences.append(f"{first} and {second} overlap in {_listed(where)}: trained as regions.{but}")
    more = [f"{len(sentences) - _TOLD} more pairs of structures overlap."] if len(sentences) > _TOLD else []
    return sentences[:_TOLD] + more


def _pairs(combinations: Mapping[Combination, int]) -> Iterator[tuple[str, str]]:
    for combination in combinations:
        yield from subsets(sorted(combination), 2)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")
