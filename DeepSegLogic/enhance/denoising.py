"""Less noise: a U-Net that sees three slices at a time, and keeps the mean of each neighbourhood."""

from __future__ import annotations

import numpy as np
import torch

from ..data.types import ScalarArray
from ..data.volume import Volume
from ..util.progress import Cancel, Progress
from .grids import slow_axis
from .network import LOWEST_HU, Cleaner, corrections

KEPT_MM = 8.0  # Gaussian sigma: what is coarser than this stays as it was


def denoised(volume: Volume, cleaner: Cleaner, device: torch.device, progress: Progress, cancel: Cancel) -> ScalarArray:
    """A CT with less noise, (K, J, I) float32 HU on the same grid.

    The network only adds what is finer than 8 mm in the plane: the noise of a reconstruction has little power in
    coarser waves, and so the mean HU of an organ cannot drift.
    """
    from scipy.ndimage import gaussian_filter

    axis = slow_axis(volume)
    array = volume.array.astype(np.float32)
    found = corrections(cleaner, array, axis, device, progress, cancel)
    found[array < LOWEST_HU] = 0  # padding
    sigma = KEPT_MM / volume.spacing_kji
    sigma[axis] = 0
    found -= gaussian_filter(found, sigma, truncate=3.0)
    found += array
    return found
