"""Distances of the faces of a mask's voxels to the surface made from them, by a look at the neighbours only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.affine import has_orthogonal_axes, spacing_ijk
from ..data.types import Affine, FloatArray, MaskArray, PointsIjk
from .surface import PIECE, IndexArray
from .surface_net import cross
from .voxel_faces import VoxelFaces, dots

_TINY = 1e-300  # instead of nothing, to divide by
_RINGS = 2  # of corners around a face that are looked at


def boundary_faces(mask: MaskArray, offset: Sequence[int], most: int) -> tuple[IndexArray, IndexArray]:
    """The faces between voxels of a mask and others, or some of them, evenly chosen.

    Args:
        mask: (K, J, I) bool.
        offset: (K, J, I) index of its first voxel.
        most: number of faces to return, at most.

    Returns:
        (F, 3) their first corners, as (I, J, K) indices of the voxels before these; and (F,) the axes that the faces
        lie across, 0 for I.
    """
    padded = np.pad(mask, 1)
    flat, strides = padded.ravel(), np.array([1, padded.shape[2], padded.shape[1] * padded.shape[2]])
    found = [np.flatnonzero(flat[:-stride] != flat[stride:]) for stride in strides[::-1]]
    axes = np.repeat([2, 1, 0], [len(f) for f in found])
    step = -(-len(axes) // most) or 1
    before, axes = np.concatenate(found)[::step], axes[::step]
    voxels = np.stack(np.unravel_index(before, padded.shape)[::-1], 1)
    return voxels + np.asarray(offset)[::-1] - 2 + (np.arange(3) == axes[:, None]), axes


def centres_of(firsts: IndexArray, axes: IndexArray) -> PointsIjk:
    """(F, 3) (I, J, K) indices of the centres of faces, see :func:`boundary_faces`."""
    return np.asarray(firsts + np.where(np.arange(3) == axes[:, None], 0.5, 1.0), np.float64)


def distances_of_faces(faces: VoxelFaces, firsts: IndexArray, axes: IndexArray, ijk_to_ras: Affine) -> FloatArray:
    """Distance in mm of the centres of voxels' faces to the nearest triangle of the surface, if it is near.

    Only triangles that may come near the corners of the face are compared. All others lie outside the boxes of these
    corners (:mod:`DeepSegLogic.surfaces.voxel_faces`), a voxel away within the face's plane and half a voxel across it;
    if that is not far enough, the corners around these are included. The distance is inf where it is larger than a
    voxel and a half, and everywhere if the grid's axes are not orthogonal.

    Args:
        firsts, axes: see :func:`boundary_faces`.

    Returns:
        (S,) distances in mm.
    """
    distances, spacing = np.full(len(firsts), np.inf), spacing_ijk(ijk_to_ras)
    if not has_orthogonal_axes(ijk_to_ras):
        return distances
    neighbors, numbers = _Neighbors(faces, spacing), faces.numbers(firsts)
    middles = (centres_of(firsts, axes) * spacing).T
    own = faces.find(numbers, axes)
    nearest = neighbors.squared_distances(middles, own)
    for ring in range(_RINGS):
        far = np.flatnonzero(np.isinf(distances) & (numbers >= 0))
        for axis in range(3):
            some = far[axes[far] == axis]
            if len(some) == 0:
                continue
            flat = np.arange(3) == axis
            window = [np.arange(-ring, ring + (1 if across else 2)) for across in flat]
            steps = np.stack(np.meshgrid(*window), 3).reshape(-1, 3) @ faces.strides
            found = neighbors.compared(middles.take(some, 1), nearest[some], own[some], numbers[some, None] + steps)
            nearest[some] = found
            reach = (spacing * np.where(flat, ring + 0.5, ring + 1)).min()
            distances[some] = np.where(found <= reach**2, np.sqrt(found), np.inf)
    return distances


class _Neighbors:
    """The triangles near corners of voxels, as quadrilaterals, in mm along the grid's axes."""

    def __init__(self, faces: VoxelFaces, spacing: FloatArray):
        self._places = np.ascontiguousarray((faces.places * spacing).T)
        self._quads = np.concatenate([faces.quads, faces.others[:, [0, 1, 2, 2]]])
        corners = (self._places.take(corner, 1) for corner in self._quads.T)
        self._low = next(corners)
        self._high = self._low.copy()
        for corner in corners:
            np.minimum(self._low, corner, out=self._low)
            np.maximum(self._high, corner, out=self._high)
        self._row_of, self._starts, self._entries = faces.by_corner()
        self._lengths = np.diff(self._starts, append=self._starts[-1])

    def squared_distances(self, points: FloatArray, quads: IndexArray) -> FloatArray:
        """(N,) of points (3, N) to one quadrilateral each; inf where its index is -1."""
        distances, some = np.full(len(quads), np.inf), np.flatnonzero(quads >= 0)
        distances[some] = _to_quads(points.take(some, 1), self._places, self._quads.take(quads[some], 0))
        return distances

    def compared(self, points: FloatArray, nearest: FloatArray, but: IndexArray, corners: IndexArray) -> FloatArray:
        """The smaller ones of given squared distances (N,) and those to what lies near corners (N, C).

        Args:
            but: (N,) index of the quadrilateral that was compared before.
        """
        nearest, count = nearest.copy(), corners.shape[1]
        for at in range(0, len(corners), max(1, PIECE // count)):
            row = self._row_of.take(corners[at : at + max(1, PIECE // count)].ravel(), mode="clip")
            length = self._lengths.take(row)
            point = at + np.repeat(np.arange(len(row)) // count, length)
            entry = np.arange(len(point)) + np.repeat(self._starts.take(row) - np.cumsum(length) + length, length)
            other = self._entries.take(entry)
            bound = np.zeros(len(point))  # the squared distance to the box around each
            for low, high, along in zip(self._low, self._high, points, strict=True):
                here = along.take(point)
                away = np.maximum(np.maximum(low.take(other) - here, here - high.take(other)), 0)
                bound += away * away
            closer = (bound < nearest.take(point)) & (other != but.take(point))
            point, other = point[closer], other[closer]
            np.minimum.at(nearest, point, self.squared_distances(points.take(point, 1), other))
        return nearest


def _to_quads(points: FloatArray, places: FloatArray, quads: IndexArray) -> FloatArray:
    """Squared distances (N,) of points (3, N) to the two triangles of quadrilaterals (N, 4) of places (3, P)."""
    nearest = np.full(points.shape[1], np.inf)
    for at in range(0, len(nearest), PIECE):
        part = slice(at, at + PIECE)
        a, b, c, d = corners = [places.take(corner, 1) - points[:, part] for corner in quads[part].T]
        ab, bc, cd, da, ca = (cross(*ends) for ends in ((a, b), (b, c), (c, d), (d, a), (c, a)))
        outside = np.zeros(a.shape[1], np.int8)
        for one, two, three in ((ab, bc, ca), (-ca, cd, da)):  # areas with the origin, as vectors, and of the triangle
            normal = one + two + three
            size = dots(normal, normal)
            least = np.minimum(np.minimum(dots(one, normal), dots(two, normal)), dots(three, normal))
            above = (least >= 0) & (size > 0)
            np.minimum(nearest[part], dots(a, normal) ** 2 / np.maximum(size, _TINY), out=nearest[part], where=above)
            outside += ~above
        beside = np.flatnonzero(outside)  # a side may be the nearest
        a, b, c, d = (corner.take(beside, 1) for corner in corners)
        sides = [_to_side(*ends) for ends in ((a, b), (b, c), (c, d), (d, a), (c, a))]
        nearest[at + beside] = np.minimum.reduce([nearest[at + beside], *sides])
    return nearest


def _to_side(start: FloatArray, end: FloatArray) -> FloatArray:
    """Squared distances (N,) of the origin to sides with ends (3, N)."""
    side = end - start
    along = np.clip(-dots(start, side) / np.maximum(dots(side, side), _TINY), 0, 1)
    foot = start + along * side
    return dots(foot, foot)
