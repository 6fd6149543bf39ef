"""Sheets: how the faces at a vertex of the net hang together as surfaces of structures.

A structure has several sheets at a vertex where its voxels share only an edge or a corner. Voxels that share an edge
stay connected.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..data.types import MaskArray
from .corners import corners_at
from .surface import Bytes, IndexArray, Labels

BITS = np.array([4, 2, 1])
"""Of the eight voxels at a vertex: the side of each along K, J and I."""
RINGS = np.array([[4, 6, 7, 5], [2, 6, 7, 3], [1, 5, 7, 3]])
"""By axis (K, J, I), those of them around the edge ahead along it."""


def voxel_before(axes: npt.NDArray[np.int8], corners: IndexArray) -> IndexArray:
    """The voxel before a face, seen from a corner of the face; see the order of corners in
    :func:`~DeepSegLogic.surfaces.surface_net.build_net`.

    Args:
        axes: (N,) across which the faces lie.
        corners: (N,) from 0 to 3.
    """
    u, v = np.roll(BITS, 1), np.roll(BITS, 2)  # along the sides of a face across each axis
    return np.asarray(np.stack([u + v, v, 0 * u, u], 1)[axes, corners])


def several_sheets(around: Labels) -> MaskArray:
    """(V,) whether a label, the background included, has several sheets at a vertex; rare.

    Args:
        around: (8, V) labels of the voxels at each vertex, see :data:`BITS`.
    """
    _, counts = _sheet_table()
    least, most = around.min(0), around.max(0)
    bits, both = np.zeros(around.shape[1], np.uint8), np.ones(around.shape[1], bool)
    for b, labels in enumerate(around):
        is_most = labels == most
        bits |= is_most.view(np.uint8) << np.uint8(b)
        both &= is_most | (labels == least)
    several = ((counts > 1) | (counts[::-1] > 1)).take(bits)  # of two labels
    at = np.flatnonzero(~both)
    several[at] = (counts > 1)[_occupancy(around[:, at])].any(0)
    return several


def sheet_numbers(
    quads: IndexArray, axes: npt.NDArray[np.int8], around: Labels, several: MaskArray, faces: IndexArray
) -> Bytes:
    """See :attr:`Net.sheets <DeepSegLogic.surfaces.surface_net.Net.sheets>`; zero except at the few corners where
    sheets of one structure meet.

    Args:
        several: (V,) the vertices with several sheets.
        faces: those with a corner there.
    """
    sheets = np.zeros((len(quads), 2, 4), np.uint8)
    table, _ = _sheet_table()
    at, corner = corners_at(several, quads.take(faces, 0))
    face = faces.take(at)
    axis = axes[face]
    before = voxel_before(axis, corner)
    there, vertex = np.unique(quads[face, corner], return_inverse=True)
    occupied = _occupancy(around[:, there])
    for side, voxel in enumerate((before, before | BITS[axis])):
        sheets[face, side, corner] = table[occupied[voxel, vertex], axis, before]
    return sheets


def _occupancy(around: Labels) -> Bytes:
    """(8, V): for each of the eight voxels at a vertex, which of the eight have its label, as bits."""
    bits = np.uint8(1) << np.arange(8, dtype=np.uint8)
    occupied = np.repeat(bits[:, None], around.shape[1], 1)
    for b in range(8):
        for other in range(b):
            same = (around[b] == around[other]).view(np.uint8)
            occupied[b] |= same * bits[other]  # several times faster than a shift
            occupied[other] |= same * bits[b]
    return occupied


@lru_cache(maxsize=1)
def _sheet_table() -> tuple[Bytes, Bytes]:
    """For each occupancy of the eight voxels at a vertex: (256, 3, 8) the sheet of the face that crosses an axis
    from the voxel at given bits, from 1 if there are several, else 0; and (256,) the number of sheets.

    Where four faces meet at an edge, those that share an empty voxel join: voxels that share an edge stay connected.
    """
    table, counts = np.zeros((256, 3, 8), np.uint8), np.zeros(256, np.uint8)
    bits = (4, 2, 1)
    for occupied in range(256):
        full = [bool(occupied >> b & 1) for b in range(8)]
        faces = {(a, b) for a in range(3) for b in range(8) if not b & bits[a] and full[b] != full[b | bits[a]]}
        sheet = {face: face for face in faces}

        def root(face: tuple[int, int], sheet: dict[tuple[int, int], tuple[int, int]] = sheet) -> tuple[int, int]:
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
        for axis, b in faces if len(roots) > 1 else ():
            table[occupied, axis, b] = 1 + roots.index(root((axis, b)))
    return table, counts
