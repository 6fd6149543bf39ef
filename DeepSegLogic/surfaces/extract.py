"""Closed surfaces from a label map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..geometry import ijk_to_ras_points
from ..labels import LabelMap, Structure
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel

_PASS_BAND, _ITERATIONS = 0.1, 15


@dataclass
class Surface:
    """The closed, outward-oriented surface of one structure.

    Attributes:
        structure: whose it is.
        points: (N, 3) float64, RAS in mm.
        triangles: (M, 3) int64 indices of points, counter-clockwise seen from outside.
    """

    structure: Structure
    points: np.ndarray
    triangles: np.ndarray


@dataclass
class SurfaceSet:
    """Surfaces of the structures of one label map that have voxels."""

    surfaces: list[Surface] = field(default_factory=list)

    def __iter__(self):
        return iter(self.surfaces)

    def __len__(self):
        return len(self.surfaces)


def extract_surfaces(
    label_map: LabelMap,
    structures: list[str] | None = None,
    *,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> SurfaceSet:
    """Extract the surface of each structure: flying edges on its own box, then windowed-sinc smoothing.

    Sources: vtkDiscreteFlyingEdges3D; Taubin et al., Optimal Surface Smoothing as Filter Design, ECCV 1996
    (vtkWindowedSincPolyDataFilter).

    Raises:
        UsageError: an unknown structure.
        Cancelled: ``cancel`` said so.
    """
    from scipy.ndimage import find_objects

    wanted = label_map.structures if structures is None else [label_map.structure(n) for n in structures]
    boxes = find_objects(label_map.array.astype(np.int32, copy=False))
    result = SurfaceSet()
    for done, structure in enumerate(wanted):
        check(cancel)
        progress("surfaces", done / len(wanted), structure.title)
        box = boxes[structure.value - 1] if structure.value <= len(boxes) else None
        if box is not None:
            result.surfaces.append(_surface(label_map, structure, box))
    progress("surfaces", 1.0, "done")
    return result


def _surface(label_map: LabelMap, structure: Structure, box) -> Surface:
    import vtk
    from vtk.util import numpy_support

    mask = np.pad((label_map.array[box] == structure.value).astype(np.uint8), 1)  # closed also at the volume's border
    image = vtk.vtkImageData()
    image.SetDimensions(*mask.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(mask.ravel(), deep=True))
    contour = vtk.vtkDiscreteFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 1)
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(contour.GetOutputPort())
    smooth.SetNumberOfIterations(_ITERATIONS)
    smooth.SetPassBand(_PASS_BAND)
    smooth.BoundarySmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    smooth.Update()
    mesh = smooth.GetOutput()
    ijk = numpy_support.vtk_to_numpy(mesh.GetPoints().GetData()).astype(float)
    ijk += [s.start - 1 for s in reversed(box)]
    triangles = numpy_support.vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    points = ijk_to_ras_points(ijk, label_map.ijk_to_ras)
    corners = points[triangles]
    if np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
        triangles = triangles[:, ::-1]  # a left-handed grid turns surfaces inside out
    return Surface(structure, points, np.ascontiguousarray(triangles))
