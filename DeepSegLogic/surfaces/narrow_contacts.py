"""Narrow contacts: where structures touch in a strip of a few voxels only, each has a wall of its own.

Two surfaces that lie side by side, half a voxel apart, leave a gap of one voxel in some places and none in others, as
the terraces of their voxels do. If they shared their boundary in each of these strips, each would bend to the other and
back again, and both would be rough. So they share it only where they touch more broadly. In a strip they may come
apart, but never pass each other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.types import MaskArray
from .corners import any_corner, corners_at, faces_at
from .surface import IndexArray, Labels
from .touching import edges_again

if TYPE_CHECKING:
    from .surface_net import Columns, Net

_RINGS = 2  # of faces that are taken away: strips of up to four faces are narrow
_GROWTH = 3  # rings that grow back; with as many as are taken, round contacts would lose parts of their rim

Coordinates: TypeAlias = npt.NDArray[np.float32]
"""Of vertices along one axis (V,)."""


def with_walls(net: Net, axes: npt.NDArray[np.int8], around: Labels, origins: IndexArray) -> Net:
    """The net with two walls in place of each face of a narrow contact (``net`` is changed).

    Args:
        axes: (F,) across which the faces lie.
        around: (8, N) labels of the voxels at each vertex but the last ones, which are copies.
        origins: the vertices that these copy.
    """
    contacts = np.flatnonzero(np.minimum(net.low, net.high))
    is_narrow = _is_narrow(net.quads.take(contacts, 0), len(net.vertices), around, origins)
    is_narrow[any_corner(net.nonmanifold.take(contacts, 0))] = False
    narrow = contacts[is_narrow]
    if len(narrow) == 0:
        return net
    marked = np.zeros(len(net.vertices), bool)
    marked[net.quads.take(narrow, 0).astype(np.intp)] = True
    _mark_starts(marked, net)
    faces = faces_at(marked, net.quads)
    split = np.zeros(len(net.quads), bool)
    split[narrow] = True
    old, is_narrow = net.quads.take(faces, 0), split.take(faces)
    walls = _walls(old, net.low.take(faces), net.high.take(faces), is_narrow, marked)
    net.quads[faces] = walls.before
    behind = walls.behind[is_narrow]
    high, pieces, sheets = net.high.take(narrow), net.pieces.take(narrow, 1), net.sheets.take(narrow, 0)
    pieces[0], sheets[:, 0] = 0, 0
    net.high[narrow] = net.pieces[1, narrow] = 0
    net.sheets[narrow, 1] = 0
    room = (0, 0), (0, len(walls.origins))
    ahead, meeting = np.pad(net.ahead, room, constant_values=-1), np.pad(net.meeting, room)
    axis = axes.take(faces)
    doubles = edges_again(
        np.concatenate([old, old[is_narrow]]),
        np.concatenate([walls.before, behind]),
        np.concatenate([axis, axis[is_narrow]]),
        np.pad(marked, room[1]),
        ahead,
        meeting,
    )
    kept = ~(marked.take(net.doubles[1]) | marked.take(net.doubles[2]))
    return replace(
        net,
        vertices=np.concatenate([net.vertices, net.vertices.take(walls.origins, 0)]),
        quads=np.concatenate([net.quads, behind.astype(np.int32)]),
        low=np.append(net.low, np.zeros_like(high)),
        high=np.append(net.high, high),
        pieces=np.concatenate([net.pieces, pieces], 1),
        ahead=ahead,
        meeting=meeting,
        thin=np.concatenate([net.thin, net.thin.take(walls.origins, 1)], 1),
        doubles=np.concatenate([net.doubles[:, kept], doubles], 1),
        nonmanifold=np.concatenate([net.nonmanifold, net.nonmanifold.take(narrow, 0)]),
        sheets=np.concatenate([net.sheets, sheets]),
        facing=_facing(axis[is_narrow], walls.before[is_narrow], behind, meeting.shape[1]),
    )


def facing_along(net: Net) -> list[IndexArray]:
    """(2, N) the vertices of the lower and the higher wall of narrow contacts, along I, J and K."""
    return [net.facing[1:, net.facing[0] == axis] for axis in (2, 1, 0)]


def keep_order(places: Coordinates, facing: IndexArray, low: Coordinates, high: Coordinates) -> None:
    """Keep each wall on its side of the middle between it and the one that it faces.

    Args:
        places: (V,) where the vertices are along an axis.
        facing: (2, N) the vertices of the lower and the higher wall.
        low, high: (V,) the lowest and highest places that they may have next, which are changed.
    """
    lower, higher = facing
    middle = (places.take(lower) + places.take(higher)) / 2
    np.minimum.at(high, lower, middle)
    np.maximum.at(low, higher, middle)


class WallLimits:
    """Limits of the moves of a net's vertices, which keep walls that face each other in order.

    Args:
        limit: largest move along an axis, in voxels.
    """

    def __init__(self, net: Net, limit: float):
        self._facing, self._limit = facing_along(net), np.float32(limit)
        self._low = np.broadcast_to(-self._limit, (3, len(net.vertices)))
        self._high = np.broadcast_to(self._limit, self._low.shape)
        if net.facing.size:
            self._low, self._high = self._low.copy(), self._high.copy()

    def of(self, moves: Columns, vertices: slice | IndexArray) -> tuple[Columns, Columns]:
        """The least and the largest moves (3, N) of some vertices, after all have moved so far."""
        for along, facing, low, high in zip(moves, self._facing, self._low, self._high, strict=True):
            if facing.size:
                high[facing[0]], low[facing[1]] = self._limit, -self._limit
                keep_order(along, facing, low, high)
        return self._low[:, vertices], self._high[:, vertices]


def _is_narrow(quads: IndexArray, count: int, around: Labels, origins: IndexArray) -> MaskArray:
    """Which faces between two structures (rows of quads) belong to no broad contact: those that do not come back when
    rings of faces are taken away, from the background on, and what remains grows again."""
    used = np.zeros(count, bool)
    used[quads.astype(np.intp)] = True
    at = np.flatnonzero(used)
    first = count - len(origins)
    own, is_copy = at.copy(), at >= first
    own[is_copy] = origins[at[is_copy] - first]
    reached = np.zeros(count, bool)
    reached[at] = around.take(own, 1).min(0) == 0
    broad = np.ones(len(quads), bool)
    for _ in range(_RINGS):
        taken = any_corner(reached.take(quads))
        broad[taken] = False
        reached[quads.take(taken, 0).astype(np.intp)] = True
    for _ in range(_GROWTH):
        inside = np.zeros(count, bool)
        inside[quads[broad].astype(np.intp)] = True
        broad[any_corner(inside.take(quads))] = True
    return ~broad


def _mark_starts(marked: MaskArray, net: Net) -> None:
    """Mark also the vertices where several edges along an axis start, if one ends at a marked vertex: these edges are
    looked for together."""
    axis, start, end, _ = net.doubles
    ends = np.stack([end, net.ahead[axis, start]])
    before = -1
    while before != (before := int(marked.sum())):
        marked[start[marked.take(ends).any(0)]] = True


class _Walls(NamedTuple):
    """Faces after narrow contacts were split.

    Attributes:
        before, behind: (N, 4) their vertices for the structure before and behind them; the same unless they are narrow.
        origins: the vertex that each new one copies.
    """

    before: IndexArray
    behind: IndexArray
    origins: IndexArray


def _walls(quads: IndexArray, low: Labels, high: Labels, is_narrow: MaskArray, marked: MaskArray) -> _Walls:
    """The structures at a vertex keep one vertex if broad contacts join them there; else each gets its own.

    Args:
        quads: (N, 4) all faces at marked vertices.
        low, high: (N,) the labels before and behind them.
        marked: (V,) vertices that may be split.
    """
    face, corner = corners_at(marked, quads)
    vertex = quads[face, corner]
    several = int(max(low.max(), high.max())) + 1
    # The label before a corner's face, or the one behind if that is background, at the vertex; and the other way round.
    labels = np.stack([low, high]).take(face, 1)
    labels = np.where(labels > 0, labels, labels[::-1])
    codes = vertex.astype(np.int64) * several + labels
    present, at = np.unique(codes, return_inverse=True)
    one, other = at = at.reshape(codes.shape)
    joined = ~is_narrow.take(face)
    one, other = one[joined], other[joined]
    first, last = np.arange(len(present)), np.empty(0, np.intp)  # of those with the same vertex
    while not np.array_equal(first, last):
        last = first.copy()
        least = np.minimum(first[one], first[other])
        np.minimum.at(first, one, least)
        np.minimum.at(first, other, least)
    vertices = present // several
    groups = np.flatnonzero(first == np.arange(len(present)))
    new = groups[np.diff(vertices[groups], prepend=-1) == 0]
    numbers = vertices.copy()
    numbers[new] = len(marked) + np.arange(len(new))
    walls = np.stack([quads, quads])
    walls[:, face, corner] = numbers[first].take(at)
    return _Walls(walls[0], walls[1], vertices[new])


def _facing(axes: npt.NDArray[np.int8], before: IndexArray, behind: IndexArray, count: int) -> IndexArray:
    """See :attr:`Net.facing <DeepSegLogic.surfaces.surface_net.Net.facing>`.

    Args:
        count: number of the vertices.
    """
    apart = before != behind
    axis = np.broadcast_to(axes[:, None], before.shape)[apart].astype(np.int64)
    codes, higher = np.divmod(np.unique((axis * count + before[apart]) * count + behind[apart]), count)
    return np.stack([*np.divmod(codes, count), higher])
