"""Manifold surfaces of single structures, cut out of the net that all share."""

from __future__ import annotations

import numpy as np

from ..data.types import FloatArray, MaskArray, PointsIjk, Triangles
from .surface import IndexArray
from .surface_net import Net, any_corner, sums_at

_APART = 0.04  # voxels between sheets that would touch at a corner or an edge


class ManifoldSurfaces:
    """The manifold surface of each label of a net.

    Args:
        net: the boundaries of all labels.
        positions: (V, 3) (I, J, K) indices of its vertices, after smoothing.

    Attributes:
        faces: label → indices of its faces. From the net's number of faces on, they are seen from the other side.
    """

    def __init__(self, net: Net, positions: PointsIjk):
        self._net, self._positions = net, positions
        labels = np.concatenate([net.low, net.high])
        order = np.argsort(labels, kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(labels))[:-1]) if len(labels) else []
        self.faces = {label: group for label, group in enumerate(groups) if label > 0 and len(group)}
        # The points of a surface: vertices, then, for further sheets at a vertex, numbers from V on.
        corners = np.stack([net.quads, net.quads])
        face, side = np.divmod(any_corner(net.sheets.reshape(-1, 4)), 2)  # few
        at, corner = np.nonzero(net.sheets[face, side])
        further = side[at], face[at], corner
        keys, number = np.unique(corners[further] * 4 + net.sheets[face[at], side[at], corner], return_inverse=True)
        self._vertex_of_further = keys // 4
        corners[further] = number + len(net.vertices)
        # Seen from the other side, the first corner stays, so that both sides split a face in the same way.
        corners[1] = corners[1].take([0, 3, 2, 1], 1)
        self._corners = corners.reshape(-1, 4)
        self._nonmanifold = np.concatenate([net.nonmanifold, net.nonmanifold.take([3, 2, 1, 0], 1)])
        self._number = np.empty(len(net.vertices) + len(keys), np.intp)  # scratch

    def of(self, label: int) -> tuple[PointsIjk, Triangles, IndexArray]:
        """The surface of a label, with a separate point for every sheet at a vertex.

        Returns:
            Points (N, 3) as (I, J, K) indices; triangles (M, 3); and the net's vertices of the first points. Any
            further points lie in the middle of edges.
        """
        vertex, corner = self._numbered(self._corners.take(self.faces[label], 0))
        further = np.searchsorted(vertex, len(self._net.vertices))
        vertex[further:] = self._vertex_of_further[vertex[further:] - len(self._net.vertices)]
        points = self._positions.take(vertex, 0)
        if further < len(vertex):
            _separate_sheets(self._net, points, vertex, corner, np.isin(vertex, vertex[further:]))
        nonmanifold = self._nonmanifold.take(self.faces[label], 0)
        return *_triangulated(self._net, points, vertex, corner, nonmanifold), vertex

    def _numbered(self, values: IndexArray) -> tuple[IndexArray, IndexArray]:
        """As ``np.unique`` with ``return_inverse``, but faster: without sorting."""
        least = values.min()
        places = (values - least).astype(np.intp)  # much faster to index with than int32
        used = np.zeros(places.max() + 1, bool)
        used[places] = True
        keys = np.flatnonzero(used)
        self._number[keys] = np.arange(len(keys))
        return keys + least, self._number.take(places)


def _separate_sheets(net: Net, points: PointsIjk, vertex: IndexArray, corner: IndexArray, together: MaskArray) -> None:
    """Move the points of sheets that share a vertex (``together``, (N,)) apart, each towards its own faces."""
    touching = corner[any_corner(together.take(corner))]
    places = net.vertices[vertex[touching]]
    outward = (places.mean(1, keepdims=True) - places).reshape(-1, 3)
    towards = np.stack([sums_at(touching.ravel(), part, len(points)) for part in outward.T], 1)
    points[together] += _APART * _unit(towards[together])


def _triangulated(
    net: Net, points: PointsIjk, vertex: IndexArray, corner: IndexArray, nonmanifold: MaskArray
) -> tuple[PointsIjk, Triangles]:
    """Two triangles per face. Faces at an edge that four of them share get points in its middle, one per pair.

    Args:
        points: (N, 3), one for every sheet at a vertex.
        vertex: (N,) the net's vertex of each point.
        corner: (F, 4) the points of each face.
        nonmanifold: (F, 4) sides where four faces of one label meet.
    """
    suspects = any_corner(nonmanifold)
    ends = np.stack([corner[suspects], np.roll(corner[suspects], -1, 1)], 2)
    edges = ends.min(2) * len(points) + ends.max(2)
    nonmanifold = nonmanifold[suspects]
    _, where, counts = np.unique(edges[nonmanifold], return_inverse=True, return_counts=True)
    shared = np.zeros(edges.shape, bool)
    shared[nonmanifold] = counts[where] > 2
    odd = any_corner(shared)
    plain = np.delete(corner, suspects[odd], 0) if len(odd) else corner
    triangles = [plain.take([0, 1, 2, 0, 2, 3], 1).reshape(-1, 3)]  # much faster than by brackets
    if len(odd) == 0:
        return points, triangles[0]
    places = net.vertices[vertex[corner[suspects[odd]]]]
    outward = np.cross(places[:, 1] - places[:, 0], places[:, 3] - places[:, 0])
    empties = places.mean(1) + outward / 2  # centres of the voxels in front of the faces
    extra: list[FloatArray] = []
    numbers: dict[tuple[int, ...], int] = {}
    for at, empty, place in zip(odd, empties, places, strict=True):
        ring = []
        for c, first in enumerate(corner[suspects[at]]):
            ring.append(first)
            if shared[at, c]:
                key = (int(edges[at, c]), *np.rint(2 * empty).astype(int).tolist())
                if key not in numbers:
                    numbers[key] = len(points) + len(extra)
                    middle = points[ends[at, c]].mean(0)
                    rest = place[[c, (c + 1) % 4]].mean(0)
                    extra.append(middle + _APART * _unit((empty - rest)[None])[0])
                ring.append(numbers[key])
        # The fan starts at a middle point, so that no triangle uses the shared edge itself.
        start = next(n for n, p in enumerate(ring) if p >= len(points))
        ring = ring[start:] + ring[:start]
        triangles.append(np.array([[ring[0], ring[n], ring[n + 1]] for n in range(1, len(ring) - 1)]))
    return np.concatenate([points, *([extra] if extra else [])]), np.concatenate(triangles)


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(length, 1e-12)
    return unit
