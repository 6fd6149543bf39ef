"""One entry of a plan, as the session holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.boxes import boxes_by_label, corners_of
from ..data.types import PointsRas
from ..refinement.undo import Entry
from ..util.errors import DeepSegError

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..planning import DistanceMap, Plan
    from ..surfaces import Surface

Steps = tuple[Entry, ...]
"""The corrections that the voxels of a result have."""


@dataclass(frozen=True, eq=False)
class Planned:
    """An entry of the plan with its numbers.

    Attributes:
        kind: one of :data:`~DeepSegLogic.planning.plan_file.KINDS`.
        entry, numbers: as in a plan file.
        since: the corrections that had been made when the numbers were computed; None: unknown ones.
        shape: the surface of a margin, or a distance map; None where it is not known.
    """

    kind: str
    entry: dict[str, Any]
    numbers: dict[str, Any]
    since: Steps | None
    shape: Surface | DistanceMap | None = None

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the structures that it is about."""
        keys = ("one", "other", "structure", "organ", "tumor", "vessel")
        return tuple(self.numbers[key] for key in keys if isinstance(self.numbers.get(key), str))

    @property
    def segments(self) -> dict[str, PointsRas]:
        """The straight lines that show it: two points each, (2, 3) in RAS mm, by name."""
        found = {
            "distances": {"": "points_ras"},
            "diameters": {"longest": "longest_ras", "across": "perpendicular_ras"},
        }.get(self.kind, {})
        ends = {name: self.numbers[key] for name, key in found.items()}
        if self.kind == "approaches":
            ends[""] = [self.entry["entry"], self.entry["target"]]
        return {name: np.array(points, float).reshape(2, 3) for name, points in ends.items()}

    @property
    def curve(self) -> PointsRas | None:
        """The center line that shows it, (N, 3) in RAS mm; None if it has none."""
        return np.array(self.numbers["points_ras"], float).reshape(-1, 3) if self.kind == "vessels" else None


def framed(entries: Sequence[Planned], label_map: LabelMap) -> PointsRas:
    """What a picture of a plan must show, (N, 3) in RAS mm.

    These are the corners of boxes around the structures that it is about, or around all if it is about none, and the
    ends of its lines.
    """
    names = {name for planned in entries for name in planned.subjects}
    found = [points for planned in entries for points in planned.segments.values()]
    for layer in label_map.layers or [label_map]:
        boxes = boxes_by_label(layer.array)
        about = [s for s in layer.structures if s.value in boxes and (not names or s.name in names)]
        found += [corners_of(boxes[s.value], label_map.ijk_to_ras) for s in about]
    return np.concatenate([np.empty((0, 3)), *found])


def with_numbers(plan: Plan, steps: Steps | None) -> tuple[Planned, ...] | None:
    """The entries of a plan with the numbers that it holds; None if it does not hold all, or they are damaged."""
    from ..planning.plan_file import cut_of
    from ..planning.texts import lines

    found = []
    for kind, entries in plan.entries.items():
        numbers = (plan.numbers or {}).get(kind)
        if not isinstance(numbers, list) or len(numbers) != len(entries):
            return None
        found += [Planned(kind, entry, number, steps) for entry, number in zip(entries, numbers, strict=True)]
    try:
        for planned in found:
            lines(planned.kind, planned.numbers, {})
            cuts = [cut_of(cut) for cut in planned.entry.get("cuts", [])]
            places = list(planned.segments.values())
            if planned.curve is not None:
                places += [planned.curve, np.array(planned.numbers["smallest_ras"], float).reshape(1, 3)]
            if not all(len(points) and np.isfinite(points).all() for points in places):
                return None
            if cuts and not isinstance(planned.numbers["organ"], str):
                return None
    except (LookupError, TypeError, ValueError, AttributeError, DeepSegError):
        return None
    return tuple(found)
