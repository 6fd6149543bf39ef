"""How well a model finds structures before and after it learnt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from ..data.label_map import LabelMap
from ..data.types import MaskArray
from ..io.read import read_volume
from ..models.card import ModelCard
from ..models.model import load_model
from ..segmentation import segment
from ..training.beginnings import regions_in
from ..training.reading import read_case
from ..util.progress import Cancel, Progress, check
from .cases import CorrectedCase

Role = Literal["held_out", "learnt", "kept"]
_ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Row:
    """One line of the table before and after: a structure, and the mean Dice of it over cases where it occurs.

    Attributes:
        role: ``"held_out"``: against corrected labels that the model did not learn from; ``"learnt"``: against those
            that it did; ``"kept"``: of structures that were not corrected, against what the model found before.
        structure: its name.
        cases: number of cases.
        before, after: 0 to 1; ``before`` is 1 by definition for ``"kept"``.
    """

    role: Role
    structure: str
    cases: int
    before: float
    after: float

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Row:
        """The inverse of :meth:`as_json`.

        Raises:
            ValueError, LookupError, TypeError: these are not the facts of a row.
        """
        if facts["role"] not in _ROLES:
            raise ValueError(f"there is no role {facts['role']!r}")
        dice = float(facts["before"]), float(facts["after"])
        return cls(facts["role"], str(facts["structure"]), int(facts["cases"]), *dice)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def dice(one: MaskArray, other: MaskArray) -> float:
    """Dice coefficient of two masks of the same shape; 1 if both are empty, for then they agree."""
    sizes = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / sizes if sizes else 1.0


def mean_of(rows: Sequence[Row], role: Role) -> tuple[float, float] | None:
    """The mean Dice over the structures of a role before and after; None if there are none."""
    chosen = [row for row in rows if row.role == role]
    if not chosen:
        return None
    return sum(row.before for row in chosen) / len(chosen), sum(row.after for row in chosen) / len(chosen)


def compare(
    before: ModelCard,
    after: ModelCard,
    held_out: Sequence[CorrectedCase],
    learnt: Sequence[CorrectedCase],
    device: str,
    progress: Progress,
    cancel: Cancel,
) -> list[Row]:
    """Segment cases with two versions of a model, and compare both with the corrected labels.

    Returns:
        the rows, those of held-out cases first.

    Raises:
        InputError, ModelError, ResourceError, Cancelled: as of reading and segmenting.
    """
    cases = [*held_out, *learnt]
    found: list[list[LabelMap]] = []
    for number, card in enumerate((before, after)):
        model, results = load_model(card), []
        for place, case in enumerate(cases):
            check(cancel)
            progress("compare", (number * len(cases) + place) / (2 * len(cases)), case.name)
            volume = read_volume(case.files.image)
            results.append(segment(volume, model, device=device, force=True, cancel=cancel).label_map)
        found.append(results)
    table: dict[tuple[Role, str], list[tuple[float, float]]] = {}
    known, labels = regions_in(before), [_labels_of(card) for card in (before, after)]
    for place, (case, old, new) in enumerate(zip(cases, *found, strict=True)):
        truth, role = read_case(replace(case.files, model=known)), _ROLES[place >= len(held_out)]
        asked, counted = truth.looked_for or frozenset(), truth.counted
        for name in dict.fromkeys([*(n for n in truth.structures if n in asked), *labels[0]]):
            ours = [
                _mask(label_map, own.get(name, ())) & counted for label_map, own in zip((old, new), labels, strict=True)
            ]
            target = np.isin(truth.labels, truth.structures[name]) if name in asked else ours[0]
            if any(mask.any() for mask in (target, *ours)):  # else nobody expects or finds it
                pair = dice(target, ours[0]), dice(target, ours[1])
                table.setdefault((role if name in asked else "kept", name), []).append(pair)
    progress("compare", 1.0, "")
    rows = [Row(role, name, len(pairs), *np.mean(pairs, axis=0).tolist()) for (role, name), pairs in table.items()]
    return sorted(rows, key=lambda row: _ROLES.index(row.role))


def _labels_of(card: ModelCard) -> Mapping[str, Collection[str]]:
    """The labels of a result by structure: several if structures of the model overlap."""
    regions = regions_in(card)
    if regions is None:
        return {name: (name,) for name in card.structures}
    written = regions.written()
    return {name: [label for label, own in written.items() if name in own] for name in regions.values}


def _mask(label_map: LabelMap, names: Collection[str]) -> MaskArray:
    """The voxels of some structures; none of those that the label map does not know."""
    return np.isin(label_map.array, [s.value for s in label_map.structures if s.name in names])
