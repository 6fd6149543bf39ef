"""Masks as closed curves, and closed curves as masks. Coordinates are continuous voxel indices (I, J) in one plane.

Curves run half-way between the voxel centres inside and those outside. So whatever program asks which centres they
enclose gets the same voxels.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ...data.types import FloatArray, MaskArray

_BESIDE_VERTICES = 0.25  # vertices have whole or half coordinates; a key-hole meets none


def curves_of(mask: MaskArray) -> list[FloatArray]:
    """Closed curves (N, 2) around the voxels of a mask (J, I), without self-intersections.

    A hole is joined to the curve around it by a key-hole, a channel without width: programs differ in how they combine
    several curves, but not in what a single one encloses.
    """
    loops = _outlines(mask)
    if len(loops) < 2:
        return loops
    holders = [
        [n for n, other in enumerate(loops) if other is not loop and _encloses(other, loop[0])] for loop in loops
    ]
    outer = {n: loop for n, loop in enumerate(loops) if len(holders[n]) % 2 == 0}
    holes = [n for n in range(len(loops)) if n not in outer]
    for n in sorted(holes, key=lambda n: float(loops[n][:, 0].min())):  # so that what lies to the left is joined before
        around = max((h for h in holders[n] if h in outer), key=lambda h: len(holders[h]))
        outer[around] = _joined(outer[around], loops[n])
    return list(outer.values())


def mask_of(curves: Iterable[FloatArray], shape: tuple[int, int]) -> MaskArray:
    """The voxels (J, I) whose centres closed curves enclose, by the even-odd rule."""
    changes = np.zeros((shape[0], shape[1] + 1), np.int32)
    for curve in curves:
        rows, columns = _crossings(curve, shape[0])
        np.add.at(changes, (rows, np.clip(np.ceil(columns), 0, shape[1]).astype(int)), 1)
    inside: MaskArray = np.cumsum(changes, 1)[:, :-1] % 2 == 1
    return inside


def _crossings(curve: FloatArray, rows: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Where a curve crosses the rows of voxel centres: row and column."""
    (x0, y0), (x1, y1) = curve.T, np.roll(curve, -1, 0).T
    first = np.clip(np.ceil(np.minimum(y0, y1)), 0, rows).astype(int)
    count = np.clip(np.ceil(np.maximum(y0, y1)), 0, rows).astype(int) - first  # horizontal edges have none
    edge = np.repeat(np.arange(len(curve)), count)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    return row, x0[edge] + (x1 - x0)[edge] * (row - y0[edge]) / (y1 - y0)[edge]


def _outlines(mask: MaskArray) -> list[FloatArray]:
    """Closed curves around voxels and around holes, each alone (marching squares)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges2D, vtkStripper

    padded = np.ascontiguousarray(np.pad(mask, 1), np.uint8)
    image = vtkImageData()
    image.SetDimensions(padded.shape[1], padded.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel()))
    edges, strips = vtkFlyingEdges2D(), vtkStripper()
    edges.SetInputData(image)
    edges.SetValue(0, 0.5)
    strips.SetInputConnection(edges.GetOutputPort())
    strips.JoinContiguousSegmentsOn()
    strips.SetMaximumLength(4 * padded.size)
    strips.Update()
    found = strips.GetOutput()
    if not found.GetNumberOfLines():
        return []
    points = vtk_to_numpy(found.GetPoints().GetData())[:, :2].astype(float) - 1
    lines = found.GetLines()
    ids, ends = vtk_to_numpy(lines.GetConnectivityArray()), vtk_to_numpy(lines.GetOffsetsArray())
    return [_corners(points[ids[a:b]][:-1]) for a, b in pairwise(ends)]  # the last is the first


def _corners(curve: FloatArray) -> FloatArray:
    """A closed curve without the points on straight lines."""
    before, after = curve - np.roll(curve, 1, 0), np.roll(curve, -1, 0) - curve
    corners: FloatArray = curve[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
    return corners


def _encloses(curve: FloatArray, point: FloatArray) -> bool:
    return bool(np.count_nonzero(_columns_at(curve, float(point[1]))[1] > point[0]) % 2)


def _columns_at(curve: FloatArray, y: float) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """The edges of a closed curve that cross a horizontal line, and where."""
    (x0, y0), (x1, y1) = curve.T, np.roll(curve, -1, 0).T
    edges = np.flatnonzero((y0 > y) != (y1 > y))
    return edges, x0[edges] + (x1 - x0)[edges] * (y - y0[edges]) / (y1 - y0)[edges]


def _joined(ring: FloatArray, hole: FloatArray) -> FloatArray:
    """A curve and a hole in it as one curve, by a horizontal key-hole from the hole's leftmost point."""
    if _area(ring) * _area(hole) > 0:
        hole = hole[::-1]
    y = float(hole[hole[:, 0].argmin(), 1]) + _BESIDE_VERTICES
    edges, columns = _columns_at(hole, y)
    of_hole, end = edges[columns.argmin()], columns.min()
    edges, columns = _columns_at(ring, y)
    left = columns < end
    of_ring, begin = edges[left][columns[left].argmax()], columns[left].max()
    begin_point, end_point = [[begin, y]], [[end, y]]
    around = np.roll(hole, -(of_hole + 1), 0)
    return np.concatenate(
        [ring[: of_ring + 1], begin_point, end_point, around, end_point, begin_point, ring[of_ring + 1 :]]
    )


def _area(curve: FloatArray) -> float:
    (x0, y0), (x1, y1) = curve.T, np.roll(curve, -1, 0).T
    return float((x0 * y1 - x1 * y0).sum() / 2)
