"""Checks whether a volume can be segmented, before the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..util.errors import InputError
from ..util.words import counted, minus_text
from .records import on_same_grid
from .types import VolumeArray
from .volume import Volume

AIR_HU = -500
SMALLEST_RANGE_HU = 100
CT_RANGE_HU = (-3100, 32767)  # metal reaches the end of the 16-bit range
PADDING_HU = -1200  # lower values only pad the volume outside the field of view: -2000, -3024, -32768
BONE_HU, MOST_BONE = 600, 0.25  # 0.3 % of an abdominal CT is above, 5 % of its densest part
SOFT_HU, LEAST_SOFT = (-200, 300), 0.005
SIZE_MM = (2.0, 20_000.0)  # of the longest side; outside this range the unit is not mm
SMALL_MM = 10.0  # a part of a patient is longer
GIVE_THE_CT = "Choose the CT that it was drawn on."
SEGMENTATION = "It looks like a segmentation: whole regions of it hold the same whole number."
LOOK_VOXELS = 2_000_000  # larger volumes are sampled where fractions are computed


def reject_unusable(volume: Volume) -> tuple[float, float]:
    """The lowest and highest value of a volume.

    Raises:
        InputError: no model can use the volume: it is not 3D, is empty, or has no usable voxel size.
    """
    reject_unusable_grid(volume)
    return reject_unusable_voxels(volume.array, volume.name)


def reject_unusable_grid(volume: Volume) -> None:
    """Check all but the voxels of a volume.

    Raises:
        InputError: as :func:`reject_unusable`.
    """
    array = volume.array
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"{volume.name} is not a 3D volume: its size is {'×'.join(map(str, array.shape[::-1]))}.",
            "Choose a 3D scalar volume.",
            code="input.dimension",
        )
    if not np.isfinite(volume.ijk_to_ras).all() or (volume.spacing_ijk <= 0).any():
        raise InputError(
            f"{volume.name} has no usable voxel size ({volume.spacing_ijk} mm).",
            "Correct its header.",
            code="input.spacing",
        )
    longest = float((volume.spacing_kji * array.shape).max())
    if not SIZE_MM[0] <= longest <= SIZE_MM[1]:
        raise InputError(
            f"{volume.name} is {longest:.0f} mm long: its voxel size seems to be in another unit than mm.",
            "Correct its header.",
            code="input.spacing",
        )


def reject_unusable_voxels(array: npt.NDArray[np.generic], name: Path | str) -> tuple[float, float]:
    """The lowest and highest voxel value.

    Raises:
        InputError: a voxel is NaN or infinite, or all have the same value.
    """
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # a single NaN makes both NaN
        raise not_finite(name, int(array.size - np.isfinite(array).sum()))
    if low == high:
        raise InputError(f"{name} is empty: all its voxels are {low}.", "Choose another volume.", code="input.empty")
    return float(low), float(high)


def not_finite(name: Path | str, count: int) -> InputError:
    """The error for voxels that are NaN or infinite."""
    return InputError(
        f"{name} has {counted(count, 'voxel')} whose value is NaN or infinite.",
        "Replace them: in a CT by −1024 HU (air), in a label map by 0 (background).",
        code="input.not_finite",
    )


def ct_doubts(volume: Volume, greys: tuple[float, float]) -> tuple[list[str], list[str]]:
    """Checks whether a volume is a CT in HU, by its header and its values.

    Args:
        greys: its lowest and highest value, as :func:`reject_unusable` returns them.

    Returns:
        reasons to refuse it, and reasons to warn; one sentence each, none for an ordinary CT.
    """
    if volume.modality not in (None, "CT"):
        return [f"Its header says {volume.modality}."], []
    array, (low, high) = volume.array, greys
    if high > CT_RANGE_HU[1] or (low < CT_RANGE_HU[0] and not _one_value_fills(array, low)):
        return [f"Its values reach from {minus_text(low)} to {minus_text(high)}, beyond what HU can be."], []
    step = max(1, round((array.size / LOOK_VOXELS) ** (1 / 3)))
    look = array[::step, ::step, ::step]
    beside = ""
    if low < PADDING_HU < high:
        low, beside = _lowest_beside_padding(look, high), " beside padding"
        if low > AIR_HU or high - low < SMALLEST_RANGE_HU:  # else all that is asked below is answered
            low = _lowest_beside_padding(array, high)
    if low >= 0 and _holds_labels(array):
        return [SEGMENTATION], []
    if low >= 0:
        return [f"It has no negative values (lowest{beside}: {minus_text(low)}), but fat and air are below 0 HU."], []
    if high - low < SMALLEST_RANGE_HU:
        return [f"Its values span only {high - low:g}, less than soft tissue and air in HU."], []
    bone = (look > BONE_HU).mean()
    if bone > MOST_BONE:
        return [f"{bone:.0%} of it is above {BONE_HU} HU, as dense as bone: its values may be shifted up."], []
    sentences = []
    if low > AIR_HU:
        sentences.append(
            f"It has no air (lowest value{beside}: {minus_text(low)}); lungs and the surroundings are near −1000 HU."
        )
    if ((look > SOFT_HU[0]) & (look < SOFT_HU[1])).mean() < LEAST_SOFT:
        soft = " to ".join(map(minus_text, SOFT_HU))
        sentences.append(f"It has hardly any soft tissue ({soft} HU): its values may be shifted down.")
    longest = float((volume.spacing_kji * array.shape).max())
    size_doubts = []
    if longest < SMALL_MM:
        size_doubts.append(f"It is only {longest:.2g} mm long. Check its voxel size: models are made for human bodies.")
    elif np.array_equal(np.abs(volume.ijk_to_ras), np.eye(4)):
        size_doubts.append(
            "Its voxels are exactly 1 × 1 × 1 mm and start at the origin, as in files that were written without their "
            "place in space. Check its voxel size: volumes and distances depend on it."
        )
    return ([], sentences + size_doubts) if volume.modality == "CT" else (sentences, size_doubts)


def is_in_hu(volume: Volume) -> bool:
    """Whether a volume's values are HU, as far as its header and its values tell; see :func:`ct_doubts`."""
    try:
        return not ct_doubts(volume, reject_unusable(volume))[0]
    except InputError:
        return False


def is_label_map_of(volume: Volume, other: Volume) -> bool:
    """Whether a volume on the voxels of another one looks like its label map, as many programs write them to NIfTI."""
    if not on_same_grid(volume, other):
        return False
    holds = [v.modality is None and v.array.min() >= 0 and _holds_labels(v.array) for v in (volume, other)]
    return holds == [True, False]


def _lowest_beside_padding(array: VolumeArray, high: float) -> float:
    return float(array.min(where=array > PADDING_HU, initial=high))


def _one_value_fills(array: VolumeArray, low: float) -> bool:
    """Whether the values too low to be HU are mostly one value, as padding is."""
    return bool(np.count_nonzero(array == low) > 0.9 * np.count_nonzero(array < CT_RANGE_HU[0]))


def _holds_labels(array: VolumeArray) -> bool:
    """Whether the values look like labels: neighbours are nearly always equal, which noise prevents in an image."""
    look = array[:: max(1, array.size // LOOK_VOXELS)]
    one, next_one = look[..., :-1], look[..., 1:]
    inside = (one > 0) & (next_one > 0)
    alike = np.count_nonzero((one == next_one) & inside)
    return array.dtype.kind in "iu" and bool(alike > 0.75 * np.count_nonzero(inside))
