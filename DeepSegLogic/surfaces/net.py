"""The boundary of every structure at once: the faces between voxels of different labels.

Neighbours share their faces, so that whatever moves the net's vertices opens no gap and makes no overlap.
This is the dual net of SurfaceNets (Gibson, Constrained elastic surface nets, MICCAI 1998) before it relaxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_FANS = 4  # no vertex of a voxel mask has more


@dataclass
class Net:
    """Faces between voxels of different labels, on a grid padded by one voxel of background.

    Attributes:
        vertices: (V, 3) float64 (I, J, K) indices on the volume's grid; corners of voxels, hence n + 0.5.
        quads: (F, 4) int64 indices of vertices, counter-clockwise seen from the higher voxel index.
        low, high: (F,) labels of the voxel before and behind each face, along its axis.
        fans: (F, 2, 4) int64, at each corner which sheet of the low and of the high label's surface the
            face belongs to; more than one sheet meets where voxels touch only by an edge or a corner.
    """

    vertices: np.ndarray
    quads: np.ndarray
    low: np.ndarray
    high: np.ndarray
    fans: np.ndarray


def build_net(labels: np.ndarray, offset=(0, 0, 0)) -> Net:
    """The net of a label map.

    Args:
        labels: (K, J, I) integers, 0 is background.
        offset: (K, J, I) index of its first voxel on the volume's grid.
    """
    padded = np.pad(labels, 1)
    lattice = tuple(n + 1 for n in padded.shape)  # corners of voxels; corner n lies before voxel n
    strides = np.array([lattice[1] * lattice[2], lattice[2], 1])
    corners, low, high, axes = [], [], [], []
    for axis in range(3):
        before = padded[tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))]
        behind = padded[tuple(slice(1, None) if a == axis else slice(None) for a in range(3))]
        found = np.nonzero(before != behind)
        low.append(before[found])
        high.append(behind[found])
        start = sum(f * s for f, s in zip(found, strides, strict=True)) + strides[axis]
        # In (I, J, K) order the next two axes span the face, so that its normal points along the axis.
        u, v = strides[(axis + 2) % 3], strides[(axis + 1) % 3]
        corners.append(start[:, None] + np.array([0, u, u + v, v]))
        axes.append(np.full(len(start), axis, np.int8))
    corners, low, high = np.concatenate(corners), np.concatenate(low), np.concatenate(high)
    used = np.zeros(int(np.prod(lattice)), bool)
    used[corners.ravel()] = True
    points = np.flatnonzero(used)
    number = np.empty(len(used), np.int64) if len(points) else np.zeros(0, np.int64)
    number[points] = np.arange(len(points))
    kji = np.stack(np.unravel_index(points, lattice), 1)
    vertices = (kji + np.array(offset) - 1.5)[:, ::-1]
    quads = number[corners]
    return Net(vertices, quads, low, high, _fans(padded, kji, quads, low, high, np.concatenate(axes)))


def _fans(padded, kji, quads, low, high, axes) -> np.ndarray:
    """See :attr:`Net.fans`; zero except at the few corners where sheets meet."""
    table, counts = _fan_table()
    bits = np.array([[b >> 2 & 1, b >> 1 & 1, b & 1] for b in range(8)])
    around = np.stack([padded[tuple((kji + b - 1).T)] for b in bits], 1)  # labels of the voxels at each vertex
    weights = 1 << np.arange(8)
    several = np.zeros(len(around), bool)
    for b in range(8):
        occupied = ((around == around[:, b : b + 1]) @ weights).astype(np.uint8)
        several |= (counts[occupied] > 1) & (around[:, b] > 0)
    fans = np.zeros((len(quads), 2, 4), np.int64)
    face, corner = np.nonzero(several[quads])
    # Seen from corner c of a face, the low voxel lies at these bits; see the order of corners above.
    axis = axes[face]
    u_side, v_side = np.isin(corner, (0, 3)).astype(int), np.isin(corner, (0, 1)).astype(int)
    bit = np.array([4, 2, 1])
    position = u_side * bit[(axis + 2) % 3] + v_side * bit[(axis + 1) % 3]
    vertex_labels = around[quads[face, corner]]
    for side, label in enumerate((low, high)):
        occupied = ((vertex_labels == label[face][:, None]) @ weights).astype(np.uint8)
        fans[face, side, corner] = np.maximum(table[occupied, axis, position], 0)
    return fans


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
