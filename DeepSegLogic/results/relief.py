"""The structures of a label map in 3D, seen from the front, as a shaded relief.

Drawn from the frontmost voxels alone, so it takes time and memory for one slice, however many structures there are
and however rough their surfaces, and needs no graphics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.boxes import box_of
from ..data.types import FloatArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float32s: TypeAlias = npt.NDArray[np.float32]

_SMOOTH_MM = 2.0
_MARGIN = 0.06  # of the picture, on each side
LIGHT = np.array([-0.35, 0.45, 0.82])  # towards it: left in the picture, up, to the viewer
AMBIENT = 0.3
_FAINT = 1e-3  # of a pixel
_REACH = 4.0  # standard deviations of a filter


def relief(
    labels: npt.NDArray[Any],
    spacing: FloatArray,
    palette: npt.NDArray[np.uint8],
    background: tuple[int, int, int],
    size: int,
) -> npt.NDArray[np.uint8]:
    """A picture from the front: the patient's right is on the left, the head is at the top.

    Args:
        labels: (K, J, I) on a RAS grid; 0 is background.
        spacing: of (K, J, I), mm.
        palette: color by label value (N, 3).
        background: RGB.
        size: of the square picture in pixels.

    Returns:
        (size, size, 3) RGB.
    """
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = background
    box = box_of(labels)
    if box is None:
        return picture.astype(np.uint8)
    seen, depth = _frontmost(labels[box])
    pixel = pixel_mm(labels[box].shape, spacing, size)
    sharp, soft = (
        [_weights(n, s, pixel, size, max(sigma, share * s)) for n, s in zip(seen.shape, spacing[[0, 2]], strict=True)]
        for sigma, share in ((0.45 * pixel, 0.45), (_SMOOTH_MM, 0.6))
    )
    deep = depth.astype(np.float32) * np.float32(spacing[1])
    total, best = np.zeros((2, size, size), np.float32)
    for value in np.unique(seen[seen > 0]):
        mask = (seen == value).astype(np.float32)
        held = [_span(mask.any(1 - axis)) for axis in (0, 1)]
        reached = [np.asarray(weights[:, part].sum(1)) > _FAINT for weights, part in zip(sharp, held, strict=True)]
        window = tuple(map(_span, reached))
        near = [
            [weights[pixels, part] for weights, pixels, part in zip(filters, window, held, strict=True)]
            for filters in (sharp, soft)
        ]
        part = tuple(held)
        share = _drawn(mask[part], near[0])
        weight = np.maximum(_drawn(mask[part], near[1]), _FAINT)
        light = _brightness(np.asarray(_drawn((mask * deep)[part], near[1]) / weight, np.float32), pixel)
        total[window] += share
        front = share > best[window]
        best[window][front] = share[front]
        picture[window][front] = (light[..., None] * palette[value])[front]
    opacity = np.clip(4 * (total - 0.5) + 0.5, 0, 1)[..., None]
    return np.asarray(np.clip(opacity * picture + (1 - opacity) * background, 0, 255), np.uint8)


def pixel_mm(shape: Sequence[int], spacing: FloatArray, size: int) -> float:
    """How many mm a pixel of a picture covers; the box of all labels is in its middle.

    Args:
        shape: of that box, (K, J, I).
        spacing, size: as for :func:`relief`.
    """
    return max(shape[0] * float(spacing[0]), shape[2] * float(spacing[2])) / size / (1 - 2 * _MARGIN)


def _frontmost(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """As a picture (rows, columns): the frontmost label, and how many voxels lie before it."""
    filled = labels[::-1, ::-1, ::-1] > 0  # RAS indices run up, to the front and to the patient's right
    depth = filled.argmax(1)
    seen = np.take_along_axis(labels[::-1, ::-1, ::-1], depth[:, None], 1)[:, 0]
    return seen, depth


def _weights(voxels: int, spacing: float, pixel: float, size: int, sigma: float) -> csr_array:
    """Weights (size, voxels) of a row of voxels, in the middle of the picture, at its pixels: a Gaussian filter."""
    from scipy.sparse import csr_array

    at_pixel = (np.arange(size) - (size - 1) / 2) * pixel
    at_voxel = (np.arange(voxels) - (voxels - 1) / 2) * spacing
    away = np.abs(at_pixel[:, None] - at_voxel) / sigma
    bell = np.where(away < _REACH, np.exp(-0.5 * away**2), 0)
    return csr_array((bell * (spacing / (sigma * np.sqrt(2 * np.pi)))).astype(np.float32))


def _drawn(values: Float32s, weights: list[csr_array]) -> Float32s:
    """Values of voxels at pixels."""
    down, right = weights
    return np.asarray((right @ (down @ values).T).T, np.float32)


def _span(marks: npt.NDArray[np.bool_]) -> slice:
    """From the first mark to the last one, but two elements at least."""
    at = np.flatnonzero(marks)
    return slice(max(0, at[0] - 1), at[-1] + 2)


def _brightness(deep: Float32s, pixel: float) -> Float32s:
    """Lambert's law for a surface of this depth; pixels and depth in mm."""
    down, right = np.gradient(deep, pixel)
    slope = right * LIGHT[0] - down * LIGHT[1] + LIGHT[2]
    diffuse = slope / np.sqrt((1 + right**2 + down**2) * (LIGHT @ LIGHT))
    return np.asarray(AMBIENT + (1 - AMBIENT) * np.maximum(diffuse, 0), np.float32)
