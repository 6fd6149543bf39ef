"""Which axis runs across the slices of a CT, and grids with thinner slices."""

from __future__ import annotations

import numpy as np

from ..data.affine import orientation_of
from ..data.types import Affine
from ..data.volume import Volume

LEAST_RATIO, LEAST_MM = 1.8, 2.0  # slices are thick from this many pixels and mm on
FINEST_MM, MOST_THIN = 1.0, 6  # of the thinner slices, and how many of them each slice becomes at most


def slow_axis(volume: Volume) -> int:
    """The array axis across the slices: that of the largest spacing; along the body if all are nearly equal.

    One of a single voxel is always that axis.
    """
    if 1 in volume.shape_kji:
        return volume.shape_kji.index(1)
    spacing = volume.spacing_kji
    if spacing.max() > 1.05 * spacing.min():
        return int(spacing.argmax())
    return 2 - next(n for n, letter in enumerate(orientation_of(volume.ijk_to_ras)) if letter in "SI")


def thinner_by(volume: Volume) -> int:
    """How many thin slices each slice becomes, so that voxels are nearly cubes; 1 if its slices are thin already."""
    axis = slow_axis(volume)
    return ratio_of(float(volume.spacing_kji[axis]), float(np.delete(volume.spacing_kji, axis).max()))


def ratio_of(slow: float, fast: float) -> int:
    """As :func:`thinner_by`, of a distance of slices and the size of pixels in mm."""
    fast = max(fast, FINEST_MM)
    if slow < LEAST_MM or slow < LEAST_RATIO * fast:
        return 1
    return int(min(MOST_THIN, round(slow / fast)))


def thinner_matrix(ijk_to_ras: Affine, axis: int, factor: int) -> Affine:
    """The grid with ``factor`` times as many slices: each ``factor``-th one is a slice of the old grid."""
    matrix = ijk_to_ras.copy()
    matrix[:3, 2 - axis] /= factor
    return matrix
