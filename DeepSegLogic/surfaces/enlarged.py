"""Label maps that were enlarged by nearest neighbour: found, and taken back to their coarse grid.

Many programs segment on a coarse grid, and repeat its slices until the result fits the CT. In the fine voxels, such a
staircase has steps of several voxels, which no vertex of a net can leave. On the coarse grid it is like any other.

Where slices repeat, they form blocks. Of an enlarged map, all blocks begin where those of a uniform grid do, rounded to
whole slices. Along each axis, slices either do so, or change one by one: a shape that is the same along a whole axis,
as a stair, and an enlarged map that someone corrected in fine voxels, are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.boxes import grown, whole
from ..data.types import Affine, FloatArray, Slices
from .surface import IndexArray, Labels
from .surface_net import Net, Places

_FEWEST = 8  # blocks along each axis, and slices along one of them that repeat another: fewer may be chance
_LEAST_RATIO = 1.24  # slices per block; a little less than that of 1.5 and 1.2 mm
_MOST_SINGLE = 4  # blocks of one slice in a row, of a grid with that ratio
_MERGED = 4  # of as many blocks, one may be as long as several: neighbours that happen to be equal, or background
_SCAN = 16  # slices that are looked at first; most maps need no more


class Blocks(NamedTuple):
    """How the slices of an axis form blocks.

    Attributes:
        starts: (N,) index of the first slice of each.
        lengths: (N,) number of its slices.
        edges: (N + 1,) where blocks begin and end, as indices of blocks, from -0.5 on; uniform, but for an outermost
            block that the volume's border cuts.
        size: slices per block.
        first: index of the slice where the middle of the first block lies, with a fraction.
        repeats: number of slices that repeat the one before them, without those that lie between structures.
    """

    starts: IndexArray
    lengths: IndexArray
    edges: FloatArray
    size: float
    first: float
    repeats: int = 0


def blocks_in(box: Slices, labels: Labels, others: Labels) -> list[Blocks] | None:
    """The blocks of slices along K, J and I, or None if nothing was enlarged.

    Args:
        box: of the labels.
        labels: (K, J, I), those wanted.
        others: with all other labels, too: where those wanted are too small to tell, these show the grid.
    """
    around = grown(box, 1, labels.shape)  # so that slices change where the labels begin and end
    found = _blocks_of(labels[around])
    if found is None and others is not labels:
        around = whole(others.shape)
        found = _blocks_of(others)
    if found is None or max(b.repeats for b in found) < _FEWEST:
        return None
    return [b._replace(starts=b.starts + s.start, first=b.first + s.start) for b, s in zip(found, around, strict=True)]


def _blocks_of(labels: Labels) -> list[Blocks] | None:
    """As above, but None if an axis has too few blocks to tell, too. Where it was not enlarged, each slice is one."""
    found = []
    for axis in range(3):
        changes, count = _changes(labels, axis), labels.shape[axis]
        blocks = _each(count) if changes is None else _on_grid(changes, count)
        if blocks is None:
            return None
        if changes is not None:
            labels = labels.take(blocks.starts, axis)
        found.append(blocks)
    return found


def coarse_matrix(blocks: Sequence[Blocks], ijk_to_ras: Affine) -> Affine:
    """The 4×4 matrix of the grid of blocks.

    Args:
        ijk_to_ras: of the slices.
    """
    to_slices = np.diag([*(b.size for b in blocks[::-1]), 1.0])
    to_slices[:3, 3] = [b.first for b in blocks[::-1]]
    return ijk_to_ras @ to_slices


def volumes(net: Net, blocks: Sequence[Blocks]) -> FloatArray:
    """Volume of each piece's voxels in slices, in those of blocks; as :attr:`Net.voxels <.surface_net.Net.voxels>`.

    By the divergence theorem, it is the sum over its faces across I of their area times their distance from a plane,
    positive where the piece ends and negative where it begins.

    Args:
        net: of the blocks, just built.
    """
    firsts, opposite = net.vertices.take(net.quads[:, 0], 0), net.vertices[:, 0].take(net.quads[:, 2])
    across = np.flatnonzero(firsts[:, 0] == opposite)
    i, j, k = (firsts.take(across, 0).T + 0.5).astype(np.intp)
    area = blocks[0].lengths.take(k) * blocks[1].lengths.take(j)
    volume = area * np.append(0, np.cumsum(blocks[2].lengths)).take(i)
    before, behind = (np.bincount(p.take(across), volume, len(net.voxels)) for p in net.pieces)
    found = (before - behind) / np.prod([b.size for b in blocks])
    found[0] = 0.0
    return np.asarray(found)


def cut_at_borders(vertices: Places, blocks: Sequence[Blocks]) -> Places:
    """A net's vertices (V, 3), moved to the border of the volume where that cuts a block."""
    columns = zip(vertices.T, blocks[::-1], strict=True)
    return np.stack([axis.edges.take((along + 0.5).astype(np.intp)) for along, axis in columns], 1).astype(np.float32)


def _changes(labels: Labels, axis: int) -> IndexArray | None:
    """The slices that differ from those before them; None if so many follow each other that nothing was enlarged."""
    slices = np.moveaxis(labels, axis, 0)
    changes, at, step = np.empty(0, np.intp), 1, _SCAN
    while at < len(slices):
        part = slices[at - 1 : at + step]
        changes = np.append(changes, np.flatnonzero((part[1:] != part[:-1]).any((1, 2))) + at)
        span = _MOST_SINGLE + 1
        if (changes[span:] - changes[:-span] == span).any():
            return None
        at, step = at + step, 2 * step
    return changes


def _on_grid(changes: IndexArray, count: int) -> Blocks | None:
    """The blocks of a uniform grid on which slices change, or None.

    Args:
        changes: the slices that differ from those before them.
        count: number of slices.
    """
    if len(changes) <= _FEWEST:
        return None
    gaps = np.diff(changes)
    single = gaps <= gaps.min() + 1
    steps = np.where(single, 1, np.rint(gaps / gaps[single].mean())).astype(np.intp)
    if single.sum() < _FEWEST or (~single).sum() * _MERGED > len(gaps):
        return None
    number = np.append(0, np.cumsum(steps))
    one, other = np.triu_indices(len(number), 1)
    apart, blocks = changes[other] - changes[one], number[other] - number[one]
    least, most = ((apart - 1) / blocks).max(), ((apart + 1) / blocks).min()
    size = (least + most) / 2
    if least > most or size < _LEAST_RATIO:
        return None
    off = changes - size * number
    origin = (off.min() + off.max()) / 2 - 0.5  # index where block 0 begins
    before = max(1, int(np.ceil(origin / size)))
    behind = max(1, int((count - 1 - origin) // size) + 1 - int(number[-1]))
    edges = origin + size * np.arange(-before, number[-1] + behind + 1)
    starts = np.ceil(edges[:-1]).astype(np.intp)
    starts[0], starts[number + before] = 0, changes
    first = float(edges[0] + size / 2)
    ends: FloatArray = (np.clip(edges, -0.5, count - 0.5) - first) / size
    repeats = int((gaps[single] - 1).sum())
    return Blocks(starts, np.diff(starts, append=count), ends, float(size), first, repeats)


def _each(count: int) -> Blocks:
    return Blocks(np.arange(count), np.ones(count, np.intp), np.arange(count + 1, dtype=np.float64) - 0.5, 1.0, 0.0)
