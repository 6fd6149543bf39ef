"""Slices, as their headers place them, on an even rectangular grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.types import Affine, FloatArray
from ...util.errors import InputError
from .files import Slice
from .scans import depths

_UNEVEN = 0.01  # of the spacing: explained by rounding in headers
_CORRECTABLE = 0.25  # of the spacing: slices are interpolated onto an even grid
_TILT_DEGREES, _MOST_TILT_DEGREES = 0.1, 50.0
_SIDEWAYS = 0.1  # of a voxel: slices are moved to where their headers place them
_AIR_HU = -1024


@dataclass
class Grid:
    """Where slices lie.

    Attributes:
        depth: of each slice along the normal, mm.
        shift: in-plane offset of each slice from the first, voxels (I, J).
        matrix: 4×4 of the even grid that begins with the first slice, LPS.
        tilt: angle between the normal and the line through first and last slice, degrees.
        uneven: largest difference of a distance between slices from the median, as a part of it.
        sideways: largest offset of a slice from the line through first and last slice, mm.
    """

    depth: FloatArray
    shift: FloatArray
    matrix: Affine
    tilt: float
    uneven: float
    sideways: float

    @property
    def straight(self) -> bool:
        """Whether the slices need no resampling."""
        return self.uneven <= _UNEVEN and self.tilt <= _TILT_DEGREES and not self.moved

    @property
    def moved(self) -> bool:
        """Whether slices lie beside the line through first and last slice."""
        return self.sideways > _SIDEWAYS * float(np.linalg.norm(self.matrix[:3, :2], axis=0).min())


def grid_of(slices: list[Slice], folder: Path, warnings: list[str]) -> Grid:
    """The grid of sorted slices.

    Raises:
        InputError: slices are missing, or lie beside each other rather than behind.
    """
    first, normal = slices[0], slices[0].normal
    depth = depths(slices)
    gaps = np.diff(depth)
    step = float(np.median(gaps))
    uneven = float(np.abs(gaps - step).max() / step)
    if uneven > _CORRECTABLE:
        at = int(np.argmax(np.abs(gaps - step)))
        raise InputError(
            f"Slices are missing in {folder}, or unevenly spaced: {_mm(gaps[at])} instead of {_mm(step)} between "
            f"{slices[at].name} and {slices[at + 1].name}. {' '.join(warnings)}".strip(),
            "Copy the whole series, or resample it onto an even grid.",
            code="input.dicom_gap",
        )
    in_plane = np.stack([first.orientation[:3] * first.spacing[1], first.orientation[3:] * first.spacing[0]], 1)
    offsets = np.stack([s.position - first.position for s in slices])
    aside = offsets - np.outer(offsets @ normal, normal)
    along = (depth - depth[0]) / (depth[-1] - depth[0])
    beside = np.linalg.norm(aside - np.outer(along, aside[-1]), axis=1)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(aside[-1]), depth[-1] - depth[0])))
    matrix = np.eye(4)
    matrix[:3, :2] = in_plane
    matrix[:3, 2] = normal * (depth[-1] - depth[0]) / (len(slices) - 1)
    matrix[:3, 3] = first.position
    shift = aside @ np.linalg.pinv(in_plane).T
    size = np.array([int(first.tags["columns"]), int(first.tags["rows"])])
    aslant = beside.max() > step and (np.ptp(shift, axis=0) >= size / 4).any()
    if aslant or tilt > _MOST_TILT_DEGREES:
        at = int(np.argmax(beside))
        raise InputError(
            f"The slices in {folder} do not lie behind each other: {slices[at].name} lies {beside[at]:.1f} mm to the "
            "side of the others.",
            "Choose the folder of one scan, or export the series again.",
            code="input.geometry",
        )
    return Grid(depth, shift, matrix, tilt, uneven, float(beside.max()))


def on_even_grid(
    array: npt.NDArray[Any], grid: Grid, modality: str | None, warnings: list[str]
) -> tuple[npt.NDArray[Any], Affine]:
    """Slices (K, J, I) interpolated linearly onto the even grid, which grows to hold all of them; and its matrix.

    What no slice covers is air.
    """
    from scipy.ndimage import shift as shifted

    low = np.floor(grid.shift.min(axis=0) + 1e-6)
    grown_i, grown_j = np.ceil(grid.shift.max(axis=0) - low - 1e-6).astype(int)
    air = _AIR_HU if modality == "CT" else float(array.min())
    straight = np.full((len(array), array.shape[1] + grown_j, array.shape[2] + grown_i), air, np.float32)
    for k, (moved_i, moved_j) in enumerate(grid.shift - low):
        padded = np.pad(array[k].astype(np.float32), ((0, grown_j), (0, grown_i)), constant_values=air)
        shifted(padded, (moved_j, moved_i), straight[k], order=1, mode="grid-constant", cval=air)
    depth = grid.depth
    even = np.linspace(depth[0], depth[-1], len(depth))
    upper = np.clip(np.searchsorted(depth, even), 1, len(depth) - 1)
    weight = ((even - depth[upper - 1]) / (depth[upper] - depth[upper - 1])).astype(np.float32)[:, None, None]
    matrix = grid.matrix.copy()
    matrix[:3, 3] += grid.matrix[:3, :2] @ low
    if grid.tilt > _TILT_DEGREES and not grid.moved:
        warnings.append(
            f"The gantry was tilted by {grid.tilt:.1f}°; the slices were resampled onto a rectangular grid."
        )
    if grid.moved:
        warnings.append(
            f"The slices do not lie on a line: they are shifted sideways by up to {grid.sideways:.1f} mm. Each was "
            "moved to where its header places it."
        )
    if grid.uneven > _UNEVEN:
        warnings.append(f"The slices are unevenly spaced (by up to {grid.uneven:.0%}); they were interpolated.")
    made = straight[upper - 1] * (1 - weight) + straight[upper] * weight
    return made if array.dtype.kind == "f" else np.rint(made), matrix


def _mm(distance: float) -> str:
    return f"{distance:.2f} mm" if distance >= 0.1 else f"{distance:.3g} mm"
