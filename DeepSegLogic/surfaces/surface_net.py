"""The boundaries of all structures as one net: the faces between voxels of different labels.

Structures that touch share their faces, so moving a vertex makes no gap and no overlap. This is the net of SurfaceNets
(Gibson, Constrained elastic surface nets, MICCAI 1998) before its relaxation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray, PointsIjk
from .pieces import Pieces
from .sheets import RINGS, several_sheets, sheet_numbers
from .surface import Bytes, IndexArray, Labels
from .touching import Doubles, separated

_CORNERS = np.array([[1 - (b >> 2), 1 - (b >> 1 & 1), 1 - (b & 1)] for b in range(8)])  # back to each voxel, (K, J, I)
_PIECE = 65536  # faces or vertices per step, so that intermediate arrays stay in the processor's cache

Columns: TypeAlias = npt.NDArray[np.float32]
"""Vectors in voxels along (I, J, K), (3, N): of vertices, or of what belongs to them."""

_Vectors = TypeVar("_Vectors", Columns, FloatArray)


@dataclass
class Net:
    """Faces between voxels of different labels, on a grid padded by one voxel of background.

    Attributes:
        vertices: (V, 3) (I, J, K) indices on the volume's grid; corners of voxels, hence n + 0.5.
        quads: (F, 4) int32 indices of vertices, counter-clockwise as seen from the higher voxel index.
        low, high: (F,) labels of the voxels before and behind each face, along its axis.
        pieces: (2, F) int32, the connected pieces before and behind each face, from 1; 0 is the background.
        voxels: number of voxels of each piece, by number; 0 for the background.
        ahead: (3, V) int32, the next vertex along an edge in the direction of K, J and I, or -1.
        meeting: (3, V) uint8, how many faces meet at each of these edges; more than two where three structures touch.
        thin: (3, V) bool, whether the next vertex in the direction of K, J or I, or against it, lies one voxel away on
            the other side of a structure.
        nonmanifold: (F, 4) bool, whether four faces of one structure meet at the side from corner c to the next.
        doubles: edges that start where another does, along the same axis; see :mod:`DeepSegLogic.surfaces.touching`.
        sheets: (F, 2, 4) uint8, at each corner the sheet of the low and of the high label's surface that the
            face belongs to, from 1 if there are several, as where voxels share only an edge or a corner; else 0.
    """

    vertices: PointsIjk
    quads: IndexArray
    low: Labels
    high: Labels
    pieces: IndexArray
    voxels: FloatArray
    ahead: IndexArray
    meeting: Bytes
    thin: MaskArray
    doubles: Doubles
    nonmanifold: MaskArray
    sheets: Bytes


def build_net(labels: Labels, offset: Sequence[int] = (0, 0, 0)) -> Net:
    """The net of a label map.

    Args:
        labels: (K, J, I).
        offset: (K, J, I) index of its first voxel on the volume's grid.
    """
    padded = np.pad(labels, 1)
    # Flat indices throughout. Corner n lies before voxel n. The background on all sides keeps a step along any axis
    # inside the array.
    flat, strides = padded.ravel(), np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    used = np.zeros(len(flat) + strides[0], bool)  # a step further than the last corner
    firsts, lows, highs = [], [], []
    for axis, stride in enumerate(strides):
        found = np.flatnonzero(flat[:-stride] != flat[stride:])
        lows.append(flat.take(found))
        highs.append(flat.take(found + stride))
        firsts.append(found + stride)
        u, v = strides[(axis + 2) % 3], strides[(axis + 1) % 3]
        for step in (0, u, u + v, v):
            used[firsts[axis] + step] = True
    pieces = Pieces(flat, strides, firsts[2])
    before = [pieces.of(first - stride, low) for first, stride, low in zip(firsts, strides, lows, strict=True)]
    behind = [pieces.of(first, high) for first, high in zip(firsts, highs, strict=True)]
    points = np.flatnonzero(used)
    number = np.empty(len(flat), np.int32)
    number[points] = np.arange(len(points), dtype=np.int32)
    around = np.empty((8, len(points)), flat.dtype)
    for at in range(0, len(points), _PIECE):
        for b, step in enumerate(-_CORNERS @ strides):
            around[b, at : at + _PIECE] = flat.take(points[at : at + _PIECE] + step)
    meeting = _meeting(around)
    ahead: IndexArray = np.full(meeting.shape, -1, np.int32)
    thin = np.zeros(meeting.shape, bool)
    for axis, stride in enumerate(strides):
        start = np.flatnonzero(meeting[axis])
        ahead[axis][start] = number.take(points.take(start) + stride)  # much faster than by two indices
        within = around[RINGS[axis][0]] > 0  # a gap may close, as far as the limit of the moves lets it
        start = np.flatnonzero(used.take(points + stride) & (meeting[axis] == 0) & within)
        thin[axis][start] = thin[axis][number.take(points.take(start) + stride)] = True
    quads = np.empty((sum(map(len, firsts)), 4), np.int32)
    axes = np.repeat(np.arange(3, dtype=np.int8), [len(f) for f in firsts])
    full, several = _full(around, meeting), several_sheets(around)
    marked = (full.any(0) + 2 * several).astype(np.uint8)
    marks = np.empty(len(quads), np.uint8)
    begin = 0
    for axis, first in enumerate(firsts):
        # In (I, J, K) order the next two axes span the face, so that its normal points along the axis.
        along_u, along_v = ahead[(axis + 2) % 3], ahead[(axis + 1) % 3]
        for at in range(0, len(first), _PIECE):
            a = number.take(first[at : at + _PIECE])
            b, d = along_u.take(a), along_v.take(a)
            c = along_v.take(b)
            part = slice(begin + at, begin + at + len(a))
            for n, corner in enumerate((a, b, c, d)):
                quads[part, n] = corner
            marks[part] = marked.take(a) | marked.take(b) | marked.take(c) | marked.take(d)
        begin += len(first)
    nonmanifold = _nonmanifold(quads, axes, full, np.flatnonzero(marks & 1))
    faces, places = np.flatnonzero(marks & 2), np.flatnonzero(several)
    sheets = sheet_numbers(quads, axes, around, several, faces)
    origins, ahead, meeting, doubles = separated(quads, axes, faces, ahead, meeting, places, around[:, places])
    return Net(
        _places(np.concatenate([points, points[origins]]), strides, offset),
        quads,
        np.concatenate(lows),
        np.concatenate(highs),
        np.stack([np.concatenate(before), np.concatenate(behind)]),
        pieces.voxels,
        ahead,
        meeting,
        np.concatenate([thin, thin[:, origins]], 1),
        doubles,
        nonmanifold,
        sheets,
    )


def _places(points: IndexArray, strides: IndexArray, offset: Sequence[int]) -> PointsIjk:
    """(V, 3) (I, J, K) indices of corners from their flat indices."""
    places, rest = np.empty((len(points), 3)), points
    for axis, stride in enumerate(strides):
        along = rest // stride  # twice as fast as divmod
        rest = rest - along * stride
        np.add(along, offset[axis] - 1.5, out=places[:, 2 - axis])
    return places


def sums_at(indices: IndexArray | Labels, values: npt.NDArray[np.floating] | IndexArray, length: int) -> FloatArray:
    """(length,) the sum of the values at each index."""
    return np.asarray(np.bincount(indices, values, length), np.float64)


def cross(a: _Vectors, b: _Vectors) -> _Vectors:
    """Cross products of (3, N) columns; several times faster than numpy's general one."""
    result = np.empty_like(a)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        np.multiply(a[u], b[v], out=result[axis])
        result[axis] -= a[v] * b[u]
    return result


