"""Manifold surfaces of single structures, cut out of the net that all share."""

from __future__ import annotations

import itertools

import numpy as np

from ..data.types import FloatArray, PointsIjk, Triangles
from .corners import any_corner
from .surface import IndexArray, Labels
from .surface_net import Net, sums_at

_APART = 0.04  # voxels between sheets that would touch at a corner or an edge
_OTHER_SIDE = [0, 3, 2, 1]  # corners of a face seen from there; the first stays, so that both sides split it alike


class ManifoldSurfaces:
    """The manifold surface of each label of a net.

    Args:
        net: the boundaries of all labels.
        positions: (V, 3) (I, J, K) indices of its vertices, after smoothing.

    Attributes:
        labels: those that have a surface.
    """

    def __init__(self, net: Net, positions: PointsIjk):
        corners = np.stack([net.quads, net.quads])
        apart, theirs = _sheets_apart(net, positions, corners)
        # From the net's number of faces on, faces are seen from the other side.
        corners[1] = corners[1].take(_OTHER_SIDE, 1)
        self._corners = corners.reshape(-1, 4)
        labels = np.concatenate([net.low, net.high])
        counts = np.bincount(labels, minlength=1)
        self.labels: list[int] = [label for label in np.flatnonzero(counts).tolist() if label > 0]
        at_edges, self._fans, middles = self._fans_at_edges(net, labels, positions, apart, theirs)
        counts -= np.bincount(labels[at_edges], minlength=len(counts))
        counts[0] += len(at_edges)
        labels[at_edges] = 0
        groups = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        self._faces = {label: groups[label] for label in self.labels}
        self._positions, self._further = positions, np.concatenate([apart, middles])
        self._vertices = np.append(theirs, np.full(len(middles), -1))  # of the further points
        self._number = np.empty(len(positions) + len(self._further), np.intp)  # scratch

    def of(self, label: int, mirrored: bool = False) -> tuple[PointsIjk, Triangles, IndexArray]:
        """The surface of a label.

        Its points are vertices of the net; where the structure has several sheets at a vertex, one for each; and
        middles of edges that four of its faces share.

        Args:
            mirrored: whether the grid is, which would turn the surface inside out.

        Returns:
            Its points (N, 3), (I, J, K) indices, its triangles (M, 3), and the net's vertex of each point (N,), -1 for
            middles of edges.
        """
        corners = self._corners.take(self._faces[label], 0)
        fans = self._fans.get(label, np.empty((0, 3), np.int64))
        chosen, numbers = self._numbered(np.concatenate([corners.ravel(), fans.ravel()]))
        quads, rest = numbers[: corners.size].reshape(-1, 4), numbers[corners.size :].reshape(-1, 3)
        triangles = np.empty((2 * len(quads) + len(rest), 3), np.int64)
        order = [2, 1, 0, 3, 2, 0] if mirrored else [0, 1, 2, 0, 2, 3]
        of_quads = triangles[: 2 * len(quads)].reshape(-1, 6)
        quads.take(order, 1, out=of_quads, mode="clip")  # much faster than by brackets; checks would copy the result
        triangles[2 * len(quads) :] = rest[:, ::-1] if mirrored else rest
        count = len(self._positions)
        own, further = np.split(chosen, [np.searchsorted(chosen, count)])
        points = np.concatenate([self._positions.take(own, 0), self._further.take(further - count, 0)])
        return points, triangles, np.append(own, self._vertices.take(further - count))

    def _numbered(self, values: IndexArray) -> tuple[IndexArray, IndexArray]:
        """As ``np.unique`` with ``return_inverse``, but faster: without sorting."""
        least = values.min()
        places = np.subtract(values, least, dtype=np.intp)  # much faster to index with than int32
        used = np.zeros(places.max() + 1, bool)
        used[places] = True
        keys = np.flatnonzero(used)
        self._number[keys] = np.arange(len(keys))
        return keys + least, self._number.take(places)

    def _fans_at_edges(
        self, net: Net, labels: Labels, positions: PointsIjk, apart: PointsIjk, theirs: IndexArray
    ) -> tuple[IndexArray, dict[int, Triangles], PointsIjk]:
        """Faces at edges that four of a structure share get points in the middle of these edges, one per pair.

        Args:
            labels: (2F,) of both sides of the faces.
            positions: of the vertices.
            apart, theirs: the points that follow them, and the vertices of these.

        Returns:
            These faces, the triangles that take their place, by label, and the points in the middle of edges.
        """
        faces, shared = _at_shared_edges(net, self._corners, labels)
        corners = self._corners[faces]
        own = corners < len(positions)
        beyond = corners[~own] - len(positions)
        vertices, at = corners.copy(), np.empty((*corners.shape, 3))
        vertices[~own] = theirs[beyond]
        at[own], at[~own] = positions[corners[own]], apart[beyond]
        places = net.vertices[vertices]
        outward = np.cross(places[:, 1] - places[:, 0], places[:, 3] - places[:, 0])
        empties = places.mean(1) + outward / 2  # centres of the voxels in front of the faces
        face, side = np.nonzero(shared >= 0)
        codes = np.column_stack([shared[face, side], np.rint(2 * empties[face])])
        _, one, number = np.unique(codes, axis=0, return_index=True, return_inverse=True)
        middles = np.full(shared.shape, -1)
        middles[face, side] = len(positions) + len(apart) + number.ravel()
        face, side = face[one], side[one]
        on_edge = (places[face, side] + places[face, (side + 1) % 4]) / 2
        points = (at[face, side] + at[face, (side + 1) % 4]) / 2 + _APART * _unit(empties[face] - on_edge)

        fans: dict[int, list[list[int]]] = {}
        for owner, *ring in np.column_stack([labels[faces], np.stack([corners, middles], 2).reshape(-1, 8)]).tolist():
            # A fan starts at a middle, so that no triangle uses the shared edge itself.
            start = next(n for n in (1, 3, 5, 7) if ring[n] >= 0)
            first, *others = (point for point in ring[start:] + ring[:start] if point >= 0)
            fans.setdefault(owner, []).extend([first, *pair] for pair in itertools.pairwise(others))
        return faces, {owner: np.array(triangles) for owner, triangles in fans.items()}, points


