"""Distances, smoothing and interpolation of the voxels around a prompt, one axis after the other, in NumPy alone.

SciPy has all of them, but its import takes several times as long as a correction, which is all that many processes do.
SimpleITK's exact distances (Maurer) do not see single voxels, such as a click, and its Gaussian has another kernel.
All results are mirrored if the voxels are: no sum depends on the direction of an axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..data.boxes import whole
from ..data.types import FloatArray, MaskArray, ScalarArray, Slices

_SLAB = 2**16  # voxels

_Parameter = TypeVar("_Parameter")
_Array = npt.NDArray[Any]


def distance_to(marked: MaskArray, spacing: FloatArray, furthest: float = np.inf) -> ScalarArray:
    """Distance of each voxel to the nearest marked one in mm, float32 (K, J, I); infinite beyond the furthest, or if
    none is marked (separable squared distances; Saito and Toriwaki, Pattern Recognition 1994).

    Args:
        spacing: mm along (K, J, I).
        furthest: mm; the smaller, the faster.
    """

    def nearest(squared: ScalarArray, step: float) -> ScalarArray:
        """The planes from the first to the last with a marked voxel, spread over those near them."""
        found, planes = np.full_like(squared, np.inf), np.flatnonzero(np.isfinite(squared).any((1, 2)))
        first, last = (planes[0], planes[-1]) if len(planes) else (0, -1)
        most = int(min(furthest / step + 1, len(squared)))
        for n in range(-min(most, last), min(most, len(squared) - 1 - first) + 1):
            low, high = max(first + n, 0), min(last + n + 1, len(squared))
            near = found[low:high]
            np.minimum(near, squared[low - n : high - n] + np.float32((n * step) ** 2), out=near)
        return found

    found = np.sqrt(_along_axes(nearest, np.where(marked, np.float32(0), np.float32(np.inf)), spacing))
    found[found > furthest] = np.inf
    return found


def filled(mask: MaskArray) -> MaskArray:
    """The mask with all holes: voxels from which no path over faces outside of it leads out of the array."""
    import SimpleITK as sitk

    free = sitk.GetImageFromArray(np.pad(~mask, 1, constant_values=True).astype(np.uint8))
    outside = sitk.ConnectedThreshold(free, [(0, 0, 0)], lower=1, upper=1)
    return np.asarray(sitk.GetArrayViewFromImage(outside)[1:-1, 1:-1, 1:-1] == 0)


def gaussian(array: _Array, sigma: npt.ArrayLike, widths: float = 4.0) -> _Array:
    """The array (K, J, I) smoothed by a Gaussian, and mirrored at its ends.

    Args:
        sigma: standard deviation in voxels, one number or (K, J, I).
        widths: standard deviations at which the kernel ends.
    """
    return _along_axes(partial(_smoothed, widths=widths), array, np.broadcast_to(sigma, 3))


def resampled(
    array: _Array,
    steps: npt.ArrayLike,
    shape: npt.ArrayLike,
    part: Slices | None = None,
    sigma: npt.ArrayLike = 0.0,
    dtype: type[np.floating[Any]] = np.float32,
) -> _Array:
    """Linear interpolation on a grid with the same middle, and voxels larger by factors along (K, J, I).

    Args:
        part: (K, J, I) slices of the new grid that are wanted; None: all of it.
        sigma: of a :func:`gaussian` before.
        dtype: in which it is computed.
    """

    def at_places(values: _Array, parameters: tuple[float, FloatArray]) -> _Array:
        return _interpolated(_smoothed(values.astype(dtype, copy=False), parameters[0]), parameters[1])

    shape = np.asarray(shape)
    steps, sigma = np.broadcast_to(steps, 3), np.broadcast_to(sigma, 3)
    places = [
        (np.arange(s.start, s.stop) - (new - 1) / 2) * step + (old - 1) / 2
        for s, new, step, old in zip(part or whole(shape.tolist()), shape, steps, array.shape, strict=True)
    ]
    return _along_axes(at_places, array, zip(sigma, places, strict=True))


def _smoothed(values: _Array, sigma: float, widths: float = 4.0) -> _Array:
    """Along the first axis."""
    reach, count = int(widths * sigma + 0.5), len(values)
    kernel = np.exp(-0.5 * (np.arange(reach + 1) / max(sigma, 1e-9)) ** 2).astype(values.dtype)
    kernel /= kernel[0] + 2 * kernel[1:].sum()
    around = np.pad(values, [(reach, reach), (0, 0), (0, 0)], "symmetric")
    found: _Array = kernel[0] * values
    for n in range(1, reach + 1):
        found += kernel[n] * (around[reach - n :][:count] + around[reach + n :][:count])
    return found


def _interpolated(values: _Array, at: FloatArray) -> _Array:
    """Along the first axis, at some places in voxels."""
    at = np.clip(at, 0, len(values) - 1)
    low = at.astype(int)
    first, second = (weights.astype(values.dtype)[:, None, None] for weights in (low + 1 - at, at - low))
    return np.asarray(values[low] * first + values[np.minimum(low + 1, len(values) - 1)] * second)


def _along_axes(
    function: Callable[[_Array, _Parameter], _Array], array: _Array, parameters: Iterable[_Parameter]
) -> _Array:
    """A 3D array after a function of its first axis was applied along each axis, with a parameter for each.

    It is applied to slabs that stay in the processor's cache. Each time, the first axis becomes the last one, so that
    all are in their order again in the end.
    """
    for parameter in parameters:
        width = max(_SLAB * array.shape[1] // max(array.size, 1), 1)
        slabs = [function(array[:, n : n + width], parameter) for n in range(0, array.shape[1], width)]
        array = np.concatenate([np.ascontiguousarray(np.moveaxis(slab, 0, -1)) for slab in slabs])
    return array
