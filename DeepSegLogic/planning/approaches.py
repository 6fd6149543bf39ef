"""Approaches: a straight path, as of a needle, from an entry to a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data.affine import ras_to_ijk
from ..data.label_map import LabelMap
from ..data.types import FloatArray
from ..review.measurements import position
from ..util.given import checks_arguments
from .closest import closest_to_segment
from .cuts import Position, must_be_inside
from .subjects import notes_on, point, subject, surfaces_of


@dataclass(frozen=True)
class Crossed:
    """A structure that a path crosses.

    Attributes:
        structure: its name.
        mm: length of the path in its voxels.
        enters_mm: where it first enters it, from the entry.
    """

    structure: str
    mm: float
    enters_mm: float


@dataclass(frozen=True)
class Clearance:
    """The smallest distance between a path and the surface of a structure to spare.

    Attributes:
        structure: its name.
        distance_mm: 0 where the path meets the surface, and inside the structure.
        points_ras: on the path and on the surface, RAS mm.
    """

    structure: str
    distance_mm: float
    points_ras: tuple[Position, Position]


@dataclass(frozen=True)
class Approach:
    """A straight path.

    Attributes:
        entry, target: its ends, RAS mm.
        length_mm: between them.
        crossed: the structures that it crosses, in the order in which it enters them.
        clearances: of the structures to spare.
        notes: what limits the numbers, one sentence each.
    """

    entry: Position
    target: Position
    length_mm: float
    crossed: tuple[Crossed, ...]
    clearances: tuple[Clearance, ...]
    notes: tuple[str, ...]


@checks_arguments
def approach(
    label_map: LabelMap, entry: Sequence[float], target: Sequence[float], spare: Sequence[str] = ()
) -> Approach:
    """Check a straight path: what it crosses, voxel by voxel, and how far it stays from structures to spare.

    Args:
        label_map: the voxels, on any grid; it is not changed.
        entry: RAS mm; it may lie outside of the volume.
        target: RAS mm, in the volume.
        spare: names, titles or label values.

    Raises:
        UsageError: an unknown structure, or a target outside of the volume.
        InputError: a structure to spare has no voxels.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, approach
        >>> array = np.zeros((20, 20, 20), np.uint8)  # (K, J, I)
        >>> array[:, :, 8:], array[5:15, 5:15, 14:18] = 1, 2
        >>> parts = [Structure(1, "liver", "Liver"), Structure(2, "tumor", "Tumor")]
        >>> path = approach(LabelMap(array, np.eye(4), parts), (0, 10, 10), (16, 10, 10))
        >>> path.length_mm, [(c.structure, round(c.mm, 3)) for c in path.crossed]
        (16.0, [('liver', 6.0), ('tumor', 2.5)])
    """
    start, end = point(entry, "entry"), point(target, "target")
    must_be_inside(end[None], "target", label_map)
    length = float(np.linalg.norm(end - start))
    structures = [subject(label_map, name) for name in spare]
    clearances = []
    for structure, surface in zip(structures, surfaces_of(label_map, structures), strict=True):
        found = closest_to_segment(start, end, surface)
        clearances.append(Clearance(structure.name, found.mm, (position(found.one), position(found.other))))
    crossed = _crossed(label_map, start, end, length)
    inside = {c.structure for c in crossed}
    clearances = [c if c.structure not in inside else _none(c) for c in clearances]
    notes = list(notes_on(label_map, structures))
    ijk = ras_to_ijk(start[None], label_map.ijk_to_ras)[0]
    if ((ijk < -0.5) | (ijk > np.array(label_map.shape_ijk) - 0.5)).any():
        notes.append("The entry lies outside of the volume: what the path crosses there is unknown.")
    return Approach(position(start), position(end), length, crossed, tuple(clearances), tuple(notes))


def _none(clearance: Clearance) -> Clearance:
    """Of a structure that the path crosses, or lies in whole."""
    return Clearance(clearance.structure, 0.0, (clearance.points_ras[0],) * 2)


def _crossed(label_map: LabelMap, start: FloatArray, end: FloatArray, length: float) -> tuple[Crossed, ...]:
    """The structures of the voxels that a segment passes."""
    low, high = ras_to_ijk(np.stack([start, end]), label_map.ijk_to_ras)
    step = high - low
    passed = [np.array([0.0, 1.0])]
    for a, b, d in zip(low, high, step, strict=True):
        if d:  # the walls between voxels are at halves
            walls = np.arange(np.ceil(min(a, b) - 0.5), np.floor(max(a, b) - 0.5) + 1) + 0.5
            passed.append((walls - a) / d)
    places = np.unique(np.clip(np.concatenate(passed), 0, 1))
    middles, lengths = (places[1:] + places[:-1]) / 2, np.diff(places) * length
    voxels = np.rint(low + middles[:, None] * step).astype(int)
    inside = ((voxels >= 0) & (voxels < np.array(label_map.shape_ijk))).all(1)
    i, j, k = voxels[inside].T
    found = []
    for layer in label_map.layers or [label_map]:
        labels = layer.array[k, j, i]
        for structure in layer.structures:
            hit = labels == structure.value
            if hit.any():
                enters = float(places[:-1][inside][hit][0]) * length
                found.append(Crossed(structure.name, float(lengths[inside][hit].sum()), enters))
    return tuple(sorted(found, key=lambda c: c.enters_mm))
