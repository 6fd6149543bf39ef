"""Fewer streaks around metal: its shadow in the projections is replaced by what its surroundings suggest.

Normalised metal artefact reduction (Meyer et al., Medical Physics 2010, doi:10.1118/1.3484090) on projections that are
computed from the slices.
"""

from __future__ import annotations

import numpy as np

from ..data.types import FloatArray, MaskArray, ScalarArray
from ..data.volume import Volume
from ..util.errors import InputError
from ..util.progress import Cancel, Progress, check
from .degradations import AIR_HU, squared
from .grids import slow_axis

METAL_HU = 2500.0
_LEAST_MM2 = 10.0  # of metal in a slice
_PIXEL_MM, _ANGLES = 1.5, np.linspace(0, 180, 240, endpoint=False)
_LOWEST_SOFT_HU, _LEAST_BONE_HU = -500.0, 300.0  # of the prior: what is between is soft tissue, as dense as water
_SMOOTH_MM = 2.0  # of the prior, against the streaks
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
    """A slice (J, I) with what its corrected projections differ by added. The metal stays."""
    from scipy.ndimage import binary_dilation, gaussian_filter, zoom
    from skimage.transform import iradon

    scale = spacing / _PIXEL_MM
    kinds = {"order": 1, "mode": "grid-constant", "grid_mode": True}
    small, part = squared(np.maximum(zoom(plane, scale, cval=AIR_HU, **kinds), AIR_HU), AIR_HU)
    marked = squared(zoom(metal.astype(np.float32), scale, **kinds), 0)[0] > _PARTLY
    blurred = gaussian_filter(np.where(marked, 0, small), _SMOOTH_MM / _PIXEL_MM)
    prior = np.where(blurred < _LOWEST_SOFT_HU, AIR_HU, np.where((blurred > _LEAST_BONE_HU) & ~marked, blurred, 0.0))

    shadow = _projected(binary_dilation(marked).astype(float)) > _PARTLY
    measured, expected = _projected(1 + small / 1000), np.maximum(_projected(1 + prior / 1000), 1.0)
    ratio, places = measured / expected, np.arange(len(measured))
    for column, hidden in zip(ratio.T, shadow.T, strict=True):
        if hidden.any() and not hidden.all():
            column[hidden] = np.interp(places[hidden], places[~hidden], column[~hidden])
    change = np.where(shadow, ratio * expected - measured, 0.0)
    image = 1000 * iradon(change, _ANGLES, output_size=len(small), circle=False)[part]
    fine = zoom(image, np.divide(plane.shape, image.shape), order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.where(metal, plane, plane + fine), np.float32)


def _projected(image: FloatArray) -> FloatArray:
    from skimage.transform import radon

    return np.asarray(radon(image, _ANGLES, circle=False), np.float64)
