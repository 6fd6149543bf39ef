"""Smoothing of the net that keeps every structure's volume and never leaves its voxels' neighbourhood."""

from __future__ import annotations

import numpy as np

from .net import Net

LIMIT = 0.49  # voxels that a vertex may move along each axis: two sides of a plate one voxel thick never meet
SMOOTHING = {
    "none": (),
    "light": ((0.5, 10),),
    "standard": ((0.3, 12), (0.3, 12)),
    "strong": ((0.1, 20), (0.3, 12), (0.3, 12)),
}
"""By name the low-pass filters that are applied one after the other: pass band (0 to 2) and degree."""

_VOLUME_STEPS = 25
_LARGEST_STEP = 0.1  # voxels: what has nearly vanished has a gradient that promises too much
_VOLUME_TOLERANCE = 5e-4  # relative
_PIECE = 16384  # faces


def fair(net: Net, smoothing: str) -> np.ndarray:
    """Positions of the net's vertices after smoothing, (V, 3) (I, J, K) indices.

    Low-pass filters take away the stairs of voxels, however thick the slices are, and leave broad shapes as they
    are (windowed sinc; Taubin, Zhang and Golub, Optimal surface smoothing as filter design, ECCV 1996). No vertex
    leaves a box of ±``LIMIT`` voxels (Gibson 1998), so that what is thin stays; where the box cut a filter short, the
    next, milder one rounds off the bend. What volume a structure has still lost or won is made up for: all are
    moved to the volume of their voxels, each along its own gradient of volume, in the same box.

    Args:
        smoothing: a key of :data:`SMOOTHING`.
    """
    if not SMOOTHING[smoothing] or len(net.quads) == 0:
        return net.vertices
    return _with_volumes_restored(net, _smoothed(net, SMOOTHING[smoothing]))


def _smoothed(net: Net, filters) -> np.ndarray:
    mean = _mean_of_neighbours(net)
    start = (net.vertices - net.vertices.mean(0)).astype(np.float32)  # suffices for what is less than a voxel
    moves = np.zeros_like(start)
    for band, degree in filters:
        moves = np.clip(_filtered(mean, start + moves, band, degree) - start, -LIMIT, LIMIT)
    return net.vertices + moves


def _mean_of_neighbours(net: Net):
    """Sparse matrix (V, V). On a line where three structures meet only neighbours on that line count, so that it
    is smoothed as the curve it is, and does not drag the surfaces that end there."""
    from scipy.sparse import coo_matrix

    count = len(net.vertices)
    rows, columns = np.concatenate([net.edges, net.edges[:, ::-1]]).T
    junctions = np.concatenate([net.junctions, net.junctions])
    on_line = np.zeros(count, bool)
    on_line[rows[junctions]] = True
    counted = junctions | ~on_line[rows]
    rows, columns = rows[counted], columns[counted]
    weights = (1 / np.bincount(rows, minlength=count))[rows]
    return coo_matrix((weights.astype(np.float32), (rows, columns)), (count, count)).tocsr()


def _filtered(mean, points: np.ndarray, band: float, degree: int) -> np.ndarray:
    """Points without frequencies above the pass band: eigenvalues of I - ``mean``, which lie between 0 and 2.

    The step function at ``band`` as a sum of Chebyshev polynomials, under a Hamming window.
    """
    orders, edge = np.arange(1, degree + 1), np.arccos(1 - band / 2)
    weights = np.concatenate([[edge / np.pi], 2 * np.sin(orders * edge) / (orders * np.pi)])
    weights *= 0.54 + 0.46 * np.cos(np.arange(degree + 1) * np.pi / (degree + 1))
    weights = (weights / weights.sum()).astype(np.float32)
    before, last = points, (mean @ points + points) * np.float32(0.5)
    result = weights[0] * before + weights[1] * last
    for weight in weights[2:]:
        before, last = last, mean @ last + last - before
        result += weight * last
    return result


