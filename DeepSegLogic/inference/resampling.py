"""Resampling of regular grids as one small matrix per axis.

Interpolation with splines is linear in the data and separable, so resampling a volume is three matrix
products, which run at full speed on any device. The matrices are made by the very functions that nnU-Net
calls (scipy, torch) applied to unit vectors, hence agree with them to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import torch

from ..data.types import Shape
from ..models.plan import Resampling

_Order: TypeAlias = Literal[0, 1, 2, 3, 4, 5]

SEPARATE_ABOVE = 3.0  # nnU-Net's threshold: ratio of the coarsest to the finest spacing
_CHUNK_ELEMENTS = 2**25  # float temporaries of at most 128 MB


def resampled_shape(shape: Sequence[int], old: Sequence[float], new: Sequence[float]) -> Shape:
    """Voxels after resampling from spacing ``old`` to ``new`` (mm), rounded as nnU-Net does; at least one."""
    z, y, x = (max(1, round(o / n * s)) for s, o, n in zip(shape, old, new, strict=True))
    return z, y, x


def separate_axis(rule: Resampling, old: Sequence[float], new: Sequence[float]) -> int | None:
    """The axis that nnU-Net resamples separately: that of the coarsest spacing, where it is much coarser.

    Args:
        old, new: spacing before and after, mm.
    """
    if rule.separate is False:
        return None
    for spacing in (old, new):
        if rule.separate or max(spacing) / min(spacing) > SEPARATE_ABOVE:
            coarsest = [axis for axis, s in enumerate(spacing) if s == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def axis_matrices(
    rule: Resampling,
    shape: Sequence[int],
    new_shape: Sequence[int],
    old: Sequence[float],
    new: Sequence[float],
) -> list[torch.Tensor | None]:
    """Per axis the (new, old) float32 matrix that resamples it, or None where nothing changes."""
    separate = separate_axis(rule, old, new)
    unchanged = tuple(shape) == tuple(new_shape)
    matrices: list[torch.Tensor | None] = []
    for axis, (before, after) in enumerate(zip(shape, new_shape, strict=True)):
        if unchanged or before == after:
            matrices.append(None)
        elif rule.kind == "torch":
            mode = "nearest-exact" if axis == separate else "linear"
            matrices.append(_torch_matrix(before, after, mode))
        elif axis == separate:
            matrices.append(_separate_matrix(before, after, rule.order_separate))
        else:
            matrices.append(_spline_matrix(before, after, rule.order))
    return matrices


def columns_used(matrix: torch.Tensor) -> slice:
    """The columns from the first to the last with a non-zero value."""
    used = (matrix != 0).any(0).nonzero()
    return slice(int(used[0]), int(used[-1]) + 1)


def apply(matrix: torch.Tensor | None, data: torch.Tensor, axis: int) -> torch.Tensor:
    """Multiply one axis of ``data`` (any number of axes) with a (new, old) matrix."""
    if matrix is None:
        return data
    matrix = matrix.to(data.device, data.dtype)
    if axis == data.ndim - 1:
        result: torch.Tensor = data @ matrix.T
        return result
    product: torch.Tensor = matrix @ data.flatten(axis + 1)
    unfolded: torch.Tensor = product.unflatten(-1, data.shape[axis + 1 :])
    return unfolded


def resample_image(
    image: torch.Tensor,
    matrices: Sequence[torch.Tensor | None],
    prepare: Callable[[torch.Tensor], torch.Tensor],
    separate: int | None,
) -> torch.Tensor:
    """Resample an image as nnU-Net does, clipped to its former range.

    Args:
        image: (Z, Y, X), any dtype.
        matrices: from :func:`axis_matrices`.
        prepare: intensity normalization, a monotone function from a raw to a new float32 tensor; applied
            part by part, so that a large volume is never whole in memory as float.
        separate: the axis that is resampled separately; the others are then clipped slice by slice.

    Returns:
        float32 tensor of the new shape.
    """
    if all(m is None for m in matrices):
        return prepare(image)
    over = [axis for axis in range(3) if axis != separate]
    low = prepare(image.amin(over, keepdim=True))
    high = prepare(image.amax(over, keepdim=True))
    order = sorted(over, key=lambda axis: _growth(matrices[axis]))
    first = order[0]
    along = 0 if first != 0 else 1  # cut into parts along an axis that the first product leaves alone
    parts = max(1, -(-image.numel() // _CHUNK_ELEMENTS))
    data = torch.cat([apply(matrices[first], prepare(part), first) for part in image.chunk(parts, along)], along)
    for axis in order[1:]:
        data = apply(matrices[axis], data, axis)
    data = torch.minimum(torch.maximum(data, low), high)
    return data if separate is None else apply(matrices[separate], data, separate)


def _growth(matrix: torch.Tensor | None) -> float:
    """Voxels after resampling an axis, per voxel before."""
    return 1.0 if matrix is None else matrix.shape[0] / matrix.shape[1]


def _order(order: int) -> _Order:
    """A spline order as scipy's types want it."""
    orders: dict[int, _Order] = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5}
    return orders[order]


@lru_cache(maxsize=32)
def _spline_matrix(before: int, after: int, order: int) -> torch.Tensor:
    # skimage.transform.resize(mode="edge", anti_aliasing=False) is this call of scipy's.
    from scipy.ndimage import zoom

    columns = np.empty((after, before))
    zoom(np.eye(before), (after / before, 1), output=columns, order=_order(order), mode="nearest", grid_mode=True)
    return torch.from_numpy(columns.astype(np.float32))


@lru_cache(maxsize=32)
def _separate_matrix(before: int, after: int, order: int) -> torch.Tensor:
    from scipy.ndimage import map_coordinates

    rows = before / after * (np.arange(after) + 0.5) - 0.5
    grid = np.stack(np.meshgrid(rows, np.arange(before), indexing="ij"))
    columns = np.empty((after, before))
    map_coordinates(np.eye(before), grid, output=columns, order=_order(order), mode="nearest")
    return torch.from_numpy(columns.astype(np.float32))


@lru_cache(maxsize=32)
def _torch_matrix(before: int, after: int, mode: str) -> torch.Tensor:
    columns = torch.nn.functional.interpolate(torch.eye(before, dtype=torch.float64)[None], after, mode=mode)
    return columns[0].T.float().contiguous()
