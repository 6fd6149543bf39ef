"""Fairing: smoothing of the net that keeps the volume of every connected piece, and stays close to its voxels.

The surface of voxels is a staircase. Its steps are long where a slope is flat, but no point lies farther than half a
voxel from the slope along each axis. So the smoothest surface within this box is searched for: that of least energy
Σ |L x|², where L is the Laplacian of the net and x are the vertices. This thin-plate energy measures how much a surface
bends, while the energy Σ |∇x|² measures its area and shrinks it (Lempitsky, Surface extraction from binary volumes with
higher-order smoothness, CVPR 2010, who minimizes it for implicit surfaces).

Edges of the net count the same along all axes. Weights for their lengths in mm make thick slices much rougher.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..data.types import FloatArray, MaskArray, PointsIjk
from ..util.openmp import usable_cores
from .bending import MOMENTUM, bend_less
from .diagonals import choose_diagonals
from .narrow_contacts import Coordinates, facing_along, keep_order
from .surface import PIECE, IndexArray
from .surface_net import Columns, Net, Places
from .volume_preservation import restore_volumes

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LIMIT = 0.49  # voxels that a vertex may move along each axis: the sides of a plate of one voxel never meet
_SHORT = 6  # degree of the filter for thin parts and sharp edges: they lose waves of few voxels only
_HIGHEST = 200  # degree of a filter
_EDGE = 0.35  # voxels by which removing longer waves, too, moves a vertex at a sharp edge
_SLACK = 0.03  # voxels from where the removal of short waves leaves a vertex of a thin part or sharp edge
_RINGS = 6  # of neighbours around thin parts and sharp edges, where long waves are not removed at the start
_THICK = 1.25  # times as thick as voxels are wide, from where slices leave pleats
_ROOM = np.float32(0.45)  # voxels that such steps may move a vertex; in the whole box, more triangles would cross
_FINEST, _FINE = 0.7, 1.0  # mm, between which finer voxels get more steps
_ALONG = np.float32(10)  # as many neighbours does one count on a line where three structures meet


class _Effort(NamedTuple):
    """How much is smoothed along an axis.

    Attributes:
        degree: of the filter before the first step; the higher, the longer the waves that it removes.
        steps: number of steps towards the least energy.
        stretch: how much longer the waves are than along the finest axis.
    """

    degree: int
    steps: int
    stretch: float = 1.0

    def along(self, spacing: float, finest: float) -> _Effort:
        """From that for voxels of 1 mm. The steps of an axis' staircase are longer in voxels, the coarser the axis is
        than the finest one; and the finer voxels are, the more of them a shape has."""
        ratio = spacing / finest
        stretch = ratio**0.4
        degree = round(self.degree * stretch / finest**0.2)
        steps = round(self.steps * stretch**2 / min(max(finest, _FINEST), _FINE) ** 3)
        return _Effort(min(max(degree, 1), _HIGHEST), steps, stretch)


SMOOTHING: dict[str, _Effort | None] = {
    "none": None,
    "light": _Effort(4, 0),
    "standard": _Effort(14, 8),
    "strong": _Effort(18, 30),
}
"""Names of smoothings, from none to the strongest."""


def fair(net: Net, smoothing: str, spacing: FloatArray, corners: Places) -> PointsIjk:
    """Smooth a net, and choose the diagonals along which its faces are split (``net`` is changed).

    The energy and the box have no terms in which axes mix, so each axis is a problem of its own, whatever the spacing.
    It starts at the vertices after a low-pass filter, and takes steps towards the least energy. If slices are thick,
    steps towards the least bending in mm follow (:mod:`~DeepSegLogic.surfaces.bending`). Finally each connected piece
    gets back the volume of its voxels (:mod:`~DeepSegLogic.surfaces.volume_preservation`), in the same box.

    Args:
        smoothing: a key of :data:`SMOOTHING`.
        spacing: (3,) of the voxels along (I, J, K), in mm.
        corners: (V, 3) (I, J, K) indices where the net's vertices start: its own, but at a border that cuts voxels.

    Returns:
        (V, 3) (I, J, K) indices of the net's vertices.
    """
    effort = SMOOTHING[smoothing]
    if effort is None or len(net.quads) == 0:
        return corners.astype(np.float64)
    start = np.empty(corners.T.shape, np.float32)
    for along, places in zip(start, corners.T, strict=True):
        middle = places.mean(dtype=np.float64)  # near the origin, 32 bits are precise enough
        np.subtract(places, middle, out=along, dtype=np.float64, casting="same_kind")
    moves, bends = _smoothed(net, start, [effort.along(along, spacing.min()) for along in spacing])
    choose_diagonals(net, start + moves, bends)
    del bends
    if effort.steps and has_thick_slices(spacing):
        moves = _without_pleats(net, start, moves, spacing)
    restore_volumes(net, start, moves, LIMIT)
    return np.add(corners, moves.T, dtype=np.float64)


def has_thick_slices(spacing: FloatArray) -> bool:
    """Whether voxels of this spacing are so much thicker than wide that surfaces are bent in mm."""
    return bool(spacing.max() > _THICK * spacing.min())


def _smoothed(net: Net, start: Columns, efforts: Sequence[_Effort]) -> tuple[Columns, Columns]:
    """Moves of the vertices, and how far they then lie from the means of their neighbours, both (3, V) in voxels."""
    means, order = _means_of_neighbours(net)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    facing = [rank.take(walls) for walls in facing_along(net)]
    del rank
    moves, bends = np.empty_like(start), np.empty_like(start)
    with ThreadPoolExecutor(min(3, usable_cores())) as pool:
        along_axes = pool.map(partial(_smoothed_along, means, order), start, net.thin[::-1], facing, efforts)
        for axis, smoothed in enumerate(along_axes):
            moves[axis], bends[axis] = smoothed
    return moves, bends


def _without_pleats(net: Net, start: Columns, moves: Columns, spacing: FloatArray) -> Columns:
    """Moves of the vertices after steps towards the least bending in mm. Lines where three structures meet stay, and so
    do thin parts along the axis where they are thin."""
    lengths = (spacing / spacing.min()).astype(np.float32)[:, None]  # only their ratios count
    places = start + moves
    stay = net.thin[::-1] | (net.meeting > 2).any(0)
    low = np.where(stay, places, np.minimum(places, start - _ROOM))
    high = np.where(stay, places, np.maximum(places, start + _ROOM))
    for along, walls, least, most in zip(places, facing_along(net), low, high, strict=True):
        keep_order(along, walls, least, most)
    bent: Columns = bend_less(net.quads, places * lengths, low * lengths, high * lengths) / lengths
    return bent - start


class _Means(NamedTuple):
    """Sparse matrices with the means of neighbours. The corners of voxels are coloured like a chess board; the
    neighbours of one colour have the other.

    Attributes:
        all: (V, V) of all vertices, those of the first colour first.
        first, second: (N, V) its rows for one colour each.
    """

    all: csr_matrix
    first: csr_matrix
    second: csr_matrix


def _means_of_neighbours(net: Net) -> tuple[_Means, IndexArray]:
    """The matrices, and the order of vertices in them: by colour, place and number of neighbours, as rows of the same
    length are multiplied in half the time.

    On a line where three structures meet, neighbours on that line count more than others: it is smoothed as a curve,
    follows the surfaces that end there a little, and hardly drags them.
    """
    from scipy.sparse import csr_matrix

    count = len(net.vertices)
    back, meeting_back = np.full_like(net.ahead, -1), np.zeros_like(net.meeting)
    for axis in range(3):
        start = np.flatnonzero(net.meeting[axis])
        end = net.ahead[axis].take(start).astype(np.intp)  # much faster to index with than int32, or with two indices
        back[axis][end], meeting_back[axis][end] = start, net.meeting[axis].take(start)
    axis, start, end, faces = net.doubles
    back[axis, end], meeting_back[axis, end] = start, faces
    meeting = np.concatenate([meeting_back, net.meeting])
    counts = (meeting > 0).sum(0, dtype=np.uint8)
    i, j, k = net.vertices.T
    second = (i + j + k - 1.5).astype(np.int32) & 1
    pieces = min(count // PIECE + 1, 4096)
    piece = np.arange(count) // (count // pieces + 1) + second * pieces
    order = np.argsort((piece * 8 + counts).astype(np.uint16), kind="stable")  # fast for 16 bits
    counts = counts.take(order).astype(np.int32)
    rank = np.empty(count, np.int32)
    rank[order] = np.arange(count, dtype=np.int32)
    weights = np.repeat((1 / counts).astype(np.float32), counts)
    rows = np.insert(np.cumsum(counts, dtype=np.int32), 0, 0)
    columns = np.empty(len(weights), np.int32)
    for at in range(0, count, PIECE):
        here = order[at : at + PIECE]
        neighbours = np.concatenate([back.take(here, 1), net.ahead.take(here, 1)]).T.ravel()
        found = neighbours.take(np.flatnonzero(neighbours >= 0))
        rank.take(found, out=columns[rows[at] : rows[at + len(here)]], mode="clip")  # checks would copy the result
    on_line = np.flatnonzero((meeting > 2).any(0).take(order))
    there = meeting.take(order[on_line], 1).T
    shares = np.where(there > 2, _ALONG, np.float32(1)) * (there > 0)
    entries = rows[on_line, None] + np.cumsum(there > 0, 1) - 1
    weights[entries[there > 0]] = (shares / shares.sum(1, keepdims=True))[there > 0]
    split = count - int(second.sum())
    parts = (0, count), (0, split), (split, count)
    return _Means(
        *(
            csr_matrix(
                (weights[rows[a] : rows[b]], columns[rows[a] : rows[b]], rows[a : b + 1] - rows[a]), (b - a, count)
            )
            for a, b in parts
        )
    ), order


def _smoothed_along(
    means: _Means, order: IndexArray, start: Coordinates, thin: MaskArray, facing: IndexArray, effort: _Effort
) -> tuple[Coordinates, Coordinates]:
    """Moves along one axis, and how far the vertices then lie from the means of their neighbours.

    Args:
        order: of the vertices in the matrices.
        facing: (2, N) walls that face each other along this axis, in this order.
    """
    start = start.take(order)
    places, low, high = _filtered_within(means, start, thin.take(order), effort)
    keep_order(places, facing, low, high)
    places = _bend_less(means, _within(places, low, high), low, high, effort.steps)
    moves, bends = np.empty_like(start), np.empty_like(start)
    moves[order], bends[order] = places - start, places - means.all @ places
    return moves, bends


def _filtered_within(
    means: _Means, start: Coordinates, thin: MaskArray, effort: _Effort
) -> tuple[Coordinates, Coordinates, Coordinates]:
    """Places along one axis without short waves, and the limits of the box, within which they lie.

    Without forces that keep them up, thin parts and sharp edges would collapse as far as the box lets them, and what
    they lose would make other parts thicker. So they lose short waves only.
    """
    short = min(_SHORT, effort.degree)
    held, stretched, places = _filtered(means.all, start, (short, round(short * effort.stretch), effort.degree))
    # Along a coarse axis, the steps of the staircase differ as much as edges do.
    held_there = thin | (np.abs(places - stretched) > _EDGE * effort.stretch**2.5)
    low, high = start - np.float32(LIMIT), start + np.float32(LIMIT)
    at = np.flatnonzero(held_there)
    least, most = low.take(at), high.take(at)
    held = _within(np.where(thin, held, stretched).take(at), least, most)
    low[at] = np.maximum(held - np.float32(_SLACK), least)
    high[at] = np.minimum(held + np.float32(_SLACK), most)
    return _within(np.where(_around(means, held_there), stretched, places), low, high), low, high


def _within(values: Coordinates, low: Coordinates, high: Coordinates) -> Coordinates:
    """Values (changed) within limits: as ``np.clip``, in a quarter of its time."""
    return np.minimum(np.maximum(values, low, out=values), high, out=values)


def _around(means: _Means, marked: MaskArray) -> MaskArray:
    """The vertices within a number of rings of neighbours around marked ones."""
    near = marked.astype(np.float32)
    split = means.first.shape[0]
    near[:split] += means.first @ near
    for _ in range(_RINGS // 2):
        near[split:] += means.second @ near
        near[:split] += means.first @ near
    return np.asarray(near > 0)


def _bend_less(means: _Means, places: Coordinates, low: Coordinates, high: Coordinates, steps: int) -> Coordinates:
    """Places of vertices nearer to the least energy, within their box.

    If only the vertices of one colour move, x, the energy is |x - M y|² + |y - M x|², where M are the means of
    neighbours and y the others. The eigenvalues of its Hessian lie between 1 and 2, so steps of half the gradient go
    nearly all the way. The colours take turns, with momentum.
    """
    split = means.first.shape[0]
    first, second = slice(0, split), slice(split, None)
    turns = (first, second, means.first, means.second), (second, first, means.second, means.first)
    before, pull = places.copy(), np.empty_like(places)
    for _ in range(steps):
        ahead = np.subtract(places, before, out=before)
        ahead *= MOMENTUM
        ahead += places
        before = places
        for mine, others, mean_of_others, mean_of_mine in turns:
            np.subtract(ahead[others], mean_of_mine @ ahead, out=pull[others])
            pull[others] += ahead[others]
            after = mean_of_others @ pull
            after += ahead[mine]
            after *= np.float32(0.5)
            ahead[mine] = _within(after, low[mine], high[mine])
        places = ahead
    return places


def _filtered(mean: csr_matrix, values: Coordinates, degrees: Sequence[int]) -> list[Coordinates]:
    """Values without short waves, once for each degree of a polynomial in the Laplacian of the net.

    The polynomials are sums of Chebyshev's, as in Taubin, Zhang and Golub, Optimal surface smoothing as filter design,
    ECCV 1996.
    """
    filters = {degree: _weights(degree) for degree in degrees}
    before, last = values, mean @ values
    results = {degree: weights[0] * before + weights[1] * last for degree, weights in filters.items()}
    for order in range(2, max(degrees) + 1):
        term = mean @ last
        for at in range(0, len(term), PIECE):
            piece = slice(at, at + PIECE)
            part = term[piece]
            part *= np.float32(2)
            part -= before[piece]
            for degree, weights in filters.items():
                if order <= degree:
                    results[degree][piece] += weights[order] * part
        before, last = last, term
    return [results[degree] for degree in degrees]


@lru_cache(maxsize=64)
def _weights(degree: int) -> Coordinates:
    """Of the Chebyshev polynomials from order 0 on. Lines and parabolas stay as they are, and of all waves as little as
    possible is left, in the mean of squares; the shorter a wave, the more it counts."""
    angles, orders = (np.arange(400) + 0.5) * np.pi / 400, np.arange(degree + 1)
    terms = np.cos(np.outer(angles, orders)) * angles[:, None]
    kept = np.stack([np.ones(degree + 1), orders**2.0])  # value and second derivative at the longest wave
    weights = np.linalg.solve(terms.T @ terms, kept.T)
    return np.asarray(weights @ np.linalg.solve(kept @ weights, [1, 0]), np.float32)