def _with_volumes_restored(net: Net, positions: np.ndarray) -> np.ndarray:
    """Move vertices along the gradients of the volumes until each label has that of its voxels again.

    All labels move at once. How far a label goes for what it lacks is learnt from what its last step brought:
    neighbours share vertices, and the box holds some back.
    """
    shape = _Shape(net)
    middle = net.vertices.mean(0)  # sums keep their digits from a point amid the net
    start = (net.vertices - middle).T.copy()
    places = (positions - middle).T.copy()
    target, found = shape.volumes(start), shape.volumes(places)
    squared = shape.squared_gradients(places)
    gain = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0)
    for _ in range(_VOLUME_STEPS):
        missing = np.where(target > 0, target - found, 0.0)
        missing[0] = 0.0  # the background takes what is left
        if (np.abs(missing) <= _VOLUME_TOLERANCE * np.maximum(target, 1)).all():
            break
        move = shape.move(places, missing * gain)
        np.clip(move, -_LARGEST_STEP, _LARGEST_STEP, out=move)
        move += places
        move -= start
        np.clip(move, -LIMIT, LIMIT, out=move)
        places = np.add(move, start, out=move)
        before, found = found, shape.volumes(places)
        brought = np.divide(found - before, missing, out=np.ones_like(missing), where=missing != 0)
        gain /= np.clip(brought, 0.5, 2.0)
    return np.ascontiguousarray(places.T) + middle


class _Shape:
    """Volumes of the labels inside a net, in voxels, and their gradients, as its vertices move.

    A face counts as two triangles, split along the diagonal from corner 0 to corner 2. Places are (3, V). Faces
    are worked off in pieces that fit into the processor's cache.
    """

    def __init__(self, net: Net):
        self._count = int(max(net.low.max(), net.high.max())) + 1
        self._pieces = []
        for begin in range(0, len(net.quads), _PIECE):
            part = slice(begin, begin + _PIECE)
            corners = net.quads[part].T.astype(np.intp)  # numpy gathers fastest by its own index type
            span = slice(int(corners.min()), int(corners.max()) + 1)
            self._pieces.append((span, corners - span.start, net.low[part], net.high[part]))

    def volumes(self, places: np.ndarray) -> np.ndarray:
        """By label."""
        total = np.zeros(self._count)
        for span, corners, low, high in self._pieces:
            a, b, c, d = places[:, span].take(corners, 1).swapaxes(0, 1)
            b -= d
            share = (a * _cross(b, c)).sum(0) / 6
            total += np.bincount(low, share, self._count) - np.bincount(high, share, self._count)
        return total

    def squared_gradients(self, places: np.ndarray) -> np.ndarray:
        """By label about the squared length of its volume's gradient, as if the faces at a vertex lay in a plane."""
        total = np.zeros(self._count)
        for span, corners, low, high in self._pieces:
            a, b, c, d = places[:, span].take(corners, 1).swapaxes(0, 1)
            squared = (_cross(c - a, d - b) ** 2).sum(0) / 4
            total += np.bincount(low, squared, self._count) + np.bincount(high, squared, self._count)
        return total

    def move(self, places: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(3, V) the sum over labels of step times gradient."""
        moves = np.zeros_like(places)
        for span, corners, low, high in self._pieces:
            factor = (step[low] - step[high]) / 6
            if not factor.any():
                continue
            a, b, c, d = places[:, span].take(corners, 1).swapaxes(0, 1)
            b -= d
            b *= factor
            across = _cross(c, a) * factor
            parts = np.concatenate([_cross(b, c), across, _cross(a, b), -across], 1)
            flat, length = corners.ravel(), span.stop - span.start
            for axis in range(3):
                moves[axis, span] += np.bincount(flat, parts[axis], length)
        return moves


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of (3, N) columns; several times faster than numpy's general one."""
    result = np.empty_like(a)
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        np.multiply(a[u], b[v], out=result[axis])
        result[axis] -= a[v] * b[u]
    return result
