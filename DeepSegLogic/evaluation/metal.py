"""Metal in a CT: two rods along the body, and the streaks that they cause."""

from __future__ import annotations

import numpy as np

from ..data.types import FloatArray, ScalarArray

_METAL_HU = 3071.0
_METAL_MU, _WATER_MU = 0.24, 0.019  # attenuation of titanium and water, 1/mm at about 70 keV
_SATURATION = 4.0  # attenuation that a beam with many energies never exceeds
_NOISE = 0.02  # of a projection through air
_BODY_HU = -300
_GAP_MM, _LENGTH_MM, _PIXEL_MM = 80.0, 60.0, 2.0
_ANGLES = np.linspace(0, 180, 180, endpoint=False)


def with_rods(array: ScalarArray, spacing_kji: FloatArray, radius_mm: float, rng: np.random.Generator) -> ScalarArray:
    """A CT with two metal rods, 80 mm apart and 60 mm long, in the middle of the body.

    The streaks are what filtered back-projection makes of the projections' errors: beam hardening, which saturates the
    attenuation, and the noise of few photons. They are the same in each slice of the rods.

    Args:
        array: (K, J, I) HU on a RAS grid.
        spacing_kji: mm.
        radius_mm: of the rods.
    """
    body = np.argwhere(array[1::4, 1::4, 1::4] > _BODY_HU)  # every fourth voxel says where the middle is
    k, j, i = 4 * body.mean(0) + 1 if len(body) else np.array(array.shape) / 2
    high, *plane = array.shape
    y, x = ((np.arange(n) - middle) * mm for n, middle, mm in zip(plane, (j, i), spacing_kji[1:], strict=True))
    away = np.min([np.hypot(y[:, None], x - side * _GAP_MM / 2) for side in (-1, 1)], 0)
    streaks = _streaks(plane, (j, i), spacing_kji[1:], radius_mm, rng)
    half = _LENGTH_MM / 2 / spacing_kji[0]
    result = array.copy()
    part = slice(max(0, round(k - half)), min(high, round(k + half) + 1))
    result[part] += streaks
    result[part, away <= radius_mm] = _METAL_HU
    return result


def _streaks(
    shape: list[int], middle: tuple[float, float], spacing: FloatArray, radius_mm: float, rng: np.random.Generator
) -> ScalarArray:
    """HU (J, I) that the errors of the rods' projections add; computed on square pixels of 2 mm."""
    from scipy.ndimage import map_coordinates
    from skimage.transform import iradon, radon

    places = [(np.arange(n) - m) * mm for n, m, mm in zip(shape, middle, spacing, strict=True)]
    size = 2 * int(max(np.abs(place).max() for place in places) / _PIXEL_MM) + 3
    y, x = (np.mgrid[:size, :size] - size // 2) * _PIXEL_MM
    rods = np.min([np.hypot(y, x - side * _GAP_MM / 2) for side in (-1, 1)], 0) <= radius_mm
    true = radon(rods.astype(float), _ANGLES, circle=False) * _PIXEL_MM * _METAL_MU
    measured = _SATURATION * (1 - np.exp(-true / _SATURATION))
    measured += _NOISE * (np.exp(measured / 2) - 1) * rng.standard_normal(true.shape)
    error = iradon(measured - true, _ANGLES, output_size=size, circle=False) / _PIXEL_MM
    at = np.meshgrid(*(place / _PIXEL_MM + size // 2 for place in places), indexing="ij")
    return np.asarray(1000 / _WATER_MU * map_coordinates(error, at, order=1), np.float32)
