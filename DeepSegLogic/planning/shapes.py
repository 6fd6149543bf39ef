"""Cuts and center lines as meshes, to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.types import FloatArray, PointsRas
from .cuts import Cut, Ellipsoid, Plane
from .free_surfaces import FreeSurface

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

_STEPS = 40  # along each side of a surface


def shape_of(cut: Cut, low: FloatArray, high: FloatArray) -> vtkPolyData | None:
    """A mesh of a cut in RAS mm; None where it has none, as territories.

    Args:
        cut: an ellipsoid is shown whole.
        low, high: (3,) smallest and largest R, A and S of the organ: how far a plane or a surface is shown.
    """
    if isinstance(cut, Ellipsoid):
        return _ellipsoid(cut)
    if isinstance(cut, Plane):
        return _square(cut, low, high)
    if isinstance(cut, FreeSurface):
        return _surface(cut, low, high)
    return None


def line_of(points: PointsRas) -> vtkPolyData:
    """A line through points (N, 3), RAS mm."""
    from vtkmodules.util import numpy_support
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    places, cells, mesh = vtkPoints(), vtkCellArray(), vtkPolyData()
    places.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(points, float), deep=True))
    cells.InsertNextCell(len(points))
    for number in range(len(points)):
        cells.InsertCellPoint(number)
    mesh.SetPoints(places)
    mesh.SetLines(cells)
    return mesh


def _square(cut: Plane, low: FloatArray, high: FloatArray) -> vtkPolyData:
    """Around the place of the plane that is nearest to the middle of the organ, as wide as the organ is long."""
    normal = np.array(cut.normal, float) / np.linalg.norm(cut.normal)
    middle, half = (low + high) / 2, np.linalg.norm(high - low) / 2
    place = middle - normal * (normal @ (middle - np.array(cut.origin)))
    u, v = np.linalg.svd(normal[None])[2][1:] * half
    return _sheet(place + np.array([[-u - v, -u + v], [u - v, u + v]]))


def _surface(cut: FreeSurface, low: FloatArray, high: FloatArray) -> vtkPolyData:
    corners = np.stack(np.meshgrid(*np.stack([low, high], 1)), -1).reshape(-1, 3)
    flat = cut.along(corners)[:, :2]
    sides = [np.linspace(start, end, _STEPS) for start, end in zip(flat.min(0), flat.max(0), strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), -1)
    heights = cut.heights(grid.reshape(-1, 2)).reshape(_STEPS, _STEPS, 1)
    return _sheet(np.concatenate([grid, heights], -1) @ cut.axes)


def _sheet(places: FloatArray) -> vtkPolyData:
    """Triangles between places (N, M, 3)."""
    from ..surfaces.surface import polydata

    number = np.arange(places.shape[0] * places.shape[1]).reshape(places.shape[:2])
    a, b, c, d = (n.ravel() for n in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    return polydata(places.reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


def _ellipsoid(cut: Ellipsoid) -> vtkPolyData:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersGeneral import vtkTransformFilter
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    axes = np.array(cut.axes, float) / np.linalg.norm(cut.axes, axis=1, keepdims=True)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = (axes * np.array(cut.radii)[:, None]).T, cut.center
    placed, transform = vtkMatrix4x4(), vtkTransform()
    placed.DeepCopy(matrix.ravel().tolist())
    transform.SetMatrix(placed)
    sphere = vtkSphereSource()
    sphere.SetRadius(1.0)
    sphere.SetThetaResolution(_STEPS)
    sphere.SetPhiResolution(_STEPS)
    moved = vtkTransformFilter()
    moved.SetInputConnection(sphere.GetOutputPort())
    moved.SetTransform(transform)
    moved.Update()
    mesh: vtkPolyData = moved.GetPolyDataOutput()
    return mesh
