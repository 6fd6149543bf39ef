"""Volume preservation: after smoothing, every label of a net gets back the volume of its voxels.

All labels move at once, each along the gradient of its own volume. The step comes from a linear model of the volumes,
which takes into account the limits of the moves and what neighbours share. Then the volumes and gradients of the labels
that are still off are computed again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray
from .surface import IndexArray
from .surface_net import Net, faces_at, sums_at

_ROUNDS, _STEPS = 8, 4
_MODEL_TOLERANCE = 0.01  # of what is missing: the linear model is not more precise
_LARGEST_STEP = 0.1  # voxels: the gradient of a label that has nearly vanished is too optimistic
_TOLERANCE = 5e-4  # relative
_PIECE = 16384  # faces per step, so that they stay in the processor's cache

Columns: TypeAlias = npt.NDArray[np.float32]
"""Vectors in voxels along (I, J, K), (3, N), of vertices or of a net's sides."""


def with_volumes_restored(net: Net, moves: Columns, limit: float) -> Columns:
    """Moves of the net's vertices after which each label has the volume of its voxels.

    Args:
        moves: (3, V) of the smoothing, in voxels.
        limit: largest move along an axis, in voxels.
    """
    target, middle = _voxel_counts(net), net.vertices.mean(0)
    tolerance = _TOLERANCE * np.maximum(target, 1)
    moves, part = moves.copy(), net
    vertices: slice | IndexArray = slice(None)
    missing: FloatArray | None = None
    for _ in range(_ROUNDS):
        sides = _Sides(part, len(target))
        start, before = (part.vertices - middle).astype(np.float32).T, moves[:, vertices]
        volumes, gradients = sides.volumes_and_gradients(start + before)
        if missing is None:
            missing = np.where(target > 0, target - volumes, 0.0)
        lacking = np.where(np.abs(missing) > tolerance, missing, 0.0)
        lacking[0] = 0.0  # the background takes the rest
        after = _grown(before, lacking, sides, gradients, limit)
        moves[:, vertices] = after
        missing -= sides.volumes(start + after) - volumes
        short = np.abs(missing) > tolerance
        short[0] = False
        if not short.any():
            break
        part, vertices = _part_around(net, short)
    return moves


def _part_around(net: Net, labels: MaskArray) -> tuple[Net, IndexArray]:
    """The part of a net with all faces at the vertices of some labels (a mask by value), and its vertices."""
    near = np.zeros(len(net.vertices), bool)
    near[net.quads[labels[net.low] | labels[net.high]].astype(np.intp)] = True
    faces = faces_at(near, net.quads)
    used = np.zeros(len(near), bool)
    used[net.quads[faces].astype(np.intp)] = True
    vertices = np.flatnonzero(used)
    number = np.empty(len(near), np.int32)
    number[vertices] = np.arange(len(vertices))
    part = replace(
        net,
        vertices=net.vertices[vertices],
        quads=number.take(net.quads[faces]),
        low=net.low[faces],
        high=net.high[faces],
    )
    return part, vertices


def _grown(moves: Columns, missing: FloatArray, sides: _Sides, gradients: Columns, limit: float) -> Columns:
    """Moves (3, V) that add to each label its missing volume, as far as the limit allows, by the linear model.

    The step size of a label adapts to the effect of its last step.
    """
    gain = sides.summed((gradients**2).sum(0), (1, 1))
    gain = np.divide(1.0, gain, out=gain, where=gain > 0)
    steps, brought, grown = np.zeros_like(missing), np.zeros_like(missing), moves
    for _ in range(_STEPS):
        lacking = np.where(missing == 0, 0.0, missing - brought)
        if (np.abs(lacking) <= _MODEL_TOLERANCE * np.abs(missing)).all():
            break
        steps += lacking * gain
        grown = sides.gathered(gradients * sides.differences(steps))
        np.clip(grown, -_LARGEST_STEP, _LARGEST_STEP, out=grown)
        grown += moves
        np.clip(grown, -limit, limit, out=grown)
        before, brought = brought, sides.summed((sides.spread(grown - moves) * gradients).sum(0), (1, -1))
        rate = np.divide(brought - before, lacking, out=np.ones_like(lacking), where=lacking != 0)
        gain /= np.clip(rate, 0.5, 2.0)
    return grown


def _pairs(net: Net, labels: int) -> tuple[IndexArray, IndexArray, IndexArray]:
    """The pairs of labels on the two sides of faces, lower and higher; and the pair of each face (F,)."""
    present = np.flatnonzero(np.bincount(net.low, minlength=labels) + np.bincount(net.high, minlength=labels))
    rank = np.zeros(labels, np.int64)  # label values may be large and far apart
    rank[present] = np.arange(len(present))
    low, high = rank.take(net.low), rank.take(net.high)
    code = np.minimum(low, high) * len(present) + np.maximum(low, high)
    pairs = np.flatnonzero(np.bincount(code))
    numbers = np.empty(len(present) ** 2, np.int32)
    numbers[pairs] = np.arange(len(pairs))
    return *present[np.array(np.divmod(pairs, len(present)))], numbers.take(code)


def _voxel_counts(net: Net) -> FloatArray:
    """Voxels of each label, from the K coordinates of its faces across K: those behind it minus those before it."""
    here, across = net.vertices[:, 2].take(net.quads[:, ::2].T)
    along_k = here == across
    low, high, where = net.low[along_k], net.high[along_k], here[along_k]
    count = int(max(net.low.max(), net.high.max())) + 1
    return sums_at(low, where, count) - sums_at(high, where, count)


