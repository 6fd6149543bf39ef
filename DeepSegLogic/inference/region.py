"""A region of interest: a box in the patient, or a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError, UsageError
from ..volume import Volume

Roi = Sequence[float] | np.ndarray
"""Two opposite corners of a box in RAS mm (R1, A1, S1, R2, A2, S2), or a mask (K, J, I) on the volume's grid."""


def region_mask(volume: Volume, roi: Roi) -> np.ndarray:
    """The voxels of interest, (K, J, I) bool: those of the mask, or whose centres lie in the box.

    Raises:
        UsageError: neither a box nor a mask of the volume's size.
        InputError: no voxel lies in it.
    """
    roi = np.asarray(roi)
    if roi.shape == volume.shape:
        mask = roi != 0
    elif roi.shape == (6,) and np.isfinite(roi).all():
        mask = _in_box(volume, np.minimum(roi[:3], roi[3:]), np.maximum(roi[:3], roi[3:]))
    else:
        raise UsageError(
            f"A region of interest of shape {roi.shape} does not fit the volume, whose shape is {volume.shape}.",
            "Give six numbers (R1,A1,S1,R2,A2,S2 in mm) or a mask on the volume's grid.",
            code="usage.region",
        )
    if not mask.any():
        raise InputError(
            f"The region of interest holds no voxel of {volume.name}.",
            "Give a region inside of the volume; a box is in RAS mm.",
            code="input.region",
        )
    return mask


def _in_box(volume: Volume, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Exact on oblique grids too; a coordinate is a sum of what each of the three indices adds."""
    inside = np.ones(volume.shape, bool)
    j, i = np.arange(volume.shape[1])[:, None], np.arange(volume.shape[2])
    for k in range(volume.shape[0]):  # slice by slice, for coordinates are float
        for world in range(3):
            per_i, per_j, per_k, origin = volume.ijk_to_ras[world]
            where = per_i * i + per_j * j + per_k * k + origin  # in the order of `geometry.ijk_to_ras_points`
            inside[k] &= (where >= low[world]) & (where <= high[world])
    return inside
