"""Label maps on the grid of another image."""

from __future__ import annotations

import numpy as np

from ..util.errors import InputError
from .label_map import LabelMap
from .records import on_same_grid
from .types import FloatArray
from .volume import Volume

SAME_GRID_MM = 0.05
"""Tolerance for labels that people drew: other programs round the header of an image and of its labels differently."""

_MOST_VOXELS = 1 << 30


def has_same_voxels(label_map: LabelMap, volume: Volume | LabelMap) -> bool:
    """Whether both have the same voxels, at least in part: 3D Slicer and DICOM leave out empty margins of segments."""
    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    aligned = np.allclose(to_labels, np.rint(to_labels), atol=1e-2)
    return aligned and bool(np.isclose(abs(np.linalg.det(to_labels)), 1))


def placed_on(volume: Volume, label_map: LabelMap, tolerance_mm: float = 1e-3) -> LabelMap:
    """The label map on the grid of the volume that it was made from, with a warning if a part lies outside of it.

    One that is there already, to within ``tolerance_mm``, is returned as it is.

    Raises:
        InputError: they do not have the same voxels, or all that is labelled lies outside the volume.
    """
    if on_same_grid(label_map, volume, tolerance_mm):
        return label_map
    choose = "Choose the volume that was segmented."
    other_voxels = InputError(f"The label map does not have the voxels of {volume.name}.", choose, code="input.grid")
    if not has_same_voxels(label_map, volume):
        raise other_voxels
    placed = on_grid_of(volume, label_map)
    if label_map.array.any() and not placed.array.any():
        raise InputError(f"All that is labelled lies outside {volume.name}.", choose, code="input.geometry")
    if _is_displaced(label_map, volume):
        raise other_voxels
    warn_of_parts_outside(label_map, placed)
    return placed


def warn_of_parts_outside(label_map: LabelMap, placed: LabelMap) -> None:
    """Warn in a label map that was placed on the same voxels of a CT if it has fewer of them."""
    if np.count_nonzero(placed.array) < np.count_nonzero(label_map.array):
        placed.warnings.append("A part of the segmentation lies outside the CT. It is left out.")


def on_grid_of(volume: Volume, label_map: LabelMap) -> LabelMap:
    """The label map on a volume's grid, nearest neighbour: exact where both have the same voxels."""
    from scipy.ndimage import affine_transform

    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    matrix, offset = to_labels[:3, :3][::-1, ::-1], to_labels[2::-1, 3]  # (I, J, K) to (K, J, I)
    array = affine_transform(label_map.array, matrix, offset, volume.shape_kji, order=0, mode="grid-constant")
    layers = [on_grid_of(volume, layer) for layer in label_map.layers]
    return LabelMap(array, volume.ijk_to_ras.copy(), label_map.structures, list(label_map.warnings), layers)


def on_common_grid(one: LabelMap, other: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Two label maps on the smallest grid that holds both, along the axes of the second.

    They are returned as they are if they do not have the same voxels or lie far apart, and if they have the same size:
    then no margin was left out, and what is shifted is somebody's mistake.
    """
    first, last = _ends(one, other)
    low = np.minimum(first, 0)
    size = np.maximum(last + 1, other.shape_ijk) - low
    if _has_same_size(one, other) or not has_same_voxels(one, other) or size.prod() > _MOST_VOXELS:
        return one, other
    matrix = other.ijk_to_ras.copy()
    matrix[:3, 3] = (other.ijk_to_ras @ [*low, 1])[:3]
    grid = Volume(np.broadcast_to(np.int16(0), [int(n) for n in size[::-1]]), matrix)
    return on_grid_of(grid, one), on_grid_of(grid, other)


def _is_displaced(one: LabelMap, other: Volume | LabelMap) -> bool:
    """Whether two grids of the same size, so that no margin was left out, lie at different places: a mistake."""
    first, last = _ends(one, other)
    return _has_same_size(one, other) and bool(first.any() or (last + 1 != other.shape_ijk).any())


def _has_same_size(one: LabelMap, other: Volume | LabelMap) -> bool:
    """Whether two grids have as many voxels along their axes, in any order."""
    return sorted(one.shape_kji) == sorted(other.shape_kji)


def _ends(one: LabelMap, other: Volume | LabelMap) -> tuple[FloatArray, FloatArray]:
    """The lowest and the highest (I, J, K) of the voxels of a grid, counted on another one."""
    to_other = np.linalg.inv(other.ijk_to_ras) @ one.ijk_to_ras
    corners = np.array([[0, 0, 0], np.array(one.shape_ijk) - 1])
    corners = np.rint(corners @ to_other[:3, :3].T + to_other[:3, 3])
    return corners.min(0), corners.max(0)
