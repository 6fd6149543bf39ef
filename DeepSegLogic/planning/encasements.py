"""How far a tumor reaches around a vessel, in degrees of its circumference, as resectability criteria count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.label_map import LabelMap
from ..data.types import FloatArray, PointsRas
from ..review.measurements import position
from ..surfaces.mesh_quality import distances_to_mesh
from ..surfaces.surface import IndexArray, Surface, polydata
from ..util.given import checks_arguments
from .closest import Locator, normals_of
from .distances import TOUCHING_MM
from .subjects import length_mm, notes_on, subject, surfaces_of

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

_SECTIONS = 100  # cross-sections, at most, spread over the contact
_AXIS_RADII = 3.0  # the part of a vessel, in radii, that tells its direction


@dataclass(frozen=True)
class Encasement:
    """The largest angle of a vessel's circumference that a tumor touches.

    Attributes:
        tumor, vessel: names of the structures.
        within_mm: the distance that counts as touching.
        degrees: 0 to 360.
        center_ras: the middle of the cross-section with that angle, RAS mm; None without contact.
        notes: what limits the number, one sentence each.
    """

    tumor: str
    vessel: str
    within_mm: float
    degrees: float
    center_ras: tuple[float, float, float] | None
    notes: tuple[str, ...] = ()


@checks_arguments
def encasement(label_map: LabelMap, tumor: str, vessel: str, within_mm: float = 0.0) -> Encasement:
    """Measure the encasement of a vessel: the largest angle of contact over cross-sections along the contact.

    A section's middle is halfway across the vessel from a point of contact, its normal the main direction of the
    vessel's surface around there. Angles are counted around the centroid of the section.

    Args:
        tumor, vessel: names, titles or label values.
        within_mm: what counts as contact; 0 for touching.

    Raises:
        UsageError, InputError, ResourceError: as :func:`~DeepSegLogic.planning.contact`.
    """
    limit = length_mm(within_mm, "distance of a contact")
    structures = [subject(label_map, name) for name in (tumor, vessel)]
    mass, tube = surfaces_of(label_map, structures)
    away = distances_to_mesh(tube.points, mass.points, mass.triangles)
    mesh = _with_values(tube, away)
    touching = np.flatnonzero(away < limit + TOUCHING_MM)
    best, where = 0.0, None
    for center, axis in _sections(tube, touching[:: -(-len(touching) // _SECTIONS) or 1]):
        angle, middle = _angle(mesh, center, axis, limit + TOUCHING_MM)
        if angle > best:
            best, where = angle, position(middle)
    a, b = structures
    return Encasement(a.name, b.name, limit, best, where, notes_on(label_map, structures))


def _sections(tube: Surface, vertices: IndexArray) -> list[tuple[FloatArray, FloatArray]]:
    """A center and an axis for each of some vertices of a vessel; none where no opposite wall is found."""
    from scipy.spatial import cKDTree

    normals, areas = normals_of(tube)
    longest = float(np.linalg.norm(np.ptp(tube.points, axis=0)))
    step = 1e-3 * float(np.sqrt(areas.mean()))  # past the wall that the ray starts from
    locator, tree = Locator(tube), cKDTree(tube.points)
    found = []
    for start, normal in zip(tube.points[vertices], normals[vertices], strict=True):
        wall = locator.first_hit(start - step * normal, start - longest * normal)
        if wall is not None:
            center = (start + wall) / 2
            radius = float(np.linalg.norm(wall - start)) / 2
            around = tube.points[tree.query_ball_point(center, _AXIS_RADII * radius)]
            found.append((center, np.asarray(np.linalg.svd(around - around.mean(0), full_matrices=False)[2][0])))
    return found


def _angle(mesh: vtkPolyData, center: FloatArray, axis: FloatArray, limit: float) -> tuple[float, FloatArray]:
    """Degrees of one cross-section that are nearer than ``limit``, and its centroid."""
    ends, values = _outline(mesh, center, axis)
    lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    middle = np.average(ends.mean(1), axis=0, weights=lengths)
    u, v = np.linalg.svd(axis[None])[2][1:]
    angles = np.arctan2((ends - middle) @ v, (ends - middle) @ u)
    spans = np.abs((np.diff(angles, axis=1)[:, 0] + np.pi) % (2 * np.pi) - np.pi)
    low, high = values.min(1), values.max(1)
    with np.errstate(over="ignore"):  # where both ends are equally far, either all or nothing is nearer
        shares = np.clip((limit - low) / np.maximum(high - low, np.finfo(float).tiny), 0, 1)
    return min(360.0, float(np.degrees(spans @ shares))), middle


def _outline(mesh: vtkPolyData, center: FloatArray, axis: FloatArray) -> tuple[PointsRas, FloatArray]:
    """Segments (N, 2, 3) of the cross-section around a center, and the values (N, 2) at their ends."""
    from vtkmodules.util import numpy_support
    from vtkmodules.vtkCommonDataModel import vtkPlane
    from vtkmodules.vtkFiltersCore import vtkCutter, vtkPolyDataConnectivityFilter

    plane, cutter, nearest = vtkPlane(), vtkCutter(), vtkPolyDataConnectivityFilter()
    plane.SetOrigin(*center)
    plane.SetNormal(*axis)
    cutter.SetCutFunction(plane)
    cutter.SetInputData(mesh)
    nearest.SetInputConnection(cutter.GetOutputPort())
    nearest.SetExtractionModeToClosestPointRegion()
    nearest.SetClosestPoint(*center)
    nearest.Update()
    cut = nearest.GetOutput()
    lines = numpy_support.vtk_to_numpy(cut.GetLines().GetConnectivityArray()).reshape(-1, 2)
    points = numpy_support.vtk_to_numpy(cut.GetPoints().GetData()).astype(float)
    return points[lines], numpy_support.vtk_to_numpy(cut.GetPointData().GetScalars())[lines]


def _with_values(surface: Surface, values: FloatArray) -> vtkPolyData:
    """The mesh of a surface with a number at each vertex."""
    from vtkmodules.util import numpy_support

    mesh = polydata(surface.points, surface.triangles)
    mesh.GetPointData().SetScalars(numpy_support.numpy_to_vtk(np.ascontiguousarray(values), deep=True))
    return mesh
