"""The boundary of every structure at once: the faces between voxels of different labels.

Neighbours share their faces, so that whatever moves the net's vertices opens no gap and makes no overlap.
This is the dual net of SurfaceNets (Gibson, Constrained elastic surface nets, MICCAI 1998) before it relaxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_RINGS = np.array([[4, 6, 7, 5], [2, 6, 7, 3], [1, 5, 7, 3]])  # by axis (K, J, I) the voxels round the edge along it
_PIECE = 65536  # faces that are looked at together, so that what is in between stays in the processor's cache


@dataclass
class Net:
    """Faces between voxels of different labels, on a grid padded by one voxel of background.

    Attributes:
        vertices: (V, 3) float64 (I, J, K) indices on the volume's grid; corners of voxels, hence n + 0.5.
        quads: (F, 4) int32 indices of vertices, counter-clockwise seen from the higher voxel index.
        low, high: (F,) labels of the voxel before and behind each face, along its axis.
        ahead: (3, V) int32, the vertices that the sides of faces join each one to along K, J and I, or -1.
        meeting: (3, V) uint8, how many faces meet at each of these edges; more than two where three structures touch.
        crowded: (F, 4) bool, whether four faces of one structure meet at the side from corner c to the next.
        fans: (F, 2, 4) uint8, at each corner which sheet of the low and of the high label's surface the
            face belongs to; more than one sheet meets where voxels touch only by an edge or a corner.
    """

    vertices: np.ndarray
    quads: np.ndarray
    low: np.ndarray
    high: np.ndarray
    ahead: np.ndarray
    meeting: np.ndarray
    crowded: np.ndarray
    fans: np.ndarray


def build_net(labels: np.ndarray, offset=(0, 0, 0)) -> Net:
    """The net of a label map.

    Args:
        labels: (K, J, I) integers, 0 is background.
        offset: (K, J, I) index of its first voxel on the volume's grid.
    """
    padded = np.pad(labels, 1)
    # Everything is addressed by flat index. Corner n lies before voxel n; background all round keeps a step
    # along any axis inside the array.
    flat, strides = padded.ravel(), np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    corners, low, high, axes = [], [], [], []
    for axis, stride in enumerate(strides):
        found = np.flatnonzero(flat[:-stride] != flat[stride:])
        low.append(flat[found])
        high.append(flat[found + stride])
        # In (I, J, K) order the next two axes span the face, so that its normal points along the axis.
        u, v = strides[(axis + 2) % 3], strides[(axis + 1) % 3]
        corners.append((found + stride)[:, None] + np.array([0, u, u + v, v]))
        axes.append(np.full(len(found), axis, np.int8))
    low, high, axes = (np.concatenate(x) for x in (low, high, axes))
    used = np.zeros(len(flat), bool)
    for some in corners:
        used[some.ravel()] = True
    points = np.flatnonzero(used)
    number = np.empty(len(flat), np.int32)
    number[points] = np.arange(len(points), dtype=np.int32)
    quads = np.concatenate([number.take(some) for some in corners])
    vertices, rest = np.empty((len(points), 3)), points
    for axis, stride in enumerate(strides):
        along, rest = np.divmod(rest, stride)
        np.add(along, offset[axis] - 1.5, out=vertices[:, 2 - axis])
    around = np.stack([flat.take(points - strides @ [1 - (b >> 2), 1 - (b >> 1 & 1), 1 - (b & 1)]) for b in range(8)])
    meeting = _meeting(around)
    ahead = np.full(meeting.shape, -1, np.int32)
    for axis, stride in enumerate(strides):
        start = np.flatnonzero(meeting[axis])
        ahead[axis, start] = number.take(points.take(start) + stride)
    return Net(
        vertices, quads, low, high, ahead, meeting, _crowded(quads, axes, around, meeting), _fans(around, quads, axes)
    )


def any_corner(marks: np.ndarray) -> np.ndarray:
    """Numbers of the faces of which some corner is marked: as ``np.flatnonzero(marks.any(1))`` of a bool (F, 4)."""
    return np.flatnonzero(np.ascontiguousarray(marks).view(np.uint32))  # any(1) takes a hundred times as long


def faces_at(marked: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Numbers of the faces (F, 4) with a corner at a marked vertex (V,)."""
    starts = range(0, max(len(quads), 1), _PIECE)
    return np.concatenate([any_corner(marked.take(quads[at : at + _PIECE])) + at for at in starts])


