"""Label maps of shapes at known places, on grids that lie askew."""

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure

from ..grids import oblique

GRIDS = [
    pytest.param(np.diag([1.0, 1.0, 1.0, 1.0]), id="isotropic"),
    pytest.param(oblique((0.8, 0.8, 2.0)), id="oblique, anisotropic"),
    pytest.param(oblique((1.2, 0.9, 1.5), left_handed=True), id="oblique, left-handed"),
]


def scene(grid, shapes, half_mm=40):
    """A label map of shapes around the middle of a volume, and the middle.

    Args:
        grid: 4×4 ijkToRAS.
        shapes: name → function of points (..., 3) in mm from the middle, negative inside; later ones win.
    """
    spacing = np.linalg.norm(grid[:3, :3], axis=0)
    size = np.ceil(2 * half_mm / spacing).astype(int)  # (I, J, K)
    middle = (grid @ [*((size - 1) / 2 + (0.13, 0.37, 0.29)), 1])[:3]  # so that no symmetry helps
    ijk = np.moveaxis(np.indices(size[::-1])[::-1], 0, -1)
    points = ijk @ grid[:3, :3].T + grid[:3, 3] - middle
    array = np.zeros(size[::-1], np.uint8)
    for value, shape in enumerate(shapes.values(), start=1):
        array[shape(points) < 0] = value
    structures = [Structure(v, name, name.capitalize()) for v, name in enumerate(shapes, start=1)]
    return LabelMap(array, grid, structures), middle


def ball(center, radius):
    return lambda points: np.linalg.norm(points - np.asarray(center), axis=-1) - radius


def box(low, high):
    return lambda points: np.maximum(np.asarray(low) - points, points - np.asarray(high)).max(-1)


def cylinder(radius, half):
    """Along the third axis."""
    return lambda points: np.maximum(np.hypot(points[..., 0], points[..., 1]) - radius, np.abs(points[..., 2]) - half)


def voxel_mm(label_map):
    return float(label_map.spacing_ijk.max())
