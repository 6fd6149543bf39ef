"""Center lines of vessels, and their diameters along them, as VMTK defines both.

A center line is the way between two ends that minimizes the integral of 1 / R, where R is the radius of the largest
sphere inside the vessel; the diameter at one of its points is that of this sphere. L. Antiga et al., An image-based
modeling framework for patient-specific computational hemodynamics, Med Biol Eng Comput 46, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.affine import ijk_to_ras_points, ras_to_ijk
from ..data.boxes import box_of
from ..data.label_map import LabelMap
from ..data.types import FloatArray, PointsRas
from ..review.measurements import position
from ..surfaces.surface import Surface
from ..util.errors import InputError
from ..util.given import checks_arguments
from .closest import Locator
from .cuts import Position
from .subjects import notes_on, subject, surfaces_of
from .voxel_graph import neighbors

_AROUND = 8  # directions in which a better center is looked for
_STEPS = 4  # of each size, towards one
_AT_END = 1.5  # radii from an end within which a sphere may touch the end, not the wall


@dataclass(frozen=True)
class VesselDiameters:
    """The diameters of a vessel along its center line.

    Attributes:
        structure: its name.
        length_mm: of the center line.
        smallest_mm, median_mm, largest_mm: diameters of the largest spheres inside the vessel.
        smallest_ras, largest_ras: centers of those spheres, RAS mm.
        points_ras, diameters_mm: the center line, evenly spaced, and the diameter at each of its points.
        notes: what limits the numbers, one sentence each.
    """

    structure: str
    length_mm: float
    smallest_mm: float
    median_mm: float
    largest_mm: float
    smallest_ras: Position
    largest_ras: Position
    points_ras: tuple[Position, ...]
    diameters_mm: tuple[float, ...]
    notes: tuple[str, ...] = ()


@checks_arguments
def vessel_diameters(label_map: LabelMap, structure: str) -> VesselDiameters:
    """Measure the diameters of a vessel along the center line of its longest run.

    The run is the one between the two voxels that are farthest apart along the vessel; branches beside it are not
    measured. Spheres that the ends of the vessel limit are left out, 1.5 radii from each end.

    Args:
        label_map: the voxels, on any grid; it is not changed.
        structure: name, title or label value.

    Raises:
        UsageError, ResourceError: as :func:`~DeepSegLogic.planning.distance`.
        InputError: the structure has no voxels, or is not longer than wide.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> from DeepSegLogic.planning import vessel_diameters
        >>> k, j, i = np.indices((60, 24, 24))
        >>> array = ((np.hypot(j - 11.5, i - 11.5) < 8) & (abs(k - 30) < 26)).astype(np.uint8)  # (K, J, I)
        >>> tube = LabelMap(array, np.eye(4), [Structure(1, "aorta", "Aorta")])
        >>> found = vessel_diameters(tube, "aorta")
        >>> round(found.smallest_mm), round(found.largest_mm)
        (16, 16)
    """
    measured = subject(label_map, structure)
    (surface,) = surfaces_of(label_map, [measured])
    tube = _Tube(label_map, measured.name, surface)
    ends = tube.route[[0, -1]]
    line = tube.centered(_resampled(tube.route, tube.voxel))
    line = tube.centered(_resampled(line, tube.voxel))
    radii = np.linalg.norm(Locator(surface).closest(line) - line, axis=1)
    near = np.linalg.norm(line - ends[:, None], axis=2) <= _AT_END * radii + tube.voxel
    half = len(line) // 2
    first, last = half - int(near[0, :half][::-1].argmax()), half + int(near[1, half:].argmax())
    if last - first < 3 or near[:, half].any():
        raise InputError(
            f"{measured.title or measured.name} is not longer than wide: it has no center line.",
            "Choose a vessel, or another structure that is a tube.",
            code="input.no_tube",
        )
    line, found = line[first:last], 2 * radii[first:last]
    low, high = int(found.argmin()), int(found.argmax())
    return VesselDiameters(
        measured.name,
        float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()),
        float(found[low]),
        float(np.median(found)),
        float(found[high]),
        position(line[low]),
        position(line[high]),
        tuple(position(place) for place in line),
        tuple(found.tolist()),
        notes_on(label_map, [measured]),
    )


class _Tube:
    """A vessel: a way along it, and how deep a point lies in it.

    Attributes:
        route: voxel centers (N, 3), RAS mm, along the longest run and near its middle.
        voxel: the largest spacing, mm.
    """

    def __init__(self, label_map: LabelMap, name: str, surface: Surface):
        from scipy.ndimage import distance_transform_edt
        from scipy.spatial import cKDTree

        mask = label_map.mask(name)
        box = box_of(mask)
        assert box is not None  # it has voxels
        self._mask = np.pad(mask[box], 1)
        self._corner = np.array([part.start for part in box][::-1]) - 1  # (I, J, K)
        self._matrix = label_map.ijk_to_ras
        self._tree = cKDTree(surface.points)
        self.voxel = float(label_map.spacing_ijk.max())
        depths = np.asarray(distance_transform_edt(self._mask, sampling=label_map.spacing_kji))
        self.route = self._found(depths)

    def _found(self, depths: FloatArray) -> PointsRas:
        from scipy.sparse.csgraph import dijkstra

        voxels = np.argwhere(self._mask)
        radii = depths[tuple(voxels.T)]
        places = ijk_to_ras_points(voxels[:, ::-1] + self._corner, self._matrix)
        plain = neighbors(voxels, places)
        start = _farthest(dijkstra(plain, indices=[int(radii.argmax())])[0])
        end = _farthest(dijkstra(plain, indices=[start])[0])
        _, before = dijkstra(neighbors(voxels, places, 1 / radii), indices=[start], return_predecessors=True)
        found = [end]
        while found[-1] != start:
            found.append(int(before[0, found[-1]]))
        return np.asarray(places[found])

    def centered(self, line: PointsRas) -> PointsRas:
        """Points (N, 3) moved across their line to where the largest sphere fits, to a 32nd of a voxel."""
        tangent = np.gradient(line, axis=0) if len(line) > 1 else np.ones_like(line)
        u = np.cross(tangent, np.eye(3)[np.abs(tangent).argmin(1)])
        v = np.cross(tangent, u)
        u, v = (across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9) for across in (u, v))
        angles = (np.arange(_AROUND) * 2 * np.pi / _AROUND)[:, None, None]
        ways = np.cos(angles) * u + np.sin(angles) * v  # (8, N, 3)
        best, depths, rows = line.copy(), self._depths(line), np.arange(len(line))
        for halvings in range(6):
            for _ in range(_STEPS):
                tried = best + self.voxel / 2**halvings * ways
                found = self._depths(tried.reshape(-1, 3)).reshape(_AROUND, -1)
                at = found.argmax(0)
                better = found[at, rows] > depths
                best[better], depths[better] = tried[at, rows][better], found[at, rows][better]
        return best

    def _depths(self, points: PointsRas) -> FloatArray:
        """How far points (N, 3) are from the nearest vertex of the surface; 0 outside of the voxels."""
        ijk = np.rint(ras_to_ijk(points, self._matrix)).astype(int) - self._corner
        i, j, k = np.clip(ijk, 0, np.array(self._mask.shape[::-1]) - 1).T  # a voxel around all is outside
        return np.where(self._mask[k, j, i], self._tree.query(points)[0], 0.0)


def _farthest(away: FloatArray) -> int:
    """The voxel that is farthest away, of those that are connected."""
    return int(np.where(np.isfinite(away), away, -1).argmax())


def _resampled(line: PointsRas, step: float) -> PointsRas:
    """Points along a line, ``step`` apart, smoothed over four of them; the ends stay."""
    from scipy.ndimage import gaussian_filter1d

    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    count = max(int(np.ceil(along[-1] / step)), 2) + 1
    places = np.linspace(0, along[-1], count)
    even = np.stack([np.interp(places, along, axis) for axis in line.T], 1)
    smooth = even + gaussian_filter1d(even - _straight(even), 2, axis=0, mode="constant") - (even - _straight(even))
    return np.concatenate([even[:1], smooth[1:-1], even[-1:]])


def _straight(line: PointsRas) -> PointsRas:
    """The straight way between the ends of a line, with as many points."""
    share = np.linspace(0, 1, len(line))[:, None]
    return np.asarray(line[0] + share * (line[-1] - line[0]))
