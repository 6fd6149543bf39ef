"""Thinner slices: interpolated, sharpened by a U-Net, and made to agree with the slices that were scanned."""

from __future__ import annotations

import numpy as np
import torch

from ..data.types import Affine, ScalarArray
from ..data.volume import Volume
from ..util.errors import InputError, ResourceError
from ..util.free_memory import free_memory
from ..util.progress import Cancel, Progress, check, share
from ..util.words import counted
from .degradations import between, thickened
from .grids import slow_axis, thinner_by, thinner_matrix
from .network import LOWEST_HU, Cleaner, corrections

_LEAST_SLICES = 4
_ROUNDS = 5  # of the agreement with the scanned slices
_BYTES = 20  # of memory per new voxel


def with_thin_slices(
    volume: Volume, cleaner: Cleaner | None, device: torch.device, progress: Progress, cancel: Cancel
) -> tuple[ScalarArray, Affine]:
    """A CT with thinner slices, (K, J, I) float32 HU, and its 4×4 matrix.

    The scanned slices keep their places: see :func:`~DeepSegLogic.enhance.grids.thinner_matrix`. The new slices,
    averaged over the old thickness, give the scanned ones again (iterative back-projection: Irani & Peleg, CVGIP 1991,
    doi:10.1016/1049-9652(91)90045-L).

    Args:
        cleaner: None to interpolate only.

    Raises:
        InputError: the slices are thin already, or there are too few.
        ResourceError: not enough memory.
    """
    axis, factor = slow_axis(volume), thinner_by(volume)
    _check(volume, axis, factor)
    array = volume.array.astype(np.float32)
    fine = between(array, factor, axis)
    check(cancel)
    if cleaner is not None:
        padding = fine < LOWEST_HU
        others = [a for a in range(3) if a != axis]
        found = [
            corrections(cleaner, fine, across, device, share(progress, n / 2, (n + 1) / 2), cancel)
            for n, across in enumerate(others)
        ]
        found[0] += found[1]
        found[0] /= 2
        found[0][padding] = 0
        fine += found[0]
    for n in range(_ROUNDS):
        check(cancel)
        progress("enhance", 1.0 if cleaner is not None else n / _ROUNDS, "agreement with the scanned slices")
        fine += between(array - thickened(fine, factor, axis), factor, axis, order=1)
    return fine, thinner_matrix(volume.ijk_to_ras, axis, factor)


def _check(volume: Volume, axis: int, factor: int) -> None:
    if volume.array.shape[axis] < _LEAST_SLICES:
        raise InputError(
            f"{volume.name} has {counted(volume.array.shape[axis], 'slice')}, too few to find what lies between them.",
            f"Choose a CT of {_LEAST_SLICES} slices or more.",
            code="input.slices",
        )
    if factor == 1:
        spacing = " × ".join(f"{s:.3g}" for s in volume.spacing_ijk)
        raise InputError(
            f"The slices of {volume.name} are thin already: its voxels are {spacing} mm.",
            "Use it as it is.",
            code="input.thin",
        )
    needed, free = _BYTES * volume.array.size * factor, free_memory()
    if needed > free:
        raise ResourceError(
            f"Thinner slices of {volume.name} need {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free.",
            "Crop the volume to the region that you need.",
            code="resource.memory",
        )
