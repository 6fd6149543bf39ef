"""Fewer streaks around metal: its shadow in the projections is replaced by what its surroundings suggest.

Interpolation of the projections, which are computed from the slices, relative to those of a prior image: as in
normalised metal artefact reduction (Meyer et al., Medical Physics 2010, doi:10.1118/1.3484090), with the difference
from the prior in place of the quotient, which is steadier where rays meet little but air.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.types import FloatArray, MaskArray, ScalarArray
from ..data.volume import Volume
from ..util.errors import InputError
from ..util.progress import Cancel, Progress, check
from .degradations import AIR_HU, squared
from .grids import slow_axis

METAL_HU = 2500.0
_LEAST_MM2 = 10.0  # of metal in a slice
_PIXEL_MM, _ANGLES = 1.5, np.linspace(0, 180, 180, endpoint=False)
_SOFT_HU, _TISSUE_HU = 250.0, 20.0  # what is between minus and plus the first is soft tissue, set to the second
_SMOOTH_MM, _AROUND_MM = 2.0, 6.0  # of the prior, against streaks, and where the metal is
_EDGE_MM = 4.0  # around metal, where projections of pixels say too little: it stays as it is
_PARTLY = 0.2  # share of a pixel, or pixels of a ray, from which on they are metal


def without_streaks(volume: Volume, progress: Progress, cancel: Cancel) -> ScalarArray:
    """A CT with fewer streaks, (K, J, I) float32 HU on the same grid; slices without metal and metal stay as they are.

    Raises:
        InputError: there is no metal in it.
    """
    axis = slow_axis(volume)
    spacing = np.delete(volume.spacing_kji, axis)
    slices = np.moveaxis(volume.array.astype(np.float32), axis, 0)
    metal = slices >= METAL_HU
    found = np.flatnonzero(metal.sum((1, 2)) * spacing.prod() >= _LEAST_MM2)
    if not len(found):
        raise InputError(
            f"{volume.name} has no metal: hardly a voxel is above {METAL_HU:g} HU.",
            "Use it as it is.",
            code="input.no_metal",
        )
    for n, k in enumerate(found):
        check(cancel)
        slices[k] = _cleaned(slices[k], metal[k], spacing)
        progress("enhance", (n + 1) / len(found), f"slice {n + 1} of {len(found)}")
    return np.ascontiguousarray(np.moveaxis(slices, 0, axis))


def _cleaned(plane: ScalarArray, metal: MaskArray, spacing: FloatArray) -> ScalarArray:
    """A slice (J, I) with what its corrected projections differ by added. Metal and its edge stay."""
    from scipy.ndimage import binary_dilation, zoom
    from skimage.transform import iradon

    scale = spacing / _PIXEL_MM
    kinds: dict[str, Any] = {"order": 1, "mode": "grid-constant", "grid_mode": True}
    small, part = squared(np.maximum(zoom(plane, scale, cval=AIR_HU, **kinds), AIR_HU), AIR_HU)
    marked = squared(zoom(metal.astype(np.float32), scale, **kinds), 0)[0] > _PARTLY
    prior = _prior(small, marked)
    shadow = _projected(marked.astype(float)) > _PARTLY
    measured, expected = _projected(1 + small / 1000), _projected(1 + prior / 1000)
    rest, places = measured - expected, np.arange(len(measured))
    for column, hidden in zip(rest.T, shadow.T, strict=True):
        if hidden.any() and not hidden.all():
            column[hidden] = np.interp(places[hidden], places[~hidden], column[~hidden])
    change = np.where(shadow, rest + expected - measured, 0.0)
    image = 1000 * iradon(change, _ANGLES, output_size=len(small), circle=False)[part]
    fine = zoom(image, np.divide(plane.shape, image.shape), order=1, mode="nearest", grid_mode=True)
    kept = binary_dilation(metal, iterations=max(1, round(_EDGE_MM / float(spacing.min()))))
    return np.asarray(np.where(kept, plane, plane + fine), np.float32)


def _prior(image: ScalarArray, metal: MaskArray) -> ScalarArray:
    """What the slice would be without metal, roughly: smoothed, and soft tissue all alike."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    hidden = binary_dilation(metal, iterations=2)
    sigma = _AROUND_MM / _PIXEL_MM
    known = np.maximum(gaussian_filter((~hidden).astype(np.float32), sigma), 1e-3)
    filled = np.where(hidden, gaussian_filter(np.where(hidden, 0, image), sigma) / known, image)
    smooth = gaussian_filter(filled, _SMOOTH_MM / _PIXEL_MM)
    return np.asarray(np.where(np.abs(smooth) < _SOFT_HU, _TISSUE_HU, smooth), np.float32)


def _projected(image: ScalarArray | FloatArray) -> FloatArray:
    from skimage.transform import radon

    return np.asarray(radon(image, _ANGLES, circle=False), np.float64)
