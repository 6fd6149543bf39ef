"""Label maps on the grid of another image."""

from __future__ import annotations

import numpy as np

from ..util.errors import InputError
from .label_map import LabelMap
from .volume import Volume

_MOST_VOXELS = 1 << 30


def has_same_voxels(label_map: LabelMap, volume: Volume | LabelMap) -> bool:
    """Whether both have the same voxels, at least in part: 3D Slicer and DICOM leave out empty margins of segments."""
    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    aligned = np.allclose(to_labels, np.rint(to_labels), atol=1e-2)
    return aligned and bool(np.isclose(abs(np.linalg.det(to_labels)), 1))


def placed_on(volume: Volume, label_map: LabelMap) -> LabelMap:
    """The label map on the grid of the volume that it was made from; raises as :func:`check_same_voxels`."""
    check_same_voxels(label_map, volume)
    return on_grid_of(volume, label_map)


def check_same_voxels(label_map: LabelMap, volume: Volume) -> None:
    """Check that a label map was made from a volume.

    Raises:
        InputError: they do not have the same voxels.
    """
    if not has_same_voxels(label_map, volume):
        raise InputError(
            f"The label map does not have the voxels of {volume.name}.",
            "Choose the volume that was segmented.",
            code="input.grid",
        )


def on_grid_of(volume: Volume, label_map: LabelMap) -> LabelMap:
    """The label map on a volume's grid, nearest neighbour: exact where both have the same voxels."""
    from scipy.ndimage import affine_transform

    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    matrix, offset = to_labels[:3, :3][::-1, ::-1], to_labels[2::-1, 3]  # (I, J, K) to (K, J, I)
    array = affine_transform(label_map.array, matrix, offset, volume.shape_kji, order=0, mode="grid-constant")
    layers = [on_grid_of(volume, layer) for layer in label_map.layers]
    return LabelMap(array, volume.ijk_to_ras.copy(), label_map.structures, label_map.warnings, layers)


def on_common_grid(one: LabelMap, other: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Two label maps on the smallest grid that holds both, along the axes of the second.

    They are returned as they are if they do not have the same voxels or lie far apart, and if they have the same size:
    then no margin was left out, and what is shifted is somebody's mistake.
    """
    to_other = np.linalg.inv(other.ijk_to_ras) @ one.ijk_to_ras
    ends = np.array([[0, 0, 0], np.array(one.shape_ijk) - 1])
    ends = np.rint(ends @ to_other[:3, :3].T + to_other[:3, 3])
    low = np.minimum(ends.min(0), 0)
    size = np.maximum(ends.max(0) + 1, other.shape_ijk) - low
    is_whole = sorted(one.shape_kji) == sorted(other.shape_kji)
    if is_whole or not has_same_voxels(one, other) or size.prod() > _MOST_VOXELS:
        return one, other
    matrix = other.ijk_to_ras.copy()
    matrix[:3, 3] = (other.ijk_to_ras @ [*low, 1])[:3]
    grid = Volume(np.broadcast_to(np.int16(0), [int(n) for n in size[::-1]]), matrix)
    return on_grid_of(grid, one), on_grid_of(grid, other)
