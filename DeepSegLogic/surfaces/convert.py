"""Surfaces as objects of the libraries that draw and write them."""

from __future__ import annotations

import numpy as np


def polydata(points: np.ndarray, triangles: np.ndarray):
    """A ``vtkPolyData`` of points (N, 3) and triangles (M, 3)."""
    import vtk
    from vtk.util import numpy_support

    corners = vtk.vtkPoints()
    corners.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    cells = vtk.vtkCellArray()
    offsets = numpy_support.numpy_to_vtkIdTypeArray(np.arange(0, triangles.size + 1, 3), deep=True)
    ids = numpy_support.numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles, np.int64).ravel(), deep=True)
    cells.SetData(offsets, ids)
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(corners)
    mesh.SetPolys(cells)
    return mesh
