"""Named steps that tidy one structure. Each returns a new label map, for :class:`~DeepSegLogic.refine.history.History`.

A step gives to its structure only background, and what it takes away becomes background; other structures change in
the two steps only that say so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..boxes import box_of, grown
from ..labels import LabelMap


def keep_largest_component(label_map: LabelMap, name: str) -> LabelMap:
    """Remove all pieces of a structure but the largest (voxels that share a face are one piece).

    Raises:
        UsageError: there is no such structure; so do all steps.
    """
    return _with_mask(label_map, name, 0, lambda mask, _: _pieces(mask, lambda sizes: sizes == sizes.max()))


def remove_small_components(label_map: LabelMap, name: str, smallest_ml: float) -> LabelMap:
    """Remove the pieces of a structure that are smaller than this."""
    voxels = smallest_ml / label_map.voxel_ml
    return _with_mask(label_map, name, 0, lambda mask, _: _pieces(mask, lambda sizes: sizes >= voxels - 1e-9))


def fill_holes(label_map: LabelMap, name: str) -> LabelMap:
    """Fill cavities of background that a structure encloses in 3D."""
    from scipy.ndimage import binary_fill_holes

    return _with_mask(label_map, name, 1, lambda mask, _: binary_fill_holes(mask))


def smooth(label_map: LabelMap, name: str, mm: float, method: str = "gaussian") -> LabelMap:
    """Smooth the border of a structure.

    Args:
        mm: standard deviation of the Gaussian, or radius of the ball that the median is taken over.
        method: ``"gaussian"`` or ``"median"``.
    """
    from scipy.ndimage import convolve, gaussian_filter

    def gaussian(mask, spacing):
        return gaussian_filter(mask.astype(np.float32), mm / spacing) > 0.5

    def median(mask, spacing):
        ball = _ball(mm, spacing)
        return convolve(mask.astype(np.float32), ball, mode="nearest") > ball.sum() / 2

    return _with_mask(label_map, name, 3 * mm, {"gaussian": gaussian, "median": median}[method])


def margin(label_map: LabelMap, name: str, mm: float) -> LabelMap:
    """Grow (mm > 0) or shrink (mm < 0) a structure by a distance between voxel centres."""
    from scipy.ndimage import distance_transform_edt

    def moved(mask, spacing):
        if mm < 0:
            return distance_transform_edt(mask, sampling=spacing) > -mm + 1e-6
        return distance_transform_edt(~mask, sampling=spacing) <= mm + 1e-6

    return _with_mask(label_map, name, abs(mm), moved)


def smooth_jointly(label_map: LabelMap, mm: float) -> LabelMap:
    """Smooth all structures at once, without gaps or overlaps: each voxel takes the label whose Gaussian (standard
    deviation ``mm``) is largest there, background included."""
    from scipy.ndimage import find_objects, gaussian_filter

    array, spacing = label_map.array, label_map.spacing[::-1]
    sigma = mm / spacing

    def blurred(mask):
        return gaussian_filter(mask.astype(np.float32), sigma, truncate=3)

    best, winner = blurred(array == 0), np.zeros_like(array)
    for value, box in enumerate(find_objects(array), start=1):
        if box is None:
            continue
        box = grown(box, 3 * sigma + 1, array.shape)
        share = blurred(array[box] == value)
        wins = share > best[box]
        best[box][wins] = share[wins]
        winner[box][wins] = value
    return replace(label_map, array=winner)


def islands_to_neighbours(label_map: LabelMap, name: str, smallest_ml: float) -> LabelMap:
    """Give the pieces of a structure that are smaller than this to the label they touch most, background included."""
    from scipy.ndimage import binary_dilation, find_objects, label

    value, array = label_map.structure(name).value, label_map.array.copy()
    pieces, _ = label(array == value)
    sizes = np.bincount(pieces.ravel()) * label_map.voxel_ml
    for number, box in enumerate(find_objects(pieces), start=1):
        if sizes[number] >= smallest_ml - 1e-9:
            continue
        box = grown(box, 1, array.shape)
        piece = pieces[box] == number
        touched = label_map.array[box][binary_dilation(piece) & ~piece]
        array[box][piece] = np.bincount(touched).argmax() if len(touched) else 0
    return replace(label_map, array=array)


def _with_mask(label_map: LabelMap, name: str, reach_mm: float, change) -> LabelMap:
    """A copy of the map where ``change(mask, spacing)`` (K, J, I) was done to one structure, inside its box."""
    value = label_map.structure(name).value
    whole = label_map.array == value
    box = box_of(whole)
    if box is None:
        return label_map
    spacing = label_map.spacing[::-1]
    box = grown(box, reach_mm / spacing + 1, whole.shape)
    array, mask = label_map.array.copy(), whole[box]
    after = change(mask, spacing)
    part = array[box]
    part[mask & ~after] = 0
    part[after & (part == 0)] = value
    return replace(label_map, array=array)


def _pieces(mask: np.ndarray, wanted) -> np.ndarray:
    """The face-connected pieces of a mask whose sizes in voxels are wanted."""
    from scipy.ndimage import label

    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (wanted(sizes) & (sizes > 0))[pieces]


def _ball(radius: float, spacing: np.ndarray) -> np.ndarray:
    reach = np.maximum(1, np.floor(radius / spacing)).astype(int)
    grid = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    squared = sum((g * s) ** 2 for g, s in zip(grid, spacing, strict=True))
    return (squared <= max(radius, spacing.min()) ** 2 + 1e-6).astype(np.float32)
