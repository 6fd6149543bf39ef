"""A region of interest: a box in the patient, or a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, LabelArray, MaskArray
from ..data.volume import Volume
from ..util.errors import InputError, UsageError

Roi = Sequence[float] | npt.NDArray[Any]
"""Two opposite corners of a box in RAS mm (R1, A1, S1, R2, A2, S2), or a mask (K, J, I) on the volume's grid."""


def region_mask(volume: Volume, roi: Roi) -> MaskArray:
    """The voxels of interest, (K, J, I) bool: those of the mask, or those whose centres lie in the box.

    Raises:
        UsageError: neither a box nor a mask of the volume's size.
        InputError: no voxel lies in it.
    """
    roi = np.asarray(roi)
    mask: MaskArray
    if roi.shape == volume.shape_kji:
        mask = roi != 0
    elif roi.shape == (6,) and np.isfinite(roi).all():
        mask = _in_box(volume, np.minimum(roi[:3], roi[3:]), np.maximum(roi[:3], roi[3:]))
    else:
        raise UsageError(
            f"A region of interest of shape {roi.shape} does not fit the volume, whose shape is {volume.shape_kji}.",
            "Give six numbers (R1,A1,S1,R2,A2,S2 in mm) or a mask on the volume's grid.",
            code="usage.region",
        )
    if not mask.any():
        raise InputError(
            f"The region of interest holds no voxel of {volume.name}.",
            "Give a region inside the volume; a box is in RAS mm.",
            code="input.region",
        )
    return mask


def cut_by(region: MaskArray, labels: LabelArray) -> set[int]:
    """Values of the labels (K, J, I) that reach the border of a region, but for where it ends with the volume."""
    found: set[int] = set()
    for axis in range(3):
        low, high = (
            tuple(part if a == axis else slice(None) for a in range(3)) for part in (slice(-1), slice(1, None))
        )
        for here, beside in ((low, high), (high, low)):
            found.update(np.unique(labels[here][region[here] & ~region[beside]]).tolist())
    return found - {0}


def _in_box(volume: Volume, low: FloatArray, high: FloatArray) -> MaskArray:
    """Exact on oblique grids too."""
    depth, height, width = volume.shape_kji
    inside = np.ones(volume.shape_kji, bool)
    j, i = np.arange(height)[:, None], np.arange(width)
    for k in range(depth):  # slice by slice, since coordinates take much memory
        for world in range(3):
            per_i, per_j, per_k, origin = volume.ijk_to_ras[world]
            where = per_i * i + per_j * j + per_k * k + origin  # in the order of `affine.ijk_to_ras_points`
            inside[k] &= (where >= low[world]) & (where <= high[world])
    return inside