def _at_shared_edges(net: Net, corners: IndexArray, labels: Labels) -> tuple[IndexArray, IndexArray]:
    """The faces at edges that four faces of a structure share, and at each of their sides a number for the edge, or -1.

    Args:
        corners: (2F, 4) the points of both sides of the faces.
        labels: (2F,) of these.
    """
    faces = any_corner(net.nonmanifold)  # few
    sides = np.concatenate([net.nonmanifold[faces], net.nonmanifold[faces][:, ::-1]])
    faces = np.concatenate([faces, faces + len(net.quads)])
    label = labels[faces]
    sides[label == 0] = False
    ends = np.stack([corners[faces], np.roll(corners[faces], -1, 1)], 2)[sides]
    edges = ends.min(1).astype(np.int64) * (int(corners.max(initial=0)) + 1) + ends.max(1)
    _, edge = np.unique(edges, return_inverse=True)
    several = int(labels.max(initial=0)) + 1
    _, number, counts = np.unique(
        edge * several + np.repeat(label, sides.sum(1)), return_inverse=True, return_counts=True
    )
    shared = np.full(sides.shape, -1)
    shared[sides] = np.where(counts.take(number) > 2, number, -1)
    odd = np.flatnonzero((shared >= 0).any(1))
    return faces[odd], shared[odd]


def _sheets_apart(net: Net, positions: PointsIjk, corners: IndexArray) -> tuple[PointsIjk, IndexArray]:
    """A point for every sheet where a structure has several at a vertex, each moved towards its own faces.

    Args:
        corners: (2, F, 4) the vertices of the faces, for the labels before and behind them; changed to points.

    Returns:
        These points (N, 3), which follow those of the vertices, and their vertices (N,).
    """
    face, side = np.divmod(any_corner(net.sheets.reshape(-1, 4)), 2)  # few
    label = np.where(side, net.high[face], net.low[face])
    face, side, label = (of_side[label > 0] for of_side in (face, side, label))
    at, corner = np.nonzero(net.sheets[face, side])
    several = side[at], face[at], corner
    codes = (label[at].astype(np.int64) * len(positions) + corners[several]) * 8 + net.sheets[
        face[at], side[at], corner
    ]
    codes, number = np.unique(codes, return_inverse=True)
    vertices = codes // 8 % max(len(positions), 1)
    places = net.vertices[net.quads[face]]
    outward = (places.mean(1, keepdims=True) - places)[at, corner]
    towards = np.stack([sums_at(number, along, len(vertices)) for along in outward.T], 1)
    corners[several] = len(positions) + number
    # The first sheet stays where it is if it has a vertex of its own, see touching.py.
    apart = np.isin(codes // 8, codes[codes % 8 > 1] // 8)
    return positions.take(vertices, 0) + _APART * apart[:, None] * _unit(towards), vertices


def _unit(vectors: FloatArray) -> FloatArray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(length, 1e-12)
    return unit
