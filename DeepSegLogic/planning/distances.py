"""Distances, contact and size of structures, measured on their joint closed surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..data.label_map import LabelMap
from ..data.types import FloatArray
from ..review.measurements import position
from ..surfaces.mesh_quality import distances_to_mesh
from ..util.given import checks_arguments
from .closest import areas_of, closest_between, share_below
from .subjects import length_mm, notes_on, subject, surfaces_of

TOUCHING_MM = 1e-6
"""Surfaces nearer than this share their boundary."""

_STARTS = 20  # pairs of points from which the longest diameter is looked for


@dataclass(frozen=True)
class Distance:
    """The smallest distance between the surfaces of two structures.

    Attributes:
        one, other: names of the structures.
        distance_mm: 0 where they touch or cross.
        points_ras: where it is, the point on each of them, RAS mm.
        notes: what limits the number, one sentence each.
    """

    one: str
    other: str
    distance_mm: float
    points_ras: tuple[tuple[float, float, float], tuple[float, float, float]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contact:
    """The part of one structure's surface that is near another.

    Attributes:
        one, other: names of the structures.
        within_mm: what counts as near; 0 for touching.
        area_mm2, percent: that part of the surface of ``one``.
        notes: as in :class:`Distance`.
    """

    one: str
    other: str
    within_mm: float
    area_mm2: float
    percent: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diameters:
    """The size of a structure, as RECIST and WHO measure it, but in 3D.

    Attributes:
        structure: its name.
        longest_mm: the largest distance between two points of its surface, to 0.1 %.
        longest_ras: those points, RAS mm.
        perpendicular_mm: the largest width of its outline as seen along that diameter, to 0.1 %.
        perpendicular_ras: the ends of that width, RAS mm: at a right angle to the diameter, midway between the two
            places of the surface where the outline is that wide.
        notes: as in :class:`Distance`.
    """

    structure: str
    longest_mm: float
    longest_ras: tuple[tuple[float, float, float], tuple[float, float, float]]
    perpendicular_mm: float
    perpendicular_ras: tuple[tuple[float, float, float], tuple[float, float, float]]
    notes: tuple[str, ...] = ()


@checks_arguments
def distance(label_map: LabelMap, one: str, other: str) -> Distance:
    """Measure the smallest distance between two structures, surface to surface, exact to their meshes.

    Args:
        label_map: the voxels, on any grid; it is not changed.
        one, other: names, titles or label values.

    Raises:
        UsageError: an unknown structure, or a title that several have.
        InputError: a structure has no voxels.
        ResourceError: not enough memory.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, distance
        >>> array = np.zeros((20, 20, 40), np.uint8)  # (K, J, I)
        >>> array[4:16, 4:16, 4:14], array[4:16, 4:16, 24:34] = 1, 2
        >>> boxes = LabelMap(array, np.eye(4), [Structure(1, "tumor", "Tumor"), Structure(2, "vein", "Vein")])
        >>> round(distance(boxes, "tumor", "vein").distance_mm)
        10
    """
    structures = [subject(label_map, name) for name in (one, other)]
    found = closest_between(*surfaces_of(label_map, structures))
    a, b = structures
    places = position(found.one), position(found.other)
    return Distance(a.name, b.name, found.mm, places, notes_on(label_map, structures))


@checks_arguments
def contact(label_map: LabelMap, one: str, other: str, within_mm: float = 0.0) -> Contact:
    """Measure how much of the surface of ``one`` touches ``other``, or lies within a distance of it.

    Distances are exact at the vertices of the surface and linear between them.

    Args:
        one, other: names, titles or label values.
        within_mm: 0 for the shared boundary of the two surfaces. Structures that overlap share none.

    Raises:
        UsageError: as :func:`distance`, or a negative distance.
        InputError, ResourceError: as :func:`distance`.
    """
    limit = length_mm(within_mm, "distance of a contact")
    structures = [subject(label_map, name) for name in (one, other)]
    mine, theirs = surfaces_of(label_map, structures)
    away = distances_to_mesh(mine.points, theirs.points, theirs.triangles)
    areas = areas_of(mine)
    area = float(areas @ share_below(away[mine.triangles], limit + TOUCHING_MM))
    a, b = structures
    return Contact(a.name, b.name, limit, area, 100 * area / float(areas.sum()), notes_on(label_map, structures))


@checks_arguments
def diameters(label_map: LabelMap, structure: str) -> Diameters:
    """Measure the longest diameter of a structure, and the longest across it; raises as :func:`distance`."""
    measured = subject(label_map, structure)
    (surface,) = surfaces_of(label_map, [measured])
    points = surface.points
    a, b = _farthest(points)
    axis = points[b] - points[a]
    longest = float(np.linalg.norm(axis))
    u, v = np.linalg.svd(axis[None])[2][1:]  # the plane across
    flat = points @ np.stack([u, v], 1)
    c, d = _farthest(flat)
    unit = axis / longest
    midway = (points[c] + points[d]) @ unit / 2
    wide = [points[n] + (midway - points[n] @ unit) * unit for n in (c, d)]
    return Diameters(
        measured.name,
        longest,
        (position(points[a]), position(points[b])),
        float(np.linalg.norm(flat[d] - flat[c])),
        (position(wide[0]), position(wide[1])),
        notes_on(label_map, [measured]),
    )


def _farthest(points: FloatArray) -> tuple[int, int]:
    """The two points (N, D), in 2D or 3D, that are farthest apart.

    Found from the ends of the points along directions 2.5° apart at most, so that none are farther by more than 0.1 %;
    then one end at a time moves to the point farthest from the other. All pairs of an organ's surface are too many, and
    those of its convex hull, too, where it is smooth.
    """
    ends = set[tuple[int, int]]()
    columns = np.ascontiguousarray(points.T)
    for directions in np.array_split(_directions(len(columns)), 100):  # bounds memory
        along = directions @ columns
        ends.update(zip(along.argmax(1).tolist(), along.argmin(1).tolist(), strict=True))
    longest = sorted(ends, key=lambda pair: -float(np.linalg.norm(points[pair[0]] - points[pair[1]])))[:_STARTS]
    best, best_pair = -1.0, (0, 0)
    for _, b in longest:
        a, length = b, 0.0
        while True:
            away = np.linalg.norm(points - points[b], axis=1)
            if away.max() <= length:
                break
            a, b, length = b, int(away.argmax()), float(away.max())
        if length > best:
            best, best_pair = length, (a, b)
    return best_pair


@cache
def _directions(dimensions: int) -> FloatArray:
    """Unit vectors (2000, D) spread evenly over half a circle or half a sphere (a Fibonacci lattice)."""
    step = (np.arange(2000) + 0.5) / 2000
    if dimensions == 2:
        return np.stack([np.cos(np.pi * step), np.sin(np.pi * step)], 1)
    around = np.pi * (1 + np.sqrt(5)) * np.arange(2000)
    across = np.sqrt(1 - step**2)
    return np.stack([across * np.cos(around), across * np.sin(around), step], 1)
