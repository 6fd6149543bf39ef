"""What makes a CT worse: few photons and thick slices. For pairs to learn from, and for measuring what helps."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ..data.types import FloatArray, ScalarArray

AIR_HU = -1000.0
WATER_MU = 0.019  # attenuation of water, 1/mm at about 70 keV
REFERENCE_MM = 300.0  # diameter of the water cylinder in whose middle a noise level is stated
_PIXEL_MM, _ANGLES = 8.0, np.linspace(0, 180, 24, endpoint=False)  # of the map of noise levels, which is smooth
_STARVED = 9.0  # attenuation beyond which scanners raise the current


def low_dose(
    array: ScalarArray, spacing_kji: FloatArray, sd_hu: float, cutoff: float, rng: np.random.Generator
) -> ScalarArray:
    """A CT with the noise of fewer photons.

    Filtered back-projection gives a pixel the sum of its rays' variances, each the exponential of the ray's
    attenuation: noise grows with the body and is largest in its middle. Its spectrum is that of the ramp filter and a
    reconstruction kernel; slices are independent (Riederer et al., Phys Med Biol 1978, doi:10.1088/0031-9155/23/3/008).

    Args:
        array: (K, J, I) HU, K across the slices.
        spacing_kji: mm.
        sd_hu: standard deviation in the middle of a water cylinder 300 mm wide.
        cutoff: of the kernel, cycles per mm; 0.3 is soft, 0.7 sharp.
        rng: random numbers.
    """
    noise = np.stack([_shaped(array.shape[1:], spacing_kji[1:], cutoff, rng) for _ in array])
    levels = np.stack([noise_levels(plane, spacing_kji[1:]) for plane in array])
    return np.asarray(array + np.float32(sd_hu) * levels * noise, np.float32)


def _shaped(shape: tuple[int, ...], spacing_ji: FloatArray, cutoff: float, rng: np.random.Generator) -> ScalarArray:
    """Noise (J, I) with a standard deviation of 1 and the spectrum of a reconstruction."""
    y, x = (np.fft.fftfreq(n, mm) for n, mm in zip(shape, spacing_ji, strict=True))
    frequency = np.hypot(y[:, None], x[: shape[1] // 2 + 1])
    spectrum = np.fft.rfft2(rng.standard_normal(shape, np.float32))
    spectrum *= np.sqrt(frequency) * np.exp(-((frequency / cutoff) ** 2))
    noise = np.fft.irfft2(spectrum, shape)
    return np.asarray(noise / max(noise.std(), 1e-6), np.float32)


def noise_levels(plane: ScalarArray, spacing_ji: FloatArray) -> ScalarArray:
    """The noise in each pixel of a slice (J, I) in HU, relative to the middle of a water cylinder 300 mm wide."""
    from scipy.ndimage import zoom
    from skimage.transform import iradon, radon

    scale = np.asarray(spacing_ji) / _PIXEL_MM
    square, part = squared(zoom(plane, scale, order=1, mode="grid-constant", cval=AIR_HU, grid_mode=True), AIR_HU)
    mu = WATER_MU * np.clip(1 + square / 1000, 0, 4)
    rays = np.minimum(radon(mu, _ANGLES, circle=False) * _PIXEL_MM, _STARVED)
    kinds = {"output_size": len(square), "filter_name": None, "circle": False}
    seen = iradon(np.exp(rays), _ANGLES, **kinds)[part] * 2 / np.pi
    relative = np.sqrt(np.maximum(seen, 1e-3) / np.exp(WATER_MU * REFERENCE_MM))
    exact = np.divide(plane.shape, relative.shape)
    fine = zoom(relative, exact, order=1, mode="nearest", grid_mode=True)
    return np.asarray(fine, np.float32)


def squared(plane: ScalarArray, fill: float) -> tuple[ScalarArray, tuple[slice, slice]]:
    """A plane in the middle of a square, as scikit-image projects it, and the plane's place there."""
    side = max(plane.shape)
    low = [(side - n) // 2 for n in plane.shape]
    pads = [(start, side - n - start) for start, n in zip(low, plane.shape, strict=True)]
    j, i = (slice(start, start + n) for start, n in zip(low, plane.shape, strict=True))
    return np.pad(plane, pads, constant_values=fill), (j, i)


def slice_profile(factor: int) -> FloatArray:
    """How much each of the thin slices around a thick one's centre counts: a trapezoid as wide as ``factor`` slices at
    half of its height; sums to 1."""
    reach = int(0.75 * factor)
    away = np.abs(np.arange(-reach, reach + 1))
    weights = np.clip((0.75 * factor - away) / (0.5 * factor), 0, 1)
    return np.asarray(weights / weights.sum(), np.float64)


def thickened(array: ScalarArray, factor: int, axis: int) -> ScalarArray:
    """Slices ``factor`` times as thick and as far apart, centred on the first slice and each ``factor``-th after it."""
    from scipy.ndimage import correlate1d

    blurred = correlate1d(array.astype(np.float32, copy=False), slice_profile(factor), axis, mode="nearest")
    kept = [slice(None)] * array.ndim
    kept[axis] = slice(None, None, factor)
    return np.ascontiguousarray(blurred[tuple(kept)])


def between(array: ScalarArray, factor: int, axis: int, order: int = 3) -> ScalarArray:
    """``factor - 1`` slices interpolated between each two, with cubic splines by default; the given ones stay."""
    from scipy.ndimage import zoom

    scale = [1.0] * array.ndim
    scale[axis] = ((array.shape[axis] - 1) * factor + 1) / array.shape[axis]
    return np.asarray(
        zoom(array.astype(np.float32, copy=False), scale, order=cast("Any", order), mode="nearest"), np.float32
    )