class _Sides:
    """The net's vertices (V), once for every pair of labels that meet there (P): one gains what the other loses.

    Args:
        net: its V vertices and F faces.
        labels: number of label values, background included.
    """

    def __init__(self, net: Net, labels: int):
        self._labels = labels
        self._lower, self._higher, pair = _pairs(net, labels)
        parts = [slice(begin, begin + _PIECE) for begin in range(0, len(pair), _PIECE)]
        pair_at = np.empty(len(net.vertices), np.int32)
        for part in parts:
            pair_at[net.quads[part].astype(np.intp)] = pair[part, None]  # much faster to index with than int32
        face, corner = np.concatenate(
            [np.argwhere(pair_at.take(net.quads[p]) != pair[p, None]) + np.array([p.start, 0]) for p in parts]
        ).T
        further, number = np.unique(
            net.quads[face, corner] * np.int64(len(self._lower)) + pair[face], return_inverse=True
        )
        self._vertex, pair_there = np.divmod(further, len(self._lower))
        more = np.bincount(self._vertex, minlength=len(pair_at))
        self._first = np.arange(len(pair_at)) + np.cumsum(more) - more  # further sides of a vertex follow its first
        self._further = self._vertex + np.arange(len(further)) + 1
        self._owner = np.repeat(np.arange(len(pair_at)), more + 1)
        self._pair = pair_at.take(self._owner)
        self._pair[self._further] = pair_there
        self._pieces = []
        first, borders = self._first.astype(np.int32), np.searchsorted(face, [p.start for p in parts] + [len(pair)])
        for part, begin, end in zip(parts, borders[:-1], borders[1:], strict=True):
            corners = first.take(net.quads[part].T)
            corners[corner[begin:end], face[begin:end] - part.start] = self._further[number[begin:end]]
            span = slice(int(corners.min()), int(corners.max()) + 1)
            sign = np.where(net.low[part] < net.high[part], np.float32(1 / 6), np.float32(-1 / 6))
            self._pieces.append((span, corners - span.start, pair[part], sign))

    def volumes(self, places: Columns) -> FloatArray:
        """Volume of each label in voxels, with the vertices at given places (3, V).

        A face is two triangles, split along the diagonal from corner 0 to corner 2.
        """
        places, volumes = self.spread(places), np.zeros(len(self._lower))
        for piece in self._pieces:
            volumes += self._of_faces(places, *piece)[0]
        return self._by_label(volumes, (1, -1))

    def volumes_and_gradients(self, places: Columns) -> tuple[FloatArray, Columns]:
        """Volumes as above, and (3, P) the gradients of the lower label's volume."""
        places, volumes = self.spread(places), np.zeros(len(self._lower))
        gradients = np.zeros_like(places)
        for span, corners, pair, sign in self._pieces:
            more, both, (a, b, c, _) = self._of_faces(places, span, corners, pair, sign)
            volumes += more
            one = _cross((b - a) * sign, c - a)  # the first triangle's
            parts = np.concatenate([both, one, both, both - one], 1)
            flat = corners.ravel().astype(np.intp)
            for gradient, part in zip(gradients[:, span], parts, strict=True):
                gradient += np.bincount(flat, part, len(gradient))
        return self._by_label(volumes, (1, -1)), gradients

    def _of_faces(
        self, places: Columns, span: slice, corners: IndexArray, pair: IndexArray, sign: Columns
    ) -> tuple[FloatArray, Columns, Columns]:
        """For a piece: volumes by pair, gradients at corner 0 of the faces (3, N), and the corners (4, 3, N)."""
        at_corners = places[:, span].take(corners, 1).swapaxes(0, 1)
        a, b, c, d = at_corners
        both = _cross((c - a) * sign, d - b)
        return sums_at(pair, (a * both).sum(0), len(self._lower)), both, at_corners

    def summed(self, values: Columns, signs: tuple[int, int]) -> FloatArray:
        """Sum of values (P,) for each label, with one sign as the lower label of a pair and one as the higher."""
        return self._by_label(sums_at(self._pair, values, len(self._lower)), signs)

    def differences(self, values: FloatArray) -> Columns:
        """(P,) the lower label's value minus the higher one's."""
        return (values[self._lower] - values[self._higher]).astype(np.float32).take(self._pair)

    def spread(self, values: Columns) -> Columns:
        """(3, P) the values (3, V) of the vertices."""
        return values.take(self._owner, 1)

    def gathered(self, values: Columns) -> Columns:
        """(3, V) the sums of values (3, P) by vertex."""
        result = values.take(self._first, 1)
        for axis in range(3):
            np.add.at(result[axis], self._vertex, values[axis].take(self._further))
        return result

    def _by_label(self, values: FloatArray, signs: tuple[int, int]) -> FloatArray:
        lower = sums_at(self._lower, signs[0] * values, self._labels)
        return lower + sums_at(self._higher, signs[1] * values, self._labels)


def _cross(a: Columns, b: Columns) -> Columns:
    """Cross products of (3, N) columns; several times faster than numpy's general one."""
    result = np.empty_like(a)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        np.multiply(a[u], b[v], out=result[axis])
        result[axis] -= a[v] * b[u]
    return result
