"""Is this volume something a model can work on? Said in plain words before the run."""

from __future__ import annotations

import numpy as np

from .errors import InputError
from .volume import Volume

AIR_HU = -500
SMALLEST_RANGE_HU = 100
CT_RANGE_HU = (-3100, 32000)  # some scanners pad with -3024; metal reaches the end of the 16-bit range


def reject_unusable(volume: Volume) -> None:
    """Raise :class:`InputError` for a volume that no model can use."""
    array = volume.array
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(
            f"{volume.name} is not a 3D volume: its size is {'×'.join(map(str, array.shape[::-1]))}.",
            "Choose a 3D scalar volume.",
            code="input.dimension",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        count = int(array.size - np.isfinite(array).sum())
        raise InputError(
            f"{volume.name} has {count} voxels that are not numbers (NaN or infinite).",
            "Replace them, for instance by -1024 HU (air), and try again.",
            code="input.not_finite",
        )
    if array.min() == array.max():
        raise InputError(
            f"{volume.name} is empty: all its voxels are {array.flat[0]}.",
            "Choose another volume.",
            code="input.empty",
        )
    if not np.isfinite(volume.ijk_to_ras).all() or (volume.spacing <= 0).any():
        raise InputError(
            f"{volume.name} has no usable voxel size ({volume.spacing}).",
            "Correct its header.",
            code="input.spacing",
        )


def ct_doubts(volume: Volume) -> tuple[list[str], list[str]]:
    """Whether a volume is a CT in HU, judged by its header and its values.

    Returns:
        reasons to refuse it, and reasons to look twice; one sentence each, none for an ordinary CT.
    """
    if volume.modality not in (None, "CT"):
        return [f"Its header says {volume.modality}."], []
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < CT_RANGE_HU[0] or high > CT_RANGE_HU[1]:
        return [f"Its values reach from {low:g} to {high:g}, beyond what HU can be."], []
    if low >= 0:
        return [f"It has no negative values (lowest: {low:g}), but fat and air are below 0 HU."], []
    if high - low < SMALLEST_RANGE_HU:
        return [f"Its values span only {high - low:g}, less than soft tissue and air in HU."], []
    if low > AIR_HU:
        sentence = f"It has no air (lowest value: {low:g}); lungs and the surroundings are near -1000 HU."
        return ([], [sentence]) if volume.modality == "CT" else ([sentence], [])
    return [], []
