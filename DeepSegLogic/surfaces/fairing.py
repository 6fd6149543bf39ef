"""Smoothing of the net that keeps every structure's volume and never leaves its voxels' neighbourhood."""

from __future__ import annotations

import numpy as np

from .net import Net

LIMIT = 0.45  # voxels that a vertex may move along each axis: two sides of a plate one voxel thick never meet
_RELAXATION = 0.5
_VOLUME_STEPS = 40
_LARGEST_STEP = 0.1  # voxels: what has nearly vanished has a gradient that promises too much
_VOLUME_TOLERANCE = 5e-4  # relative


def fair(net: Net, spacing: np.ndarray, iterations: int) -> np.ndarray:
    """Positions of the net's vertices after smoothing, (V, 3) (I, J, K) indices.

    Vertices relax towards their neighbours inside a box of ±``LIMIT`` voxels, which takes away the stairs of
    slices however thick they are (vtkConstrainedSmoothingFilter; Gibson 1998). That shrinks what is thin or
    round. So all structures are then blown up again to the volume of their voxels, each along its own
    gradient of volume, in the same box.

    Args:
        spacing: mm along (I, J, K).
        iterations: of the relaxation; 0 leaves the stairs as they are.
    """
    if iterations == 0 or len(net.quads) == 0:
        return net.vertices
    relaxed = _relaxed(net, spacing, iterations)
    return _with_volumes_restored(net, relaxed)


def _relaxed(net: Net, spacing: np.ndarray, iterations: int) -> np.ndarray:
    import vtk
    from vtk.util import numpy_support

    points = vtk.vtkPoints()
    points.SetData(numpy_support.numpy_to_vtk(net.vertices * spacing, deep=True))
    cells = vtk.vtkCellArray()
    offsets = numpy_support.numpy_to_vtkIdTypeArray(np.arange(0, net.quads.size + 1, 4), deep=True)
    cells.SetData(offsets, numpy_support.numpy_to_vtkIdTypeArray(net.quads.ravel(), deep=True))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    smooth = vtk.vtkConstrainedSmoothingFilter()
    smooth.SetInputData(mesh)
    smooth.SetNumberOfIterations(iterations)
    smooth.SetRelaxationFactor(_RELAXATION)
    smooth.SetConvergence(0.0)
    smooth.SetConstraintStrategyToConstraintBox()
    smooth.SetConstraintBox(*(2 * LIMIT * spacing))
    smooth.SetOutputPointsPrecision(vtk.vtkAlgorithm.DOUBLE_PRECISION)
    smooth.Update()
    return numpy_support.vtk_to_numpy(smooth.GetOutput().GetPoints().GetData()) / spacing


def _with_volumes_restored(net: Net, positions: np.ndarray) -> np.ndarray:
    """Move vertices along the gradients of the volumes until each label has that of its voxels again.

    All labels move at once, by what each one lacks over the squared length of its gradient; that neighbours
    share vertices is made up for in the next step.
    """
    lowest, highest = net.vertices - LIMIT, net.vertices + LIMIT
    volumes = _Volumes(net)
    target, _ = volumes.measure(net.vertices)
    for _ in range(_VOLUME_STEPS):
        found, gradients = volumes.measure(positions)
        missing = np.where(target > 0, target - found, 0.0)
        missing[0] = 0.0  # the background takes what is left
        if (np.abs(missing) <= _VOLUME_TOLERANCE * np.maximum(target, 1)).all():
            break
        free = (positions > lowest) & (positions < highest)
        squared = volumes.squared_lengths(gradients, free)
        step = np.divide(missing, squared, out=np.zeros_like(missing), where=squared > 0)
        move = np.clip(volumes.move(gradients, step), -_LARGEST_STEP, _LARGEST_STEP)
        positions = np.clip(positions + move, lowest, highest)
    return positions


class _Volumes:
    """Volumes of the labels inside a net, in voxels, and their gradients, as its vertices move.

    A face counts as two triangles, split along the diagonal from corner 0 to corner 2.
    """

    def __init__(self, net: Net):
        self._net = net
        self._count = int(max(net.low.max(), net.high.max())) + 1
        vertices = len(net.vertices)
        pairs = np.concatenate(
            [label.astype(np.int64)[:, None] * vertices + net.quads for label in (net.low, net.high)]
        )
        unique, self._pair = np.unique(pairs, return_inverse=True)
        self._pair = self._pair.ravel()
        self._pair_label, self._pair_vertex = unique // vertices, unique % vertices

    def measure(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Volume by label, and (F, 4, 3) the gradient of the low label's by corner of each face."""
        net = self._net
        a, b, c, d = (positions[net.quads[:, n]] - positions[0] for n in range(4))
        bc, cd = _cross(b, c), _cross(c, d)
        share = ((a * bc).sum(1) + (a * cd).sum(1)) / 6
        volumes = np.bincount(net.low, share, self._count) - np.bincount(net.high, share, self._count)
        ac = _cross(a, c)
        gradients = np.stack([bc + cd, -ac, _cross(a, b) + _cross(d, a), ac], 1) / 6
        return volumes, gradients

    def squared_lengths(self, gradients: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Squared length of each label's gradient over the coordinates that may still move."""
        total = np.zeros(len(self._pair_label))
        for axis in range(3):
            values = gradients[..., axis].ravel()
            summed = np.bincount(self._pair, np.concatenate([values, -values]), len(total))
            total += np.where(free[self._pair_vertex, axis], summed**2, 0.0)
        return np.bincount(self._pair_label, total, self._count)

    def move(self, gradients: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(V, 3) the sum over labels of step times gradient."""
        net = self._net
        flat, factor = net.quads.ravel(), (step[net.low] - step[net.high])[:, None]
        columns = [np.bincount(flat, (gradients[..., a] * factor).ravel(), len(net.vertices)) for a in range(3)]
        return np.stack(columns, 1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of rows; several times faster than numpy's general one."""
    ax, ay, az = a.T
    bx, by, bz = b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)