def _meeting(around: Labels) -> Bytes:
    """See :attr:`Net.meeting`.

    Args:
        around: (8, V) labels of the voxels at each vertex; bits 2, 1, 0 of the row are the side along K, J, I.
    """
    meeting = np.zeros((3, around.shape[1]), np.uint8)
    for axis, ring in enumerate(RINGS):
        for here, there in zip(ring, np.roll(ring, -1), strict=True):
            meeting[axis] += around[here] != around[there]
    return meeting


def _full(around: Labels, meeting: Bytes) -> MaskArray:
    """(3, V) whether four faces of one structure meet at the edge to the next vertex, by axis; rare."""
    full = meeting > 3
    for axis, ring in enumerate(RINGS):
        at = np.flatnonzero(full[axis])
        a, b, c, d = around[ring].take(at, 1)
        full[axis, at] = (a == c) & (a > 0) | (b == d) & (b > 0)
    return full


def _nonmanifold(quads: IndexArray, axes: npt.NDArray[np.int8], full: MaskArray, faces: IndexArray) -> MaskArray:
    """See :attr:`Net.nonmanifold`.

    Args:
        faces: those that may have such sides.
    """
    nonmanifold = np.zeros(quads.shape, bool)
    # From corner 0 a face runs along u, v, u, v, see build_net; sides 2 and 3 start at their end.
    u, v = (axes[faces] + 2) % 3, (axes[faces] + 1) % 3
    for n, (start, along) in enumerate(((0, u), (1, v), (3, u), (0, v))):
        nonmanifold[faces, n] = full[along, quads[faces, start]]
    return nonmanifold
