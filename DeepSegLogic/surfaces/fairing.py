"""Smoothing of the net that keeps every structure's volume and never leaves its voxels' neighbourhood."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from .net import Net
from .volumes import with_volumes_restored

LIMIT = 0.49  # voxels that a vertex may move along each axis: two sides of a plate one voxel thick never meet
SMOOTHING = {
    "none": (),
    "light": ((0.5, 10),),
    "standard": ((0.2, 16),),
    "strong": ((0.1, 20), (0.3, 12), (0.3, 12)),
}
"""By name the low-pass filters that are applied one after the other: pass band (0 to 2) and degree."""

_THREADS = min(4, os.cpu_count() or 1)


def fair(net: Net, smoothing: str) -> np.ndarray:
    """Positions of the net's vertices after smoothing, (V, 3) (I, J, K) indices.

    Low-pass filters take away the stairs of voxels, however thick the slices are, and leave broad shapes as they
    are (windowed sinc; Taubin, Zhang and Golub, Optimal surface smoothing as filter design, ECCV 1996). No vertex
    leaves a box of ±``LIMIT`` voxels (Gibson 1998), so that what is thin stays; where the box cut a strong filter
    short, the next, milder one rounds off the bend. What volume a structure has still lost or won is made up for:
    all are moved to the volume of their voxels, each along its own gradient of volume, in the same box.

    Args:
        smoothing: a key of :data:`SMOOTHING`.
    """
    if not SMOOTHING[smoothing] or len(net.quads) == 0:
        return net.vertices
    return net.vertices + with_volumes_restored(net, _smoothed(net, SMOOTHING[smoothing]), LIMIT).T


def _smoothed(net: Net, filters) -> np.ndarray:
    """Moves (3, V) of the vertices."""
    mean = _mean_of_neighbours(net)
    rows = range(0, len(net.vertices), -(-len(net.vertices) // _THREADS))
    blocks = [(slice(row, row + rows.step), mean[row : row + rows.step]) for row in rows]
    start = (net.vertices - net.vertices.mean(0)).astype(np.float32)  # suffices for what is less than a voxel
    moves = np.zeros_like(start)
    for band, degree in filters:
        moves = np.clip(_filtered(blocks, start + moves, band, degree) - start, -LIMIT, LIMIT)
    return moves.T


def _mean_of_neighbours(net: Net):
    """Sparse matrix (V, V). On a line where three structures meet only neighbours on that line count, so that it
    is smoothed as the curve it is, and does not drag the surfaces that end there."""
    from scipy.sparse import csr_matrix

    count = len(net.vertices)
    back, meeting_back = np.full_like(net.ahead, -1), np.zeros_like(net.meeting)
    for axis in range(3):
        start = np.flatnonzero(net.meeting[axis])
        end = net.ahead[axis].take(start).astype(np.intp)  # much faster to write by
        back[axis, end], meeting_back[axis, end] = start, net.meeting[axis].take(start)
    neighbours = np.concatenate([back, net.ahead[::-1]])  # six of each vertex, in ascending order
    meeting = np.concatenate([meeting_back, net.meeting[::-1]])
    on_line = (meeting > 2).any(0)
    counted = meeting > np.where(on_line, np.uint8(2), np.uint8(0))
    counts = counted.sum(0, dtype=np.int32)
    columns = np.compress(counted.T.ravel(), neighbours.T.ravel())
    weights = np.repeat((1 / counts).astype(np.float32), counts)
    return csr_matrix((weights, columns, np.insert(np.cumsum(counts, dtype=np.int32), 0, 0)), (count, count))


def _filtered(blocks: list, points: np.ndarray, band: float, degree: int) -> np.ndarray:
    """Points without frequencies above the pass band: eigenvalues of I - mean, which lie between 0 and 2.

    The step function at ``band`` as a sum of Chebyshev polynomials, under a Hamming window.

    Args:
        blocks: rows of the mean and their numbers; a thread works on each.
    """
    orders, edge = np.arange(1, degree + 1), np.arccos(1 - band / 2)
    weights = np.concatenate([[edge / np.pi], 2 * np.sin(orders * edge) / (orders * np.pi)])
    weights *= 0.54 + 0.46 * np.cos(np.arange(degree + 1) * np.pi / (degree + 1))
    weights = (weights / weights.sum()).astype(np.float32)
    before, last = points, np.concatenate([mean @ points for _, mean in blocks])
    last = (last + points) * np.float32(0.5)
    result = weights[0] * before + weights[1] * last

    def advance(block, before, last, term, weight):
        rows, mean = block
        part = mean @ last
        part += last[rows]
        part -= before[rows]
        term[rows] = part
        part *= weight
        result[rows] += part

    with ThreadPoolExecutor(_THREADS) as pool:
        for weight in weights[2:]:
            term = np.empty_like(points)
            list(pool.map(partial(advance, before=before, last=last, term=term, weight=weight), blocks))
            before, last = last, term
    return result
