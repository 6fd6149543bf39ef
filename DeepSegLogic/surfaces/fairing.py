"""Fairing: smoothing of the net that keeps the volume of every structure, and stays close to its voxels.

The surface of voxels is a staircase. Its steps are long where a slope is flat, but no point lies farther than half a
voxel from the slope along each axis. So the smoothest surface within this box is searched for: that of least energy
Σ |L x|², where L is the Laplacian of the net and x are the vertices. This thin-plate energy measures how much a surface
bends, while the energy Σ |∇x|² measures its area and shrinks it (Lempitsky, Surface extraction from binary volumes with
higher-order smoothness, CVPR 2010, who minimizes it for implicit surfaces).

Edges of the net count the same along all axes. Weights for their lengths in mm make thick slices much rougher.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray, PointsIjk
from ..util.openmp import usable_cores
from .surface import IndexArray
from .surface_net import Net
from .volume_preservation import with_volumes_restored

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LIMIT = 0.49  # voxels that a vertex may move along each axis: the sides of a plate of one voxel never meet
_SHORT = 6.0  # voxels: the longest wave that thin parts and sharp edges lose
_EDGE = 0.35  # voxels by which removing longer waves, too, moves a vertex at a sharp edge
_SLACK = 0.03  # voxels from where the removal of short waves leaves a vertex of a thin part or sharp edge
_RINGS = 5  # of neighbours around thin parts and sharp edges, where long waves are not removed at the start
_MOMENTUM = np.float32(0.9)
_PIECE = 16384  # faces per step, so that they stay in the processor's cache
_TIE = 0.01  # voxels²: diagonals of a face that differ by less count as equally long


class _Effort(NamedTuple):
    """How much is smoothed along an axis.

    Attributes:
        wave: shorter ones are removed before the first step, in voxels.
        steps: number of steps towards the least energy.
        stretch: how much longer the waves are than along the finest axis.
    """

    wave: float
    steps: int
    stretch: float = 1.0

    def along(self, spacing: float, finest: float) -> _Effort:
        """From that for voxels of 1 mm. The steps of an axis' staircase are as many voxels long as the axis is coarser
        than the finest one; and the finer voxels are, the more of them a shape has."""
        ratio, coarseness = spacing / finest, finest**0.2
        stretch = ratio**0.4
        return _Effort(self.wave * stretch / coarseness, round(self.steps * ratio / coarseness), stretch)


SMOOTHING: dict[str, _Effort | None] = {
    "none": None,
    "light": _Effort(4, 0),
    "standard": _Effort(15, 20),
    "strong": _Effort(20, 60),
}
"""Names of smoothings, from none to the strongest."""

Coordinates: TypeAlias = npt.NDArray[np.float32]
"""Coordinates of the vertices along one axis, or their moves, in voxels (V,)."""


def fair(net: Net, smoothing: str, spacing: FloatArray) -> PointsIjk:
    """Smooth a net, and split its faces along the shorter diagonals (``net`` is changed).

    The energy and the box have no terms in which axes mix, so each axis is a problem of its own, whatever the spacing.
    It is solved by accelerated projected gradients (Nesterov 1983; Beck and Teboulle, A fast iterative
    shrinkage-thresholding algorithm, SIAM J. Imaging Sciences 2009), which start at the vertices after a low-pass
    filter. Finally the volume of each structure is restored to that of its voxels
    (:mod:`~DeepSegLogic.surfaces.volume_preservation`), in the same box.

    Args:
        smoothing: a key of :data:`SMOOTHING`.
        spacing: (3,) of the voxels along (I, J, K), in mm.

    Returns:
        (V, 3) (I, J, K) indices of the net's vertices.
    """
    effort = SMOOTHING[smoothing]
    if effort is None or len(net.quads) == 0:
        return net.vertices
    mean, order = _mean_of_neighbours(net)
    thin = net.thin[::-1].take(order, 1)
    start = (net.vertices - net.vertices.mean(0)).astype(np.float32).T  # precise enough for less than a voxel
    moves = np.empty_like(start, order="C")
    efforts = [effort.along(along, spacing.min()) for along in spacing]
    with ThreadPoolExecutor(min(3, usable_cores())) as pool:
        for axis, found in enumerate(pool.map(partial(_smoothed, mean), start.take(order, 1), thin, efforts)):
            moves[axis, order] = found
    _split_along_shorter_diagonals(net, start + moves)
    return np.asarray(net.vertices + with_volumes_restored(net, moves, LIMIT).T)


def _mean_of_neighbours(net: Net) -> tuple[csr_matrix, IndexArray]:
    """Sparse matrix (V, V), and the order of vertices in it: by their number of neighbours, as rows of the same length
    are multiplied in half the time.

    On a line where three structures meet, only neighbours on that line count: it is smoothed as a curve, and does not
    drag the surfaces that end there.
    """
    from scipy.sparse import csr_matrix

    count = len(net.vertices)
    back, meeting_back = np.full_like(net.ahead, -1), np.zeros_like(net.meeting)
    for axis in range(3):
        start = np.flatnonzero(net.meeting[axis])
        end = net.ahead[axis].take(start).astype(np.intp)  # much faster to index with than int32
        back[axis, end], meeting_back[axis, end] = start, net.meeting[axis].take(start)
    meeting = np.concatenate([meeting_back, net.meeting])
    on_line = (meeting > 2).any(0)
    counted = meeting > np.where(on_line, np.uint8(2), np.uint8(0))
    counts = counted.sum(0, dtype=np.uint8)
    order = np.argsort(counts, kind="stable")
    counts = counts.take(order).astype(np.int32)
    rank = np.empty(count, np.int32)
    rank[order] = np.arange(count, dtype=np.int32)
    neighbours = np.concatenate([back, net.ahead]).take(order, 1)
    columns = rank.take(np.compress(counted.take(order, 1).T.ravel(), neighbours.T.ravel()))
    weights = np.repeat((1 / counts).astype(np.float32), counts)
    return csr_matrix((weights, columns, np.insert(np.cumsum(counts, dtype=np.int32), 0, 0)), (count, count)), order


def _smoothed(mean: csr_matrix, start: Coordinates, thin: MaskArray, effort: _Effort) -> Coordinates:
    """Moves along one axis.

    Without forces that keep them up, thin parts and sharp edges would collapse as far as the box lets them, and what
    they lose would make other parts thicker. So they lose short waves only.
    """
    short = min(_SHORT, effort.wave)
    held, stretched, moves = _low_pass(mean, start, (short, short * effort.stretch, effort.wave))
    # Along a coarse axis, the steps of the staircase differ as much as edges do.
    held_there = thin | (np.abs(moves - stretched) > _EDGE * effort.stretch**2.5)
    held = np.where(thin, held, stretched)[held_there] - start[held_there]
    low, high = np.full_like(start, -LIMIT), np.full_like(start, LIMIT)
    low[held_there] = np.clip(held - np.float32(_SLACK), -LIMIT, LIMIT)
    high[held_there] = np.clip(held + np.float32(_SLACK), -LIMIT, LIMIT)
    around = held_there.astype(np.float32)
    for _ in range(_RINGS):
        around = mean @ around
    moves = np.where(around > 0, stretched, moves) - start
    np.clip(moves, low, high, out=moves)
    bend, ahead = start - mean @ start, moves
    for _ in range(effort.steps):
        # The eigenvalues of L = 1 - mean lie between 0 and 2, so a quarter of the gradient L²(start + ahead) is safe.
        force = mean @ ahead
        force -= ahead
        force -= bend  # now -L(start + ahead)
        after = mean @ force
        after -= force
        after *= np.float32(-0.25)
        after += ahead
        np.clip(after, low, high, out=after)
        ahead = np.subtract(after, moves, out=force)
        ahead *= _MOMENTUM
        ahead += after
        moves = after
    return moves


def _low_pass(mean: csr_matrix, values: Coordinates, waves: Sequence[float]) -> list[Coordinates]:
    """Values without waves shorter than a number of voxels, once for each such number.

    The step function of the eigenvalues of the Laplacian is approximated by Chebyshev polynomials with a Hamming window
    (windowed sinc; Taubin, Zhang and Golub, Optimal surface smoothing as filter design, ECCV 1996).
    """
    filters = [_weights(wave) for wave in waves]
    before, last = values, mean @ values
    results = [weights[0] * before + weights[1] * last for weights in filters]
    for order in range(2, max(map(len, filters))):
        term = mean @ last
        term *= np.float32(2)
        term -= before
        for result, weights in zip(results, filters, strict=True):
            if order < len(weights):
                result += weights[order] * term
        before, last = last, term
    return results


def _weights(wave: float) -> Coordinates:
    """Of the Chebyshev polynomials from order 0 on."""
    degree = math.ceil(1.5 * wave)
    band = (1 - math.cos(2 * math.pi / wave)) / 2  # of a wave along one of the two directions on a surface
    orders, edge = np.arange(1, degree + 1), np.arccos(1 - band)
    weights = np.concatenate([[edge / np.pi], 2 * np.sin(orders * edge) / (orders * np.pi)])
    weights *= 0.54 + 0.46 * np.cos(np.arange(degree + 1) * np.pi / (degree + 1))
    return np.asarray(weights / weights.sum(), np.float32)


def _split_along_shorter_diagonals(net: Net, places: npt.NDArray[np.float32]) -> None:
    """Let the faces begin at an end of their shorter diagonal, along which they are split: it bends less.

    Args:
        places: (3, V) of the vertices, in voxels.
    """
    for at in range(0, len(net.quads), _PIECE):
        a, b, c, d = places.take(net.quads[at : at + _PIECE].T, 1).swapaxes(0, 1)
        turned = at + np.flatnonzero(((b - d) ** 2).sum(0) + _TIE < ((a - c) ** 2).sum(0))
        for corners, axis in ((net.quads, 1), (net.sheets, 2), (net.nonmanifold, 1)):
            corners[turned] = np.roll(corners[turned], 1, axis)
