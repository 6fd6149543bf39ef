"""Structures that touch only at an edge or a corner of voxels: each has vertices of its own there.

Otherwise their surfaces would share a vertex, although something else lies between them: it could follow neither of
them, and would stick out of both like a tooth.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.types import MaskArray
from .corners import any_corner, corners_at
from .sheets import BITS, RINGS, voxel_before
from .surface import Bytes, IndexArray, Labels

Doubles: TypeAlias = IndexArray
"""(4, N) axis, start, end and number of faces of edges that start where another does, along the same axis."""


class Copies(NamedTuple):
    """The vertices that structures which touch there cannot share.

    Attributes:
        places: (N,) these vertices, in ascending order.
        sheet: (12, N) how their faces hang together: the sheet of each from 0, see :func:`_face_numbers`.
        origins: the vertex that each new one copies, in ascending order; all sheets but the first get one.
    """

    places: IndexArray
    sheet: IndexArray
    origins: IndexArray


def copies_at(around: Labels, several: MaskArray) -> Copies:
    """Which vertices of a net need copies.

    Args:
        around: (8, V) labels of the voxels at each vertex.
        several: (V,) the vertices where a label has several sheets; others need none.
    """
    places = np.flatnonzero(several)
    sheet, number = _sheets_at(around[:, places])
    needed = np.flatnonzero(number > 1)
    return Copies(places[needed], sheet[:, needed], np.repeat(places, number - 1))


def separated(
    quads: IndexArray,
    axes: npt.NDArray[np.int8],
    faces: IndexArray,
    ahead: IndexArray,
    meeting: Bytes,
    copies: Copies,
) -> Doubles:
    """Give faces that do not hang together at a vertex vertices of their own there.

    Args:
        quads, ahead, meeting: see :class:`~DeepSegLogic.surfaces.surface_net.Net`; they are changed. The latter two
            have room for the new vertices.
        axes: (F,) across which the faces lie.
        faces: those with a corner at one of the places.

    Returns:
        The edges that ahead and meeting have no room for.
    """
    places, origins = copies.places, copies.origins
    total = meeting.shape[1]
    there = np.zeros(total, bool)
    there[places] = True
    faces = faces.take(any_corner(there.take(quads.take(faces, 0))))
    old = quads.take(faces, 0)
    face, corner = corners_at(there, old)
    vertex, axis = old[face, corner], axes.take(faces)
    at = np.searchsorted(places, vertex)
    copy = copies.sheet[_face_numbers()[axis.take(face), voxel_before(axis.take(face), corner)], at]
    new = old.copy()
    first_copy = total - len(origins) + np.searchsorted(origins, vertex)
    new[face, corner] = np.where(copy > 0, first_copy + copy - 1, vertex)
    quads[faces] = new
    return edges_again(old, new, axis, there, ahead, meeting)


def edges_again(
    old: IndexArray,
    new: IndexArray,
    axes: npt.NDArray[np.int8],
    changed: MaskArray,
    ahead: IndexArray,
    meeting: Bytes,
) -> Doubles:
    """The edges at vertices after faces there got others.

    Args:
        old, new: (N, 4) the vertices of all faces at these vertices, before and after.
        axes: (N,) across which the faces lie.
        changed: (V,) these vertices.
        ahead, meeting: see :class:`~DeepSegLogic.surfaces.surface_net.Net`; they are changed.

    Returns:
        The edges that ahead and meeting have no room for.
    """
    total = meeting.shape[1]
    u, v = (axes + 2) % 3, (axes + 1) % 3
    sides = [(u, 0, 1), (v, 1, 2), (u, 3, 2), (v, 0, 3)]  # see the order of corners in build_net
    codes = []
    for along, start, end in sides:
        some = np.flatnonzero(changed.take(old[:, start]) | changed.take(old[:, end]))
        along = along.take(some).astype(np.int64)  # for the codes: numpy 1 keeps the type of arrays
        ahead[along, old[some, start]] = -1
        meeting[along, old[some, start]] = 0
        codes.append((along * total + new[some, start]) * total + new[some, end])
    found, meet = np.unique(np.concatenate(codes), return_counts=True)
    starts, ends = np.divmod(found, total)
    _, first = np.unique(starts, return_index=True)
    edges = np.stack([starts // total, starts % total, ends, meet])
    single = edges[:, first]
    ahead[single[0], single[1]], meeting[single[0], single[1]] = single[2:]
    return np.delete(edges, first, 1)


@lru_cache(maxsize=1)
def _face_numbers() -> IndexArray:
    """(3, 8) a number from 0 to 11 for the face at a vertex that lies across an axis, behind the voxel at given bits;
    or -1."""
    numbers = np.full((3, 8), -1)
    for axis, bit in enumerate(BITS):
        numbers[axis, [b for b in range(8) if not b & bit]] = 4 * axis + np.arange(4)
    return numbers


def _sheets_at(around: Labels) -> tuple[IndexArray, IndexArray]:
    """How the faces at vertices hang together.

    Those that meet at an edge hang together. Of four, those around the same voxel do if the two voxels beside it have
    the same label and it does not.

    Args:
        around: (8, N) labels of the voxels at each vertex.

    Returns:
        (12, N) the sheet of each face from 0, and (N,) the number of sheets.
    """
    # Only which labels are equal counts, and most places are alike.
    alike = np.zeros(around.shape[1], np.uint32)
    for pair, (one, other) in enumerate(itertools.combinations(around, 2)):
        alike |= (one == other).view(np.uint8) * np.uint32(1 << pair)
    _, first, kind = np.unique(alike, return_index=True, return_inverse=True)
    sheet, number = _sheets_of_each(around[:, first])
    return sheet.take(kind, 1), number.take(kind)


def _sheets_of_each(around: Labels) -> tuple[IndexArray, IndexArray]:
    """As above, place by place."""
    numbers, every = _face_numbers(), np.arange(12, dtype=np.int8)[:, None]
    present = np.zeros((12, around.shape[1]), bool)
    for axis, bit in enumerate(BITS):
        for b in np.flatnonzero(numbers[axis] >= 0):
            present[numbers[axis, b]] = around[b] != around[b | bit]
    groups = []  # of faces that hang together, and where they do
    for ring in (*RINGS, *(RINGS - BITS[:, None])):
        following = np.roll(ring, -1)
        axes = np.searchsorted(-BITS, -(ring ^ following))
        faces = numbers[axes, ring & following]
        a, b, c, d = around[ring]
        four = present[faces].all(0)
        around_b, around_c = four & (a == c) & (b != d), four & (b == d) & (a != c)
        groups.append((faces, ~around_b & ~around_c))
        groups += [(faces[:2], around_b), (faces[2:], around_b), (faces[1:3], around_c), (faces[[3, 0]], around_c)]
    nowhere = np.int8(12)
    sheet, before = np.where(present, every, nowhere), np.empty(0)
    while not np.array_equal(sheet, before):
        before = sheet.copy()
        for faces, where in groups:
            least = np.where(where, sheet[faces].min(0), nowhere)
            sheet[faces] = np.where(present[faces], np.minimum(sheet[faces], least), nowhere)
    first = present & (sheet == every)
    rank = np.cumsum(first, 0) - 1
    return np.take_along_axis(rank, np.minimum(sheet, 11), 0), first.sum(0)
