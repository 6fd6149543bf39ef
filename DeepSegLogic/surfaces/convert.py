"""Surfaces as objects of the libraries that draw and write them."""

from __future__ import annotations

import numpy as np


def polydata(points: np.ndarray, triangles: np.ndarray):
    """A ``vtkPolyData`` of points (N, 3) and triangles (M, 3)."""
    from vtkmodules.util import numpy_support  # not all of vtk, which takes long to load
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    corners = vtkPoints()
    corners.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    cells = vtkCellArray()
    offsets = numpy_support.numpy_to_vtkIdTypeArray(np.arange(0, triangles.size + 1, 3), deep=True)
    ids = numpy_support.numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles, np.int64).ravel(), deep=True)
    cells.SetData(offsets, ids)
    mesh = vtkPolyData()
    mesh.SetPoints(corners)
    mesh.SetPolys(cells)
    return mesh
