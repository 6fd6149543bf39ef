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

from ..data.types import FloatArray, MaskArray
from .narrow_contacts import with_walls
from .pieces import Pieces
from .sheets import BITS, RINGS, several_sheets, sheet_numbers
from .surface import Bytes, IndexArray, Labels
from .touching import Doubles, copies_at, separated

_CORNERS = np.array([[1 - (b >> 2), 1 - (b >> 1 & 1), 1 - (b & 1)] for b in range(8)])  # back to each voxel, (K, J, I)
_PIECE = 65536  # faces or vertices per step, so that intermediate arrays stay in the processor's cache
_LARGE_PIECE = 262144  # voxels per step; more than most slices have, as steps overlap by a slice

Columns: TypeAlias = npt.NDArray[np.float32]
"""Vectors in voxels along (I, J, K), (3, N): of vertices, or of what belongs to them."""

Places: TypeAlias = npt.NDArray[np.float32]
"""The same as rows, (N, 3)."""

_Vectors = TypeVar("_Vectors", Columns, FloatArray)


@dataclass
class Net:
    """Faces between voxels of different labels, on a grid padded by one voxel of background.

    Attributes:
        vertices: (V, 3) (I, J, K) indices on the volume's grid; corners of voxels, hence n + 0.5, exact in 32 bits.
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
        facing: (3, N) axis, and the vertices of the lower and of the higher wall of narrow contacts, which must not
            pass each other along it; see :mod:`DeepSegLogic.surfaces.narrow_contacts`.
    """

    vertices: Places
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
    facing: IndexArray


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
    points = _between_labels(flat, strides)
    around = np.empty((8, len(points)), flat.dtype)
    for at in range(0, len(points), _PIECE):
        for b, step in enumerate(-_CORNERS @ strides):
            around[b, at : at + _PIECE] = flat.take(points[at : at + _PIECE] + step)
    meeting, several = _meeting(around), several_sheets(around)
    copies = copies_at(around, several)
    origins = copies.origins
    ahead, thin = _edges(points, strides, meeting, around, len(origins))
    firsts = [np.flatnonzero(around[7 - bit] != around[7]) for bit in BITS]
    lows = [around[7 - bit].take(first) for bit, first in zip(BITS, firsts, strict=True)]
    highs = [around[7].take(first) for first in firsts]
    pieces = Pieces(flat, strides, points.take(firsts[2]))
    before, behind = [], []
    for first, stride, low, high in zip(firsts, strides, lows, highs, strict=True):
        voxels = points.take(first)
        before.append(pieces.of(voxels - stride, low))
        behind.append(pieces.of(voxels, high))
    full = _full(around, meeting)
    quads, marks = _faces(firsts, ahead, (full.any(0) + 2 * several).astype(np.uint8))
    axes = np.repeat(np.arange(3, dtype=np.int8), [len(f) for f in firsts])
    nonmanifold = _nonmanifold(quads, axes, full, np.flatnonzero(marks & 1))
    faces = np.flatnonzero(marks & 2)
    sheets = sheet_numbers(quads, axes, around, several, faces)
    meeting = np.pad(meeting, ((0, 0), (0, len(origins))))
    doubles = separated(quads, axes, faces, ahead, meeting, copies)
    thin[:, len(points) :] = thin[:, origins]
    net = Net(
        _places(np.append(points, points[origins]), strides, offset),
        quads,
        np.concatenate(lows),
        np.concatenate(highs),
        np.concatenate(before + behind).reshape(2, -1),
        pieces.voxels,
        ahead,
        meeting,
        thin,
        doubles,
        nonmanifold,
        sheets,
        np.empty((3, 0), np.intp),
    )
    return with_walls(net, axes, around, origins)


def _between_labels(flat: Labels, strides: IndexArray) -> IndexArray:
    """Flat indices of the corners between voxels of different labels."""
    reach, found = int(strides.sum()), []
    for at in range(reach, len(flat), _LARGE_PIECE):
        least = most = flat[at - reach : at + _LARGE_PIECE]
        for stride in strides:
            least = np.minimum(least[:-stride], least[stride:])
            most = np.maximum(most[:-stride], most[stride:])
        found.append(np.flatnonzero(least != most) + at)
    return np.concatenate(found)


def _edges(
    points: IndexArray, strides: IndexArray, meeting: Bytes, around: Labels, room: int
) -> tuple[IndexArray, MaskArray]:
    """:attr:`Net.ahead` and :attr:`Net.thin`, with room for further vertices.

    Args:
        points: (V,) flat indices of the vertices, in ascending order.
    """
    shape = 3, len(points) + room
    ahead: IndexArray = np.full(shape, -1, np.int32)
    thin = np.zeros(shape, bool)
    for at in range(0, len(points), _PIECE):
        part = slice(at, at + _PIECE)
        here = points[part]
        window = int(here[-1] - here[0] + strides[0] + 1)  # from the first of them to what lies ahead of the last
        end = np.searchsorted(points, here[0] + window)
        here = here - here[0]
        number = np.full(window, -1, np.int32)
        number[points[at:end] - points[at]] = np.arange(at, end, dtype=np.int32)
        for axis, stride in enumerate(strides):
            beside, meets = number.take(here + stride), meeting[axis, part] > 0
            ahead[axis, at : at + len(here)] = np.where(meets, beside, np.int32(-1))
            within = around[RINGS[axis][0], part] > 0  # a gap may close, as far as the limit of the moves lets it
            start = np.flatnonzero((beside >= 0) & within & ~meets)
            thin[axis][start + at] = thin[axis][beside.take(start)] = True
    return ahead, thin


def _faces(firsts: Sequence[IndexArray], ahead: IndexArray, marked: Bytes) -> tuple[IndexArray, Bytes]:
    """:attr:`Net.quads`, and the marks of their vertices joined by "or" (F,).

    Args:
        firsts: by axis, the vertices where the faces across it start.
        marked: (V,) bits.
    """
    quads = np.empty((sum(map(len, firsts)), 4), np.int32)
    marks, begin = np.empty(len(quads), np.uint8), 0
    for axis, first in enumerate(firsts):
        # In (I, J, K) order the next two axes span the face, so that its normal points along the axis.
        along_u, along_v = ahead[(axis + 2) % 3], ahead[(axis + 1) % 3]
        for at in range(0, len(first), _PIECE):
            a = first[at : at + _PIECE]
            b, d = along_u.take(a), along_v.take(a)
            c = along_v.take(b)
            part = slice(begin + at, begin + at + len(a))
            for n, corner in enumerate((a, b, c, d)):
                quads[part, n] = corner
            marks[part] = marked.take(a) | marked.take(b) | marked.take(c) | marked.take(d)
        begin += len(first)
    return quads, marks


def _places(points: IndexArray, strides: IndexArray, offset: Sequence[int]) -> Places:
    """(V, 3) (I, J, K) indices of corners from their flat indices."""
    places = np.empty((len(points), 3), np.float32)
    for at in range(0, len(points), _PIECE):
        rest = points[at : at + _PIECE]
        for axis, stride in enumerate(strides):
            along = rest // stride  # twice as fast as divmod
            rest = rest - along * stride
            places[at : at + _PIECE, 2 - axis] = along + (offset[axis] - 1.5)
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
