"""The first stage's labels as input of a cascade's second stage, resampled as nnU-Net resamples label maps.

Each label's mask is interpolated linearly, and the largest wins; where two are as large, the label of the nearest
voxel if it is one of them. An axis that is treated separately takes the nearest slices of what was found in the plane
of the others. As scipy's own functions are called, ties are those of nnU-Net.

Source: nnunetv2 2.8.1, ``resample_data_or_seg``, and batchgenerators 0.25, ``resize_segmentation``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ..data.types import LabelArray, MaskArray
from ..models.plan import Plan
from .grid_plan import GridPlan
from .resampling import axis_matrices, separate_axis

_OUTSIDE = -1  # background that is no part of the patient, a label of its own in nnU-Net

_Labels: TypeAlias = npt.NDArray[np.int16]


def one_hot(labels: LabelArray, inside: MaskArray, plan: Plan, grid: GridPlan) -> torch.Tensor:
    """The labels on the network's grid, one channel for each of ``plan.previous_labels``.

    Args:
        labels: of the first stage, (Z, Y, X) in the box that the network sees, ``grid.seen``.
        inside: the same shape: what is part of the patient.

    Returns:
        (L, Z, Y, X) float32 of 0 and 1, on the CPU.
    """
    found: _Labels = np.where(inside, labels.astype(np.int16), _OUTSIDE)
    rule, spacing = plan.label_resampling, plan.spacing_on(grid.spacing)
    separate = separate_axis(rule, grid.spacing, spacing)
    if separate is None:
        found = _resized(found, grid.shape)
    elif found.shape != grid.shape:
        plane = tuple(n for axis, n in enumerate(grid.shape) if axis != separate)
        found = np.stack([_resized(part, plane) for part in np.moveaxis(found, separate, 0)], separate)
        nearest = replace(rule, order=0)
        matrix = axis_matrices(nearest, labels.shape, grid.shape, grid.spacing, spacing)[separate]
        if matrix is not None:
            found = found.take(matrix.argmax(1).numpy(), separate)
    return torch.from_numpy(np.stack([found == value for value in plan.previous_labels])).to(torch.float32)


def _resized(labels: _Labels, shape: tuple[int, ...]) -> _Labels:
    """Labels on a grid of another shape over the same extent; of two or three axes."""
    from scipy.ndimage import zoom

    if labels.shape == shape:
        return labels
    factors = [new / old for old, new in zip(labels.shape, shape, strict=True)]
    nearest = np.empty(shape, np.int16)
    zoom(labels, factors, output=nearest, order=0, mode="nearest", grid_mode=True)
    winners, best, share = np.zeros_like(nearest), np.zeros(shape), np.empty(shape)
    tied: MaskArray = np.zeros(shape, np.bool_)  # the nearest voxel's label has the largest share
    for value in np.unique(labels):
        zoom((labels == value).view(np.uint8), factors, output=share, order=1, mode="nearest", grid_mode=True)
        larger = share > best
        tied = np.where(larger, nearest == value, tied | ((share == best) & (share > 0) & (nearest == value)))
        winners[larger] = value
        np.maximum(best, share, out=best)
    return np.where(tied, nearest, winners)
