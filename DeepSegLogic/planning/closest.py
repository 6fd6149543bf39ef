"""Closest points of triangle meshes and segments: exact, not only between vertices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np

from ..data.types import FloatArray, PointsRas
from ..surfaces.surface import IndexArray, Surface, polydata

_BLOCK = 1000  # edges whose partners are compared at once; bounds memory


class ClosestPair(NamedTuple):
    """A distance in mm, and the two points, (3,) in RAS mm, between which it is."""

    mm: float
    one: FloatArray
    other: FloatArray


class Locator:
    """Finds places on a surface with VTK's cell locator."""

    def __init__(self, surface: Surface):
        from vtkmodules.vtkCommonDataModel import vtkStaticCellLocator

        self._mesh = polydata(surface.points, surface.triangles)
        self._locator = vtkStaticCellLocator()
        self._locator.SetDataSet(self._mesh)
        self._locator.BuildLocator()

    def closest(self, points: PointsRas) -> PointsRas:
        """The point of the surface that is closest to each of some points (N, 3)."""
        from vtkmodules.vtkCommonCore import mutable
        from vtkmodules.vtkCommonDataModel import vtkGenericCell

        cell, outputs = vtkGenericCell(), [cast(Any, mutable(0)), cast(Any, mutable(0)), cast(Any, mutable(0.0))]
        found = np.empty((len(points), 3))
        place = [0.0, 0.0, 0.0]
        for n, start in enumerate(points):
            self._locator.FindClosestPoint(list(start), place, cell, *outputs)
            found[n] = place
        return found

    def first_hit(self, start: FloatArray, end: FloatArray) -> FloatArray | None:
        """Where the segment from ``start`` to ``end`` first meets the surface; None if it does not."""
        from vtkmodules.vtkCommonCore import mutable

        t, sub_id = cast(Any, mutable(0.0)), cast(Any, mutable(0))
        place, parameters = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
        hit = self._locator.IntersectWithLine(list(start), list(end), 0.0, t, place, parameters, sub_id)
        return np.array(place) if hit else None


def closest_between(one: Surface, other: Surface) -> ClosestPair:
    """The smallest distance between two surfaces, 0 where they meet or cross.

    It lies between a vertex and a triangle or between two edges; both are looked at, among the vertices and edges that
    are near enough to matter.
    """
    from scipy.spatial import cKDTree

    trees = cKDTree(one.points), cKDTree(other.points)
    near, partner = map(np.asarray, trees[1].query(one.points))
    at = int(near.argmin())
    best = ClosestPair(float(near[at]), one.points[at], other.points[partner[at]])
    if best.mm == 0:
        return best
    edges = edges_of(one), edges_of(other)
    segments = [s.points[e] for s, e in zip((one, other), edges, strict=True)]
    lengths = [np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) for ends in segments]
    locators = Locator(one), Locator(other)
    best, mine = _from_vertices(one.points, near - lengths[1].max(), locators[1], best)
    away = np.asarray(trees[0].query(other.points)[0]) - lengths[0].max()
    swapped, theirs = _from_vertices(other.points, away, locators[0], ClosestPair(best.mm, best.other, best.one))
    best = ClosestPair(swapped.mm, swapped.other, swapped.one)
    for side, (least, locator) in enumerate(((mine, locators[1]), (theirs, locators[0]))):
        # Along an edge, a distance changes no faster than the place.
        least_of_edge = (least[edges[side]].sum(1) - lengths[side]) / 2
        for start, end in segments[side][least_of_edge <= 0]:
            hit = locator.first_hit(start, end)
            if hit is not None:
                return ClosestPair(0.0, hit, hit)
        segments[side] = segments[side][least_of_edge <= best.mm]
    return _between_edges(segments[0], segments[1], best)


def closest_to_segment(start: FloatArray, end: FloatArray, surface: Surface) -> ClosestPair:
    """The smallest distance between a segment and a surface, 0 where they meet; ``one`` is on the segment."""
    locator = Locator(surface)
    hit = locator.first_hit(start, end)
    if hit is not None:
        return ClosestPair(0.0, hit, hit)
    tips = np.stack([start, end])
    from_, to = surface.points[edges_of(surface)].swapaxes(0, 1)
    mine, its_end = np.broadcast_to(tips[:, None], (2, *from_.shape))
    beside = closest_on_segments(mine, its_end, from_, to)
    return min(_closest_of(tips, locator.closest(tips)), _closest_of(*beside), key=lambda p: p.mm)


