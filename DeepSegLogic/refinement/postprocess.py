"""Post-processing of one structure: components, holes, smoothing, margins.

Each step returns a new label map, which :mod:`.undo` can record. A step gives only background to its structure, and
what it removes becomes background: other structures never change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..data.boxes import box_of, grown
from ..data.label_map import LabelMap
from ..data.pieces import pieces
from ..data.types import FloatArray, MaskArray, ScalarArray
from .layers import editable, layer_to_edit, show_layers

_Change: TypeAlias = Callable[[MaskArray, FloatArray], MaskArray]
"""From a mask (K, J, I) and its spacing in mm along these axes to the mask afterwards."""


def keep_largest_component(label_map: LabelMap, name: str) -> LabelMap:
    """Remove all pieces of a structure except the largest; voxels that share a face are connected.

    Raises:
        UsageError: unknown structure, as for all steps.
    """
    return _with_mask(label_map, name, 0, lambda mask, _: pieces(mask, lambda sizes: sizes == sizes.max()))


def remove_small_components(label_map: LabelMap, name: str, smallest_ml: float) -> LabelMap:
    """Remove the pieces of a structure that are smaller than ``smallest_ml``."""
    voxels = smallest_ml / label_map.voxel_ml
    return _with_mask(label_map, name, 0, lambda mask, _: pieces(mask, lambda sizes: sizes >= voxels - 1e-9))


def fill_holes(label_map: LabelMap, name: str) -> LabelMap:
    """Fill cavities of background that a structure encloses in 3D."""
    from scipy.ndimage import binary_fill_holes

    return _with_mask(label_map, name, 1, lambda mask, _: np.asarray(binary_fill_holes(mask), bool))


def smooth(label_map: LabelMap, name: str, mm: float, method: str = "gaussian") -> LabelMap:
    """Smooth the border of a structure.

    Args:
        mm: standard deviation of the Gaussian, or radius of the ball of the median.
        method: ``"gaussian"`` or ``"median"``.
    """
    from scipy.ndimage import convolve, gaussian_filter

    def gaussian(mask: MaskArray, spacing: FloatArray) -> MaskArray:
        return np.asarray(gaussian_filter(mask.astype(np.float32), mm / spacing) > 0.5)

    def median(mask: MaskArray, spacing: FloatArray) -> MaskArray:
        ball = _ball(mm, spacing)
        return np.asarray(convolve(mask.astype(np.float32), ball, mode="nearest") > ball.sum() / 2)

    return _with_mask(label_map, name, 3 * mm, {"gaussian": gaussian, "median": median}[method])


def margin(label_map: LabelMap, name: str, mm: float) -> LabelMap:
    """Grow (mm > 0) or shrink (mm < 0) a structure by a distance between voxel centres."""
    from scipy.ndimage import distance_transform_edt

    def moved(mask: MaskArray, spacing: FloatArray) -> MaskArray:
        if mm < 0:
            return np.asarray(distance_transform_edt(mask, sampling=spacing) > -mm + 1e-6)
        return np.asarray(distance_transform_edt(~mask, sampling=spacing) <= mm + 1e-6)

    return _with_mask(label_map, name, abs(mm), moved)


def _with_mask(label_map: LabelMap, name: str, reach_mm: float, change: _Change) -> LabelMap:
    """A copy of the map with a change to the mask of one structure, inside its box and ``reach_mm`` around it."""
    structure, whole = label_map.structure(name), label_map.mask(name)
    box = box_of(whole)
    if box is None:
        return label_map
    spacing = label_map.spacing_kji
    box = grown(box, reach_mm / spacing + 1, whole.shape)
    changed, mask = editable(label_map), whole[box]
    after = change(mask, spacing)
    part = layer_to_edit(changed, structure).array[box]
    part[mask & ~after] = 0
    part[after & (part == 0)] = structure.value
    show_layers(changed)
    return changed


def _ball(radius: float, spacing: FloatArray) -> ScalarArray:
    """A ball as float32 weights, 0 or 1, on a grid of this spacing; radius in mm, one voxel at least."""
    reach = np.maximum(1, np.floor(radius / spacing)).astype(int)
    grid = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    squared = np.asarray(sum((g * s) ** 2 for g, s in zip(grid, spacing, strict=True)))
    return np.asarray(squared <= max(radius, spacing.min()) ** 2 + 1e-6, np.float32)
