"""Label maps on the grid of another image."""

from __future__ import annotations

import numpy as np

from ..util.errors import InputError
from .label_map import LabelMap
from .volume import Volume


def has_same_voxels(label_map: LabelMap, volume: Volume) -> bool:
    """Whether both have the same voxels, at least in part: 3D Slicer and DICOM leave out empty margins of segments."""
    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    aligned = np.allclose(to_labels, np.rint(to_labels), atol=1e-2)
    return aligned and bool(np.isclose(abs(np.linalg.det(to_labels)), 1))


def placed_on(volume: Volume, label_map: LabelMap) -> LabelMap:
    """The label map on the grid of the volume that it was made from.

    Raises:
        InputError: they do not have the same voxels.
    """
    if not has_same_voxels(label_map, volume):
        raise InputError(
            f"The label map does not have the voxels of {volume.name}.",
            "Choose the volume that was segmented.",
            code="input.grid",
        )
    return on_grid_of(volume, label_map)


def on_grid_of(volume: Volume, label_map: LabelMap) -> LabelMap:
    """The label map on a volume's grid, nearest neighbour: exact where both have the same voxels."""
    from scipy.ndimage import affine_transform

    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    matrix, offset = to_labels[:3, :3][::-1, ::-1], to_labels[2::-1, 3]  # (I, J, K) to (K, J, I)
    array = affine_transform(label_map.array, matrix, offset, volume.shape_kji, order=0, mode="grid-constant")
    layers = [on_grid_of(volume, layer) for layer in label_map.layers]
    return LabelMap(array, volume.ijk_to_ras.copy(), label_map.structures, label_map.warnings, layers)