def closest_on_segments(p0: PointsRas, p1: PointsRas, q0: PointsRas, q1: PointsRas) -> tuple[PointsRas, PointsRas]:
    """The closest points of pairs of segments, all (N, 3); C. Ericson, Real-Time Collision Detection, 2005, 5.1.9."""
    p, q, r = p1 - p0, q1 - q0, p0 - q0
    tiny = np.finfo(float).tiny
    a, e = np.maximum(_dot(p, p), tiny), np.maximum(_dot(q, q), tiny)
    b, c, f = _dot(p, q), _dot(p, r), _dot(q, r)
    across = a * e - b * b
    parallel = across <= 1e-12 * a * e
    s = np.clip(np.where(parallel, 0.0, (b * f - c * e) / np.where(parallel, 1.0, across)), 0, 1)
    t = np.clip((b * s + f) / e, 0, 1)
    s = np.clip((b * t - c) / a, 0, 1)
    return p0 + s[:, None] * p, q0 + t[:, None] * q


def edges_of(surface: Surface) -> IndexArray:
    """The edges (E, 2) of a surface, each once."""
    ends = np.sort(surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    points = len(surface.points)
    codes = np.unique(ends[:, 0].astype(np.int64) * points + ends[:, 1])
    return np.stack(np.divmod(codes, points), 1)


def _from_vertices(
    points: PointsRas, least: FloatArray, locator: Locator, best: ClosestPair
) -> tuple[ClosestPair, FloatArray]:
    """The better of ``best`` and the closest of some points to a surface, and what is then known of their distances.

    Args:
        least: (N,) no point is nearer to the surface than this.

    Returns:
        with the pair, the same numbers, exact where that matters.
    """
    may_be = np.flatnonzero(least <= best.mm)
    found = locator.closest(points[may_be])
    least = least.copy()
    least[may_be] = np.linalg.norm(found - points[may_be], axis=1)
    return (min(best, _closest_of(points[may_be], found), key=lambda p: p.mm) if len(may_be) else best), least


def _between_edges(one: PointsRas, other: PointsRas, best: ClosestPair) -> ClosestPair:
    """The better of ``best`` and the closest points of edges (N, 2, 3) and (M, 2, 3)."""
    for at, with_ in _near_pairs(one, other, best.mm):
        found = _closest_of(*closest_on_segments(*one[at].swapaxes(0, 1), *other[with_].swapaxes(0, 1)))
        best = min(best, found, key=lambda p: p.mm)
    return best


def _near_pairs(one: PointsRas, other: PointsRas, mm: float) -> Iterator[tuple[IndexArray, IndexArray]]:
    """Blocks of pairs of edges that may be nearer to each other than ``mm``."""
    from scipy.spatial import cKDTree

    if not len(one) or not len(other):
        return
    half = [float(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).max()) / 2 for ends in (one, other)]
    tree, middles = cKDTree(other.mean(1)), one.mean(1)
    for start in range(0, len(one), _BLOCK):
        found = tree.query_ball_point(middles[start : start + _BLOCK], mm + sum(half))
        counts = [len(partners) for partners in found]
        if any(counts):
            yield start + np.repeat(np.arange(len(found)), counts), np.concatenate([np.array(f, int) for f in found])


def _closest_of(one: PointsRas, other: PointsRas) -> ClosestPair:
    distances = np.linalg.norm(one - other, axis=1)
    at = int(distances.argmin())
    return ClosestPair(float(distances[at]), one[at], other[at])


def _dot(a: PointsRas, b: PointsRas) -> FloatArray:
    return np.asarray(np.einsum("ij,ij->i", a, b))


def share_below(values: FloatArray, limit: float) -> FloatArray:
    """The share of each triangle's area where a value is below ``limit``, linear between (N, 3) values at corners."""
    a, b, c = np.sort(values - limit, axis=1).T
    shares = np.zeros(len(values))
    tip = (a < 0) & (b >= 0)
    shares[tip] = a[tip] ** 2 / ((b - a)[tip] * (c - a)[tip])
    cut = (b < 0) & (c >= 0)
    shares[cut] = 1 - c[cut] ** 2 / ((c - a)[cut] * (c - b)[cut])
    shares[c < 0] = 1.0
    return shares


def areas_of(surface: Surface) -> FloatArray:
    """The area of each triangle, mm²."""
    a, b, c = surface.points[surface.triangles].swapaxes(0, 1)
    return np.asarray(np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2)


def normals_of(surface: Surface) -> tuple[FloatArray, FloatArray]:
    """The outward normal (N, 3) at each point, of length 1, and the area (N,) around it, mm²."""
    a, b, c = surface.points[surface.triangles].swapaxes(0, 1)
    faces, areas = np.cross(b - a, c - a), areas_of(surface)
    normals, around = np.zeros_like(surface.points, dtype=float), np.zeros(len(surface.points))
    for corner in surface.triangles.T:
        np.add.at(normals, corner, faces)
        np.add.at(around, corner, areas / 3)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny), around
