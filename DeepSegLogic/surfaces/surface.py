"""The surface of one structure, and a set of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.label_map import Structure, known_structure
from ..data.records import ArrayRecord
from ..data.types import PointsRas, Triangles

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

IndexArray: TypeAlias = npt.NDArray[np.int32 | np.int64]
"""Indices of vertices, faces or surfaces, of any shape; the docstring beside says which."""

Labels: TypeAlias = npt.NDArray[np.unsignedinteger | np.signedinteger]
"""Label values of any integer type and any shape; 0 is background."""

Bytes: TypeAlias = npt.NDArray[np.uint8]

PIECE = 16384
"""Vertices, faces or pairs of a step of a long computation, so that they stay in the processor's cache."""


@dataclass(eq=False, repr=False)
class Surface(ArrayRecord):
    """The closed surface of one structure. Surfaces are equal if their structures, points and triangles are.

    Attributes:
        structure: the structure that the surface bounds.
        points: (N, 3) float64, RAS in mm.
        triangles: (M, 3) int64 indices of points, counter-clockwise as seen from outside.
    """

    structure: Structure
    points: PointsRas
    triangles: Triangles


@dataclass(eq=False, repr=False)
class SurfaceSet(ArrayRecord):
    """The surfaces of one label map's structures, in label order. Structures without voxels have none.

    Iterate over it for the surfaces; index it by name or title for one of them.

    Attributes:
        surfaces: one per structure.
        smoothing: the smoothing they were made with, a key of :data:`~DeepSegLogic.surfaces.SMOOTHING`.

    Raises:
        UsageError: on indexing, if no surface has this name or title.
    """

    surfaces: list[Surface] = field(default_factory=list)
    smoothing: str = "standard"

    def __iter__(self) -> Iterator[Surface]:
        return iter(self.surfaces)

    def __len__(self) -> int:
        return len(self.surfaces)

    def __getitem__(self, name: str) -> Surface:
        structure = known_structure(name, [s.structure for s in self.surfaces])
        return next(s for s in self.surfaces if s.structure is structure)


def polydata(points: PointsRas, triangles: Triangles) -> vtkPolyData:
    """A ``vtkPolyData`` with copies of points (N, 3) and triangles (M, 3)."""
    from vtkmodules.util import numpy_support  # not all of vtk, which takes long to load
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    corners = vtkPoints()
    corners.SetData(numpy_support.numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    cells = vtkCellArray()
    offsets = numpy_support.numpy_to_vtkIdTypeArray(np.arange(0, triangles.size + 1, 3, dtype=np.int64), deep=True)
    ids = numpy_support.numpy_to_vtkIdTypeArray(np.ascontiguousarray(triangles, np.int64).ravel(), deep=True)
    cells.SetData(offsets, ids)
    mesh = vtkPolyData()
    mesh.SetPoints(corners)
    mesh.SetPolys(cells)
    return mesh
