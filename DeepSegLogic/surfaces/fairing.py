"""Smoothing of the net that keeps every structure's volume and never leaves its voxels' neighbourhood."""

from __future__ import annotations

import numpy as np

from .net import Net

LIMIT = 0.45  # voxels that a vertex may move along each axis: two sides of a plate one voxel thick never meet
_PACE = (1.2, 0.55)  # of two steps; together as far as 3.5 steps of 0.5, and no frequency grows
_VOLUME_STEPS = 25
_LARGEST_STEP = 0.1  # voxels: what has nearly vanished has a gradient that promises too much
_VOLUME_TOLERANCE = 5e-4  # relative
_PIECE = 16384  # faces


def fair(net: Net, steps: int) -> np.ndarray:
    """Positions of the net's vertices after smoothing, (V, 3) (I, J, K) indices.

    Vertices relax towards the mean of their neighbours inside a box of ±``LIMIT`` voxels, which takes away the
    stairs of slices however thick they are (Gibson 1998). That shrinks what is thin or round. So all structures
    are then blown up again to the volume of their voxels, each along its own gradient of volume, in the same box.

    Args:
        steps: of the relaxation; 0 leaves the stairs as they are.
    """
    if steps == 0 or len(net.quads) == 0:
        return net.vertices
    return _with_volumes_restored(net, _relaxed(net, steps))


def _relaxed(net: Net, steps: int) -> np.ndarray:
    from scipy.sparse import coo_matrix

    count = len(net.vertices)
    rows, columns = np.concatenate([net.edges, net.edges[:, ::-1]]).T
    weights = (1 / np.bincount(rows, minlength=count))[rows]
    mean = coo_matrix((weights.astype(np.float32), (rows, columns)), (count, count)).tocsr()
    moved = np.zeros((count, 3), np.float32)  # single precision suffices for what is less than a voxel
    # The mean of the neighbours' places is the mean of their moves, and of where they were; constant.
    pull = (mean.astype(np.float64) @ net.vertices - net.vertices).astype(np.float32)
    for step in range(steps):
        moved += np.float32(_PACE[step % 2]) * (mean @ moved - moved + pull)
        np.clip(moved, -LIMIT, LIMIT, out=moved)
    return net.vertices + moved


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
