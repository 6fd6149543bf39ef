"""Distance maps: how far each point of a structure's surface is from another structure, in colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.label_map import LabelMap
from ..data.records import ArrayRecord
from ..data.types import ByteArray, FloatArray
from ..surfaces.formats import vtp_text
from ..surfaces.mesh_quality import distances_to_mesh
from ..surfaces.surface import Surface, polydata
from ..util.atomic_write import atomic_path
from ..util.errors import UsageError
from ..util.given import checks_arguments
from .closest import areas_of, normals_of, share_below
from .distances import TOUCHING_MM
from .subjects import length_mm, notes_on, subject, surfaces_of

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

LEVELS_MM = (5.0, 10.0, 20.0)
_COLORS = ((200, 40, 40), (240, 140, 40), (245, 215, 80), (150, 155, 165))  # nearest first; beyond the last level


@dataclass(frozen=True)
class Band:
    """The part of a surface between two levels of a distance map.

    Attributes:
        from_mm, to_mm: the levels; ``to_mm`` is None for what lies beyond the last one.
        area_mm2, percent: of the surface.
    """

    from_mm: float
    to_mm: float | None
    area_mm2: float
    percent: float


@dataclass(eq=False, repr=False)
class DistanceMap(ArrayRecord):
    """The distances from one structure's surface to another's.

    Attributes:
        one, other: names of the structures.
        surface: of ``one``.
        distances_mm: (N,) at its points; exact to the mesh of ``other``, 0 where they touch.
        bands: between the levels, nearest first.
        notes: what limits the numbers, one sentence each.
    """

    one: str
    other: str
    surface: Surface
    distances_mm: FloatArray
    bands: tuple[Band, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values, without the surface."""
        bands = [asdict(band) for band in self.bands]
        return {"one": self.one, "other": self.other, "bands": bands, "notes": list(self.notes)}

    @property
    def levels_mm(self) -> tuple[float, ...]:
        """Where one band ends and the next begins."""
        return tuple(band.to_mm for band in self.bands if band.to_mm is not None)

    @property
    def colors(self) -> ByteArray:
        """(N, 3) RGB of the band of each point: red, orange, yellow, then gray."""
        ends = np.array(self.levels_mm)
        band = np.searchsorted(ends + TOUCHING_MM, self.distances_mm)
        last = len(_COLORS) - 1
        return np.array(_COLORS, np.uint8)[np.where(band == len(ends), last, np.minimum(band, last - 1))]


@checks_arguments
def distance_map(label_map: LabelMap, one: str, other: str, levels_mm: Sequence[float] = LEVELS_MM) -> DistanceMap:
    """Measure the distance to another structure at each point of a structure's surface.

    Args:
        label_map: the voxels, on any grid; it is not changed.
        one, other: names, titles or label values.
        levels_mm: above 0, rising.

    Raises:
        UsageError: an unknown structure, or levels that do not rise.
        InputError: a structure has no voxels.
        ResourceError: not enough memory.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> from DeepSegLogic.planning import distance_map
        >>> array = np.zeros((20, 20, 40), np.uint8)  # (K, J, I)
        >>> array[4:16, 4:16, 4:14], array[4:16, 4:16, 16:26] = 1, 2
        >>> boxes = LabelMap(array, np.eye(4), [Structure(1, "tumor", "Tumor"), Structure(2, "vein", "Vein")])
        >>> found = distance_map(boxes, "tumor", "vein")
        >>> [band.to_mm for band in found.bands], round(sum(band.percent for band in found.bands))
        ([5.0, 10.0, 20.0, None], 100)
    """
    levels = [length_mm(level, "level of a distance map") for level in levels_mm]
    if not levels or any(low >= high for low, high in pairwise([0.0, *levels])):
        raise UsageError(
            "The levels of the distance map do not rise.", "Give them in mm, such as 5, 10 and 20.", code="usage.length"
        )
    structures = [subject(label_map, name) for name in (one, other)]
    mine, theirs = surfaces_of(label_map, structures)
    away = distances_to_mesh(mine.points, theirs.points, theirs.triangles)
    areas, corners = areas_of(mine), away[mine.triangles]
    below = [0.0, *(float(areas @ share_below(corners, level + TOUCHING_MM)) for level in levels), float(areas.sum())]
    ends = [0.0, *levels, None]
    bands = tuple(
        Band(ends[n] or 0.0, ends[n + 1], below[n + 1] - below[n], 100 * (below[n + 1] - below[n]) / below[-1])
        for n in range(len(levels) + 1)
    )
    a, b = structures
    return DistanceMap(a.name, b.name, mine, away, bands, notes_on(label_map, structures))


def mapped(found: DistanceMap, lift_mm: float = 0.0) -> vtkPolyData:
    """The surface of a distance map; its points have ``distance_mm``, the active scalars, and ``color`` (RGB).

    Args:
        lift_mm: how far outside of the surface it is, so that it hides the structure.
    """
    from vtkmodules.util import numpy_support

    points = found.surface.points
    if lift_mm:
        points = points + lift_mm * normals_of(found.surface)[0]
    mesh = polydata(points, found.surface.triangles)
    for name, values in (("distance_mm", found.distances_mm), ("color", found.colors)):
        array = numpy_support.numpy_to_vtk(np.ascontiguousarray(values), deep=True)
        array.SetName(name)
        mesh.GetPointData().AddArray(array)
    mesh.GetPointData().SetActiveScalars("distance_mm")
    return mesh


def contour_lines(found: DistanceMap, lift_mm: float = 0.0) -> vtkPolyData:
    """The lines on the surface where the distance is a level of the map; their points have ``distance_mm``.

    Args:
        lift_mm: as for :func:`mapped`.
    """
    from vtkmodules.vtkFiltersCore import vtkContourFilter

    contours = vtkContourFilter()
    contours.SetInputData(mapped(found, lift_mm))
    for number, level in enumerate(found.levels_mm):
        contours.SetValue(number, level)
    contours.Update()
    lines: vtkPolyData = contours.GetOutput()
    lines.GetPointData().RemoveArray("color")
    return lines


def write_distance_map(found: DistanceMap, path: Path | str) -> None:
    """Write a distance map as VTK's ``.vtp``, which 3D Slicer and ParaView open.

    The points (RAS mm) have ``distance_mm`` and ``color`` (RGB).

    Raises:
        UsageError: the name does not end with ``.vtp``.
        OutputError: it cannot be written.
    """
    path = Path(path)
    check_vtp(path)
    with atomic_path(path) as temporary:
        temporary.write_text(vtp_text(mapped(found), "RAS"), encoding="utf-8")


def check_vtp(path: Path) -> None:
    """Raise :class:`UsageError` for the name of another kind of file."""
    if path.suffix.lower() != ".vtp":
        raise UsageError(f"{path.name} does not end with .vtp.", "Choose such a name.", code="usage.format")
