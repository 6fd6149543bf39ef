"""The faces of voxels that the triangles of a surface come from, read from the mesh alone.

A net's vertex stays within half a voxel of its corner of voxels (:mod:`DeepSegLogic.surfaces.fairing`), so that every
corner has a box of its own, and the two triangles of a face stay within the boxes of its four corners. Triangles of
faces that share no corner are therefore apart, and checks need to compare neighbours only. Nothing of this is taken for
granted: triangles and points of which it is not true are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.affine import ras_to_ijk
from ..data.types import Affine, FloatArray, MaskArray, PointsIjk, PointsRas, Triangles
from .surface import PIECE, IndexArray
from .surface_net import cross

_NEAR = 0.499  # voxels from a corner along each axis; the limit of moves is 0.49
_SURELY = 1e-6  # that a cross product points along a direction, in voxels³
_MOST_OTHERS = 0.2  # of all triangles; with more of them the faces do not help
_LARGEST, _ROUNDING = 4, 0.01  # voxels that such a triangle may extend over, and a margin for it


@dataclass
class VoxelFaces:
    """Faces of voxels with the triangles of a surface.

    Attributes:
        places: (N, 3) the surface's points as (I, J, K) indices.
        quads: (F, 4) the points of each face, in turn. The first triangle has corners 0, 1, 2; the second 0, 2, 3.
        rows: (F,) index of the first triangle of each face; the second is the next one.
        others: (O, 3) the points of the triangles that belong to no face.
        rows_of_others: (O,) their indices.
        corners: (N,) the corner of voxels of each point, as a number: ``strides @ (voxel - least)``, with the
            (I, J, K) index of the voxel before it.
        least, shape: (3,) int, of the box of all corners, along (I, J, K).
        reached: (R, 2) corners that the others may reach: index of the triangle, and the corner.
    """

    places: PointsIjk
    quads: IndexArray
    rows: IndexArray
    others: Triangles
    rows_of_others: IndexArray
    corners: IndexArray
    least: IndexArray
    shape: IndexArray
    reached: IndexArray

    def folded(self) -> IndexArray:
        """Indices of the triangles among which are all that cross another one, if the surface is closed.

        At a point with a corner of its own, a direction is looked for from which all faces there are seen from outside,
        as convex quadrilaterals, in a single turn around the point. Then they lie in sectors that are apart, and no
        two of them cross. Triangles cross only if their faces share a corner: those with a corner where this is not
        proven are returned, and those of no face.
        """
        ordered = np.sort(self.corners)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        proven = self._seen_in_one_turn() & ~np.isin(self.corners, np.concatenate([twice, self.reached[:, 1]]))
        suspects = self.rows[~proven.take(self.quads).all(1)]
        return np.concatenate([suspects, suspects + 1, self.rows_of_others])

    def _seen_in_one_turn(self) -> MaskArray:
        """(N,) bool, see :meth:`folded`."""
        places, count = np.ascontiguousarray(self.places.T), len(self.places)
        directions = np.zeros((3, count))
        normals: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        pieces = [slice(at, at + PIECE) for at in range(0, len(self.quads), PIECE)]
        for part in pieces:
            corners = self.quads[part].T
            a, b, c, d = places.take(corners, 1).swapaxes(0, 1)
            whole, first, second = (
                cross(c - a, d - b),
                cross(b - a, d - a),
                cross(c - b, a - b),
            )
            normals.append((whole, first, second))
            for direction, normal in zip(directions, whole, strict=True):
                direction += np.bincount(corners.ravel(), np.tile(normal, 4), count)
        seen, turns = np.ones(count, bool), np.zeros(count)
        degree = np.bincount(self.quads.ravel(), minlength=count)
        across = _perpendicular(directions)
        for part, (whole, first, second) in zip(pieces, normals, strict=True):
            corners = self.quads[part].T
            for n, here in enumerate(corners):
                along = directions.take(here, 1)
                both, one, two = (dots(v, along) for v in (whole, first, second))
                least = np.minimum(np.minimum(one, two), both - np.maximum(one, two))  # of the four corners' normals
                seen[here[~(least > _SURELY)]] = False
                at = np.flatnonzero(degree.take(here) > 4)  # five angles below 180° may make two turns, four may not
                point, previous, following = here[at], corners[n - 1][at], corners[(n + 1) % 4][at]
                side, middle = across.take(point, 1), places.take(point, 1)
                begins, ends = (dots(side, places.take(p, 1) - middle) for p in (following, previous))
                turns += np.bincount(point[(begins < 0) & (ends >= 0)], minlength=count)
        seen &= (degree <= 4) | (turns == 1)
        return seen

    @property
    def strides(self) -> IndexArray:
        """(3,) steps of a corner's number along (I, J, K)."""
        return np.array([1, self.shape[0], self.shape[0] * self.shape[1]])

    def numbers(self, firsts: IndexArray) -> IndexArray:
        """(S,) numbers of the first corners of voxels' faces from the voxels before them (S, 3), or -1."""
        places = firsts - self.least
        inside = ((places >= 0) & (places < self.shape - 1)).all(1)  # with the other corners
        return np.where(inside, places @ self.strides, -1)

    def find(self, firsts: IndexArray, axes: IndexArray) -> IndexArray:
        """(S,) indices of faces, or -1.

        Args:
            firsts: (S,) numbers of their first corners, as of :meth:`numbers`.
            axes: (S,) the axes that they lie across, 0 for I.
        """
        corners = np.sort(self.corners.take(self.quads), 1)  # the first corner, and at last that opposite to it
        across = self.strides.sum() - (corners[:, 3] - corners[:, 0])  # the stride of the axis
        codes = 3 * corners[:, 0] + np.searchsorted(self.strides, across)
        order = np.argsort(codes)
        found = order.take(np.searchsorted(codes, 3 * firsts + axes, sorter=order), mode="clip")
        return np.where(codes.take(found) == 3 * firsts + axes, found, -1)

    def by_corner(self) -> tuple[IndexArray, IndexArray, IndexArray]:
        """What may come near each corner.

        Returns:
            The row of each corner in a table, by number; (rows + 1,) where each row starts; and its entries: indices of
            faces, then, from the number of faces on, of the other triangles.
        """
        from scipy.sparse import coo_matrix

        row_of = np.zeros(self.shape.prod(), np.int32)
        corners = np.concatenate([self.corners, self.reached[:, 1]])
        row_of[corners] = np.arange(1, len(corners) + 1)  # one of several at the same corner remains
        at_faces = row_of.take(self.corners.take(self.quads.ravel()))
        rows = np.concatenate([at_faces, row_of.take(self.reached[:, 1])])
        entries = np.concatenate([np.repeat(np.arange(len(self.quads)), 4), self.reached[:, 0] + len(self.quads)])
        shape = len(corners) + 1, len(self.quads) + len(self.others)
        table = coo_matrix((np.ones(len(rows), np.int8), (rows, entries)), shape).tocsr()
        return row_of, table.indptr, table.indices


