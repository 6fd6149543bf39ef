"""Perturbations of a CT, for stress tests: what other scanners, protocols and positions do to an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from ..data.affine import orientation_of, reorient, sampled, spacing_kji
from ..data.boxes import matrix_of, whole
from ..data.label_map import LabelMap
from ..data.records import GridRecord
from ..data.types import Affine, ScalarArray
from ..data.volume import Volume, compact
from .metal import with_rods

AIR_HU, HIGHEST_HU = -1024.0, 3071.0


@dataclass(frozen=True)
class Perturbation:
    """A perturbation: of grey values, of the position, or of the field of view.

    Attributes:
        name, unit: for tables; the unit is that of the levels.
        levels: the mildest first.
        on_values: new voxels (K, J, I) in HU of a volume, for a level.
        motion: 4×4 matrix in RAS mm about the volume's centre, for a level.
        crops: whether the level is the percentage along the body that is kept.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    on_values: Callable[[Volume, float, np.random.Generator], npt.NDArray[Any]] | None = None
    motion: Callable[[float], Affine] | None = None
    crops: bool = False

    def volume(self, volume: Volume, level: float, rng: np.random.Generator) -> Volume:
        """The perturbed volume."""
        array = self.on_values(volume, level, rng) if self.on_values else volume.array
        array, matrix = self._placed(replace(volume, array=array), level, 1, AIR_HU)
        return replace(volume, array=compact(np.rint(np.clip(array, AIR_HU, HIGHEST_HU))), ijk_to_ras=matrix)

    def labels(self, label_map: LabelMap, level: float) -> LabelMap:
        """A label map of the volume, moved or cropped with it, with nearest neighbours."""
        array, matrix = self._placed(label_map, level, 0, 0)
        return replace(label_map, array=np.ascontiguousarray(array, label_map.array.dtype), ijk_to_ras=matrix)

    def _placed(self, grid: GridRecord, level: float, order: Any, outside: float) -> tuple[npt.NDArray[Any], Affine]:
        if self.crops:
            axis, box = body_axis(grid.ijk_to_ras), list(whole(grid.shape_kji))
            size = grid.shape_kji[axis]
            kept = max(2, round(size * level / 100))
            below = (size - kept) // 2
            first = below if "S" in orientation_of(grid.ijk_to_ras) else size - kept - below  # alike on flipped grids
            box[axis] = slice(first, first + kept)
            k, j, i = box
            return grid.array[k, j, i], matrix_of((k, j, i), grid.ijk_to_ras)
        if self.motion is None:
            return grid.array, grid.ijk_to_ras
        middle = np.eye(4)
        middle[:3, 3] = (grid.ijk_to_ras @ [*((n - 1) / 2 for n in grid.shape_ijk), 1])[:3]
        source = middle @ np.linalg.inv(self.motion(level)) @ np.linalg.inv(middle) @ grid.ijk_to_ras
        moved = sampled(grid.array, grid.ijk_to_ras, grid.shape_kji, source, order=order, cval=outside)
        return moved, grid.ijk_to_ras


def body_axis(ijk_to_ras: Affine) -> int:
    """The array axis that runs along the body, nearest to S."""
    return 2 - next(n for n, letter in enumerate(orientation_of(ijk_to_ras)) if letter in "SI")


def _noise(volume: Volume, sd: float, rng: np.random.Generator) -> ScalarArray:
    return volume.array + np.float32(sd) * rng.standard_normal(volume.shape_kji, np.float32)


def _blur(volume: Volume, sigma_mm: float, _: np.random.Generator) -> ScalarArray:
    blurred: ScalarArray = gaussian_filter(volume.array.astype(np.float32), sigma_mm / volume.spacing_kji)
    return blurred


def _sharp(volume: Volume, amount: float, _: np.random.Generator) -> ScalarArray:
    """A kernel that raises what is as fine as voxels, and noise with it: unsharp masking."""
    values = volume.array.astype(np.float32)
    sharp: ScalarArray = values + np.float32(amount) * (values - gaussian_filter(values, 1.0))
    return sharp


def _thick(volume: Volume, thickness_mm: float, _: np.random.Generator) -> ScalarArray:
    """Slices averaged over this thickness, each repeated to keep the grid."""
    axis = body_axis(volume.ijk_to_ras)
    step = max(1, round(thickness_mm / float(spacing_kji(volume.ijk_to_ras)[axis])))
    slices = np.moveaxis(volume.array, axis, 0)
    starts = np.arange(0, len(slices), step)
    counts = np.diff([*starts, len(slices)])
    means = np.add.reduceat(slices, starts, dtype=np.float32) / counts[:, None, None].astype(np.float32)
    return np.moveaxis(np.repeat(means, counts, 0), 0, axis)


def _metal(volume: Volume, radius_mm: float, rng: np.random.Generator) -> npt.NDArray[Any]:
    array, matrix = reorient(volume.array.astype(np.float32), volume.ijk_to_ras, "RAS")
    array[:] = with_rods(array, spacing_kji(matrix), radius_mm, rng)
    return reorient(array, matrix, orientation_of(volume.ijk_to_ras))[0]


def _shifted(mm: float) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = mm / np.sqrt(3)
    return matrix


def _turned(degrees: float) -> Affine:
    """About the axis from feet to head."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = [[c, -s], [s, c]]
    return matrix


PERTURBATIONS = (
    Perturbation("Noise", "HU", (20, 50, 100), _noise),
    Perturbation("Blur", "mm", (1, 2, 4), _blur),
    Perturbation("Sharp kernel", "×", (1, 2, 4), _sharp),
    Perturbation("Thick slices", "mm", (5, 10, 15), _thick),
    Perturbation("Metal rods", "mm", (3, 6, 12), _metal),
    Perturbation("Shift", "mm", (5, 20, 40), motion=_shifted),
    Perturbation("Rotation", "°", (5, 15, 30), motion=_turned),
    Perturbation("Field of view", "%", (75, 50, 25), crops=True),
)
"""All perturbations; levels are standard deviations, sigmas, factors, thicknesses, radii, distances, angles, shares."""
