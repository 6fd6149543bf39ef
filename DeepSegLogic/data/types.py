"""Names for the arrays that pass between the rooms: what they hold, in which axis order, and in which unit.

numpy's types say the dtype; the shape is what the comment beside each name says. Grids are (K, J, I), slowest axis
first; points and spacings are (I, J, K) or (R, A, S), as in ITK and 3D Slicer.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

VolumeArray: TypeAlias = npt.NDArray[np.int16 | np.float32]
"""Voxels of an image, (K, J, I); CT in HU."""

LabelArray: TypeAlias = npt.NDArray[np.uint8 | np.uint16]
"""Label values, (K, J, I); 0 is background."""

MaskArray: TypeAlias = npt.NDArray[np.bool_]
"""Voxels that belong to something, (K, J, I)."""

ScalarArray: TypeAlias = npt.NDArray[np.float32]
"""A computed value per voxel, (K, J, I), such as a probability from 0 to 1 or a distance in mm."""

ByteArray: TypeAlias = npt.NDArray[np.uint8]
"""A computed value per voxel, (K, J, I), scaled to 0 to 255, such as an uncertainty."""

Affine: TypeAlias = npt.NDArray[np.float64]
"""4×4 matrix from (I, J, K, 1) to RAS in mm."""

PointsRas: TypeAlias = npt.NDArray[np.float64]
"""Points (N, 3) in RAS, mm."""

PointsIjk: TypeAlias = npt.NDArray[np.float64]
"""Points (N, 3) as continuous (I, J, K) indices; a voxel's centre is at whole numbers."""

Triangles: TypeAlias = npt.NDArray[np.int32 | np.int64]
"""Triangles (M, 3) of a mesh: indices of its points, counter-clockwise as seen from outside."""

FloatArray: TypeAlias = npt.NDArray[np.float64]
"""Numbers of any shape; the docstring beside says which."""

Shape: TypeAlias = tuple[int, int, int]
"""Voxels along (K, J, I)."""

Slices: TypeAlias = tuple[slice, slice, slice]
"""A box of voxels, (K, J, I)."""