def voxel_faces(points: PointsRas, triangles: Triangles, ijk_to_ras: Affine) -> VoxelFaces | None:
    """The faces of voxels of a surface; None if too many triangles have none, as after a simplification.

    Args:
        ijk_to_ras: of the label map that the surface was made from.
    """
    if np.linalg.det(ijk_to_ras[:3, :3]) < 0:
        triangles = triangles[:, ::-1]  # see make_surfaces
    places = ras_to_ijk(points, ijk_to_ras)
    first = np.floor(places).astype(np.int64)
    near = (np.abs(places - first - 0.5) < _NEAR).all(1)
    least = first.min(0, initial=0) - 1
    shape = first.max(0, initial=0) - least + 2  # a margin on all sides, so that a step has only one meaning
    strides = np.array([1, shape[0], shape[0] * shape[1]])
    corners = (first - least) @ strides
    one, two = triangles[: len(triangles) // 2 * 2 : 2], triangles[1::2]
    quads = np.concatenate([one, two[:, 2:]], 1)
    a, b, c, d = corners.take(quads.T)
    u, v = np.abs(b - a), np.abs(c - b)
    found = (one[:, 0] == two[:, 0]) & (one[:, 2] == two[:, 1]) & near.take(quads).all(1)
    found &= (u != v) & (b - a == c - d) & _any_of(u, strides) & _any_of(v, strides)
    belongs = np.zeros(len(triangles), bool)
    belongs[: 2 * len(found)] = np.repeat(found, 2)
    others = np.flatnonzero(~belongs)
    ends = places[triangles[others]]
    low = np.floor(ends.min(1) - _ROUNDING).astype(np.int64) - least
    sizes = np.floor(ends.max(1) + _ROUNDING).astype(np.int64) - least - low + 1
    reach = sizes.max(0, initial=0)
    if len(others) > _MOST_OTHERS * len(triangles) or reach.max() > _LARGEST:
        return None
    steps = np.indices(reach).reshape(3, -1).T
    other, step = np.nonzero((steps < sizes[:, None]).all(2))
    reached = np.stack([other, (low[other] + steps[step]) @ strides], 1)
    rows = 2 * np.flatnonzero(found)
    return VoxelFaces(places, quads[found], rows, triangles[others], others, corners, least, shape, reached)


def _any_of(values: IndexArray, few: IndexArray) -> MaskArray:
    found: MaskArray = np.logical_or.reduce([values == one for one in few])
    return found


def dots(a: FloatArray, b: FloatArray) -> FloatArray:
    """(N,) scalar products of (3, N) columns."""
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def _perpendicular(vectors: FloatArray) -> FloatArray:
    """(3, N) to each column one that is at right angles to it."""
    x, y, z = vectors
    tall = np.abs(z) > np.abs(x)
    return np.where(tall, [0 * x, -z, y], [-y, x, 0 * z])