def _meeting(around: np.ndarray) -> np.ndarray:
    """(3, V) uint8: how many faces meet at the edge that leads from each vertex along K, J and I.

    Args:
        around: (8, V) labels of the voxels at each vertex; bit 2, 1, 0 of the row is the side along K, J, I.
    """
    meeting = np.zeros((3, around.shape[1]), np.uint8)
    for axis, ring in enumerate(_RINGS):
        for here, there in zip(ring, np.roll(ring, -1), strict=True):
            meeting[axis] += around[here] != around[there]
    return meeting


def _crowded(quads: np.ndarray, axes: np.ndarray, around: np.ndarray, meeting: np.ndarray) -> np.ndarray:
    """See :attr:`Net.crowded`; few sides are."""
    crowded = np.zeros(quads.shape, bool)
    full = meeting > 3
    for axis, ring in enumerate(_RINGS):
        at = np.flatnonzero(full[axis])
        a, b, c, d = around[ring].take(at, 1)
        full[axis, at] = (a == c) & (a > 0) | (b == d) & (b > 0)
    faces = faces_at(full.any(0), quads)
    # From corner 0 a face runs along u, v, u, v, see build_net; sides 2 and 3 start at their end.
    u, v = (axes[faces] + 2) % 3, (axes[faces] + 1) % 3
    for n, (start, along) in enumerate(((0, u), (1, v), (3, u), (0, v))):
        crowded[faces, n] = full[along, quads[faces, start]]
    return crowded


def _fans(around, quads, axes) -> np.ndarray:
    """See :attr:`Net.fans`; zero except at the few corners where sheets meet. ``around`` as above."""
    table, counts = _fan_table()
    occupied = _occupancy(around)
    several = ((counts > 1)[occupied] & (around > 0)).any(0)
    fans = np.zeros((len(quads), 2, 4), np.uint8)
    face = faces_at(several, quads)
    at, corner = np.nonzero(several.take(quads[face]))
    face = face[at]
    # Seen from corner c of a face, the low voxel lies at these bits; see the order of corners above.
    axis = axes[face]
    u_side, v_side = np.isin(corner, (0, 3)).astype(int), np.isin(corner, (0, 1)).astype(int)
    bit = np.array([4, 2, 1])
    position = u_side * bit[(axis + 2) % 3] + v_side * bit[(axis + 1) % 3]
    vertex = quads[face, corner]
    for side, voxel in enumerate((position, position | bit[axis])):
        fans[face, side, corner] = np.maximum(table[occupied[voxel, vertex], axis, position], 0)
    return fans


def _occupancy(around: np.ndarray) -> np.ndarray:
    """(8, V) uint8: at each vertex, for each voxel which of the eight have its label, as bits."""
    bits = np.uint8(1) << np.arange(8, dtype=np.uint8)
    occupied = np.repeat(bits[:, None], around.shape[1], 1)
    for b in range(8):
        for other in range(b):
            same = (around[b] == around[other]).view(np.uint8)
            occupied[b] |= same * bits[other]  # several times faster than a shift
            occupied[other] |= same * bits[b]
    return occupied


@lru_cache(maxsize=1)
def _fan_table() -> tuple[np.ndarray, np.ndarray]:
    """For each occupancy of the eight voxels at a vertex: (256, 3, 8) the sheet of the face that crosses an
    axis from the voxel at some bits, or -1, and (256,) the number of sheets.

    Where four faces meet at an edge, those that share an empty voxel join: voxels that touch by an edge stay
    one piece.
    """
    table, counts = np.full((256, 3, 8), -1, np.int64), np.zeros(256, np.int64)
    bits = (4, 2, 1)
    for occupied in range(256):
        full = [bool(occupied >> b & 1) for b in range(8)]
        faces = {(a, b) for a in range(3) for b in range(8) if not b & bits[a] and full[b] != full[b | bits[a]]}
        sheet = {face: face for face in faces}

        def root(face, sheet=sheet):
            while sheet[face] != face:
                face = sheet[face]
            return face

        for axis in range(3):
            u, v = (b for b in bits if b != bits[axis])
            for side in (0, bits[axis]):
                ring = [side, side | u, side | u | v, side | v]
                crossed = []
                for here, there in zip(ring, ring[1:] + ring[:1], strict=True):
                    step = bits.index(here ^ there)
                    crossed.append(((step, here & there), here, there))
                crossed = [c for c in crossed if c[0] in faces]
                for (one, _, shared), (other, _, _) in zip(crossed, crossed[1:] + crossed[:1], strict=True):
                    if len(crossed) == 2 or not full[shared]:
                        sheet[root(one)] = root(other)
        roots = sorted({root(f) for f in faces})
        counts[occupied] = len(roots)
        for axis, b in faces:
            table[occupied, axis, b] = roots.index(root((axis, b)))
    return table, counts
