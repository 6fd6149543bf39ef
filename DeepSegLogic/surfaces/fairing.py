"""Smoothing of the net that keeps every structure's volume and never leaves its voxels' neighbourhood."""

from __future__ import annotations

import numpy as np

from .net import Net

LIMIT = 0.45  # voxels that a vertex may move along each axis: two sides of a plate one voxel thick never meet
_PACE = (1.2, 0.55)  # of two steps; together as far as 3.5 steps of 0.5, and no frequency grows
_VOLUME_STEPS = 25
_LARGEST_STEP = 0.1  # voxels: what has nearly vanished has a gradient that promises too much
_VOLUME_TOLERANCE = 5e-4  # relative


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

    The gradients are those of the relaxed net; all labels move at once. How far a label goes for what it lacks is
    learnt from what its last step brought: neighbours share vertices, and the box holds some back.
    """
    shape = _Shape(net)
    target = shape.volumes(net.vertices)
    found = shape.volumes(positions)
    gradients, squared = shape.gradients(positions)
    gain = np.divide(1.0, squared, out=np.zeros_like(squared), where=squared > 0)
    lowest, highest = net.vertices - LIMIT, net.vertices + LIMIT
    for _ in range(_VOLUME_STEPS):
        missing = np.where(target > 0, target - found, 0.0)
        missing[0] = 0.0  # the background takes what is left
        if (np.abs(missing) <= _VOLUME_TOLERANCE * np.maximum(target, 1)).all():
            break
        move = np.clip(shape.move(gradients, missing * gain), -_LARGEST_STEP, _LARGEST_STEP)
        positions = np.clip(positions + move, lowest, highest)
        before, found = found, shape.volumes(positions)
        brought = np.divide(found - before, missing, out=np.ones_like(missing), where=missing != 0)
        gain /= np.clip(brought, 0.5, 2.0)
    return positions


class _Shape:
    """Volumes of the labels inside a net, in voxels, and their gradients, as its vertices move.

    A face counts as two triangles, split along the diagonal from corner 0 to corner 2.
    """

    def __init__(self, net: Net):
        self._low, self._high = net.low, net.high
        self._count = int(max(net.low.max(), net.high.max())) + 1
        self._vertices = len(net.vertices)
        self._corners = net.quads.T.astype(np.intp, order="C")  # (4, F); numpy gathers fastest by its own index type

    def volumes(self, positions: np.ndarray) -> np.ndarray:
        """By label."""
        a, b, c, d = self._at(positions)
        ax, ay, az = a
        nx, ny, nz = _cross(b - d, c)
        share = (ax * nx + ay * ny + az * nz) / 6
        return np.bincount(self._low, share, self._count) - np.bincount(self._high, share, self._count)

    def gradients(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 3, F) gradient of the low label's volume by corner of each face; and by label about the squared
        length of its whole gradient, as if the four faces at a vertex lay in one plane."""
        a, b, c, d = self._at(positions)
        across = _cross(c, a) / 6
        gradients = np.stack([_cross(b - d, c) / 6, across, _cross(a, b - d) / 6, -across])
        normal = _cross(c - a, d - b) / 2
        squared = (normal * normal).sum(0)
        return gradients, np.bincount(self._low, squared, self._count) + np.bincount(self._high, squared, self._count)

    def move(self, gradients: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(V, 3) the sum over labels of step times gradient."""
        factor = step[self._low] - step[self._high]
        flat = self._corners.ravel()
        columns = [np.bincount(flat, (gradients[:, axis] * factor).ravel(), self._vertices) for axis in range(3)]
        return np.stack(columns, 1)

    def _at(self, positions: np.ndarray) -> list[np.ndarray]:
        """(3, F) places of each corner, from a point amid them to keep digits."""
        x, y, z = (positions - positions.mean(0)).T.copy()
        return [np.stack([x[n], y[n], z[n]]) for n in self._corners]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of (3, N) columns; several times faster than numpy's general one."""
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
