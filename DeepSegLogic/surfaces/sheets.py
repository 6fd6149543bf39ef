"""Surfaces of single structures, cut out of the net that all share."""

from __future__ import annotations

import numpy as np

from .net import Net, any_corner

_APART = 0.04  # voxels by which sheets that would touch at a corner or an edge are parted


class Sheets:
    """Surfaces of single labels cut out of the net.

    Attributes:
        faces: by label the numbers of its faces; those above the net's count are seen from the other side.
    """

    def __init__(self, net: Net, positions: np.ndarray):
        self._net, self._positions = net, positions
        labels = np.concatenate([net.low, net.high])
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(np.bincount(labels)) if len(labels) else []
        groups = np.split(order, ends[:-1]) if len(labels) else []
        self.faces = {label: group for label, group in enumerate(groups) if label > 0 and len(group)}
        turned = [0, 3, 2, 1]  # the first corner stays, so that both sides split a face alike
        near, far = net.quads * 4 + net.fans[:, 0], net.quads * 4 + net.fans[:, 1]
        self._sheets = np.concatenate([near, far[:, turned]])  # by face and corner: four times the vertex, and the fan
        self._crowded = np.concatenate([net.crowded, net.crowded[:, ::-1]])
        self._number = np.empty(4 * len(net.vertices), np.int64)  # scratch

    def of(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (I, J, K) and triangles, with a point of its own for every sheet at a vertex.

        Returns also the net's vertices that the first points are of; those that follow lie in the middle of edges.
        """
        sheets = self._sheets.take(self.faces[label], 0)
        keys, corner = self._numbered(sheets)
        vertex = keys // 4
        points = self._positions.take(vertex, 0)
        if (keys % 4).any():
            _part_sheets(self._net, points, vertex, corner)
        crowded = self._crowded.take(self.faces[label], 0)
        return *_triangulated(self._net, points, vertex, corner, crowded), vertex

    def _numbered(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``np.unique`` with ``return_inverse``, but without sorting."""
        least = values.min()
        places = (values - least).astype(np.intp)  # much faster to write by than int32
        used = np.zeros(places.max() + 1, bool)
        used[places] = True
        keys = np.flatnonzero(used)
        number = self._number[: len(used)]
        number[keys] = np.arange(len(keys))
        return keys + least, number.take(places)


def _part_sheets(net: Net, points, vertex, corner) -> None:
    """Move the points of sheets that share a vertex a little apart, each towards its own faces."""
    again = np.flatnonzero(vertex[1:] == vertex[:-1])
    together = np.zeros(len(points), bool)
    together[again] = together[again + 1] = True
    touching = corner[any_corner(together.take(corner))]
    places = net.vertices[vertex[touching]]
    outward = (places.mean(1, keepdims=True) - places).reshape(-1, 3)
    towards = np.stack([np.bincount(touching.ravel(), part, len(points)) for part in outward.T], 1)
    points[together] += _APART * _unit(towards[together])


def _triangulated(net: Net, points, vertex, corner, crowded) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles per face; faces at an edge that four of them share get a point in its middle instead.

    Args:
        crowded: sides at which four faces of one label meet.
    """
    suspects = any_corner(crowded)
    ends = np.stack([corner[suspects], np.roll(corner[suspects], -1, 1)], 2)
    edges = ends.min(2) * len(points) + ends.max(2)
    crowded = crowded[suspects]
    _, where, counts = np.unique(edges[crowded], return_inverse=True, return_counts=True)
    shared = np.zeros(edges.shape, bool)
    shared[crowded] = counts[where] > 2
    odd = any_corner(shared)
    plain = np.delete(corner, suspects[odd], 0) if len(odd) else corner
    triangles = [plain[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)]
    places = net.vertices[vertex[corner[suspects[odd]]]]
    outward = np.cross(places[:, 1] - places[:, 0], places[:, 3] - places[:, 0])
    empties = places.mean(1) + outward / 2  # centres of the voxels that the faces look at
    extra, numbers = [], {}
    for at, empty, place in zip(odd, empties, places, strict=True):
        ring = []
        for c, first in enumerate(corner[suspects[at]]):
            ring.append(first)
            if shared[at, c]:
                key = (edges[at, c], *np.rint(2 * empty).astype(int))
                if key not in numbers:
                    numbers[key] = len(points) + len(extra)
                    middle = points[ends[at, c]].mean(0)
                    rest = place[[c, (c + 1) % 4]].mean(0)
                    extra.append(middle + _APART * _unit((empty - rest)[None])[0])
                ring.append(numbers[key])
        # The fan starts at a middle point, so that the crowded edge itself is used by no triangle.
        start = next(n for n, p in enumerate(ring) if p >= len(points))
        ring = ring[start:] + ring[:start]
        triangles.append(np.array([[ring[0], ring[n], ring[n + 1]] for n in range(1, len(ring) - 1)]))
    return np.concatenate([points, *([extra] if extra else [])]), np.concatenate(triangles)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)
