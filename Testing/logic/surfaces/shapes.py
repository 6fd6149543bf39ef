"""Shapes with formulas: as label maps, and their true normals."""

import numpy as np

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for

SPACINGS = (1, 1, 1), (0.8, 0.8, 2), (0.8, 0.8, 5), (3, 3, 3)  # mm along (I, J, K)
_HALF = 46  # mm from the middle to the border of a volume


def _turned(points):
    """Points (..., 3) in the frame of a shape that lies askew."""
    a, b = np.deg2rad(30), 0.4
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    return points @ about_y @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])


def ball(points):
    return np.linalg.norm(points, axis=-1) - 40


def ellipsoid(points):
    return np.linalg.norm(_turned(points) / (40, 30, 22), axis=-1) - 1


def torus(points):
    x, y, z = np.moveaxis(_turned(points), -1, 0)
    return np.hypot(np.hypot(x, y) - 28, z) - 12


def capsule(points, radius=14):
    """A cylinder with round ends."""
    x, y, z = np.moveaxis(_turned(points), -1, 0)
    return np.linalg.norm([x, y, z - np.clip(z, -30, 30)], axis=0) - radius


def vessel(points):
    return capsule(points, 5)


def lens(points):
    """Flat along K, with a sharp rim."""
    return np.linalg.norm(points / (40, 40, 16), axis=-1) - 1


SHAPES = {f.__name__: f for f in (ball, ellipsoid, torus, capsule, vessel)}
"""Name → function of points (..., 3) in mm, negative inside."""


def label_map_of(shape, spacing, halves=False):
    """A label map of a shape; ``halves`` are split by a plane through the middle that lies askew."""
    shape_ijk = np.ceil(2 * _HALF / np.array(spacing)).astype(int)
    off = np.array((0.13, 0.37, 0.29))  # so that no symmetry helps
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = (off - shape_ijk / 2) * spacing
    points = np.moveaxis(np.indices(shape_ijk[::-1])[::-1], 0, -1) * np.array(spacing) + matrix[:3, 3]
    array = (shape(points) < 0).astype(np.uint8)
    if halves:
        array[(array > 0) & (_turned(points)[..., 2] > 0)] = 2
    return LabelMap(array, matrix, [structure_for(f"s{v}", v) for v in range(1, array.max() + 1)])


def normal_error(shape, points, triangles, half=None):
    """Mean angle in degrees between the normals of triangles and the true ones, weighted by area."""
    angles, areas = normal_errors(shape, points, triangles, half)
    return float(np.average(angles, weights=areas))


def normal_errors(shape, points, triangles, half=None):
    """Angles in degrees between the normals of triangles and the true ones, and twice the areas.

    Args:
        half: 1 or 2 for a half of the shape, whose plane counts as well.
    """
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas, middles, step = np.linalg.norm(normals, axis=1), corners.mean(1), 1e-3
    true = np.stack([shape(middles + step * e) - shape(middles - step * e) for e in np.eye(3)], -1)
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    if half is not None:
        on_plane = np.abs(_turned(middles)[:, 2]) < np.abs(shape(middles))
        true[on_plane] = _turned(np.eye(3))[:, 2] * (1 if half == 1 else -1)
    cosines = (normals * true).sum(1) / np.maximum(areas, 1e-12)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1))), areas
