"""Cuts by a free surface: a plane, a cap of a known height, scipy's spline itself, and what is no surface."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from vtkmodules.util.numpy_support import vtk_to_numpy

from DeepSegLogic import UsageError
from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.planning import Ellipsoid, FreeSurface, Organ, Plane, Territories, shape_of
from DeepSegLogic.planning.plan_file import cut_of

from .scenes import GRIDS, ball, scene


def places(height, middle=(0, 0, 0), reach=20):
    """A grid of 5 × 5 control points about a place, at heights along the third axis."""
    x, y = np.meshgrid(*[np.linspace(-reach, reach, 5)] * 2)
    return tuple(map(tuple, np.stack([x, y, height(x, y)], -1).reshape(-1, 3) + middle))


@pytest.mark.parametrize("grid", GRIDS)
def test_points_of_a_plane_cut_like_the_plane(grid):
    organs, middle = scene(grid, {"liver": ball((0, 0, 0), 18)}, 22)
    liver, normal = Organ(organs, "liver"), np.array([0.3, -0.2, 1.0])
    points = places(lambda x, y: 3.3 - 0.3 * x + 0.2 * y, middle)
    free = liver.cut([FreeSurface(points, tuple(normal))])
    flat = liver.cut([Plane(points[0], tuple(normal))])
    whole = sum(part.voxels for part in flat.parts)
    assert sum(part.voxels for part in free.parts) == whole
    for one, other in zip(free.parts, flat.parts, strict=True):  # but for voxels on the plane
        assert abs(one.voxels - other.voxels) < 1e-3 * whole
        assert one.sides == other.sides


@pytest.mark.parametrize("grid", GRIDS)
def test_a_dome_cuts_each_voxel_as_the_spline_says(grid):
    organs, middle = scene(grid, {"liver": ball((0, 0, 0), 18)}, 22)
    points = places(lambda x, y: 8 - (x**2 + y**2) / 40, middle)
    divided = Organ(organs, "liver").divided([FreeSurface(points, (0, 0, 2.5))])
    known = np.array(points)
    spline = RBFInterpolator(known[:, :2], known[:, 2], kernel="thin_plate_spline")
    voxels = np.argwhere(organs.mask("liver"))
    centers = ijk_to_ras_points(voxels[:, ::-1], organs.ijk_to_ras)
    above = centers[:, 2] - spline(centers[:, :2])
    sure = np.abs(above) > 0.05
    found = divided.mask("liver_part_1")[tuple(voxels.T)]
    np.testing.assert_array_equal(found[sure], above[sure] > 0)
    assert sure.mean() > 0.98


@pytest.mark.parametrize(
    ("points", "normal", "why"),
    [
        (places(lambda x, y: 0 * x), (0, 0, 0), "normal of the surface is 0"),
        (places(lambda x, y: 0 * x)[:3], (0, 0, 1), "through 3 points"),
        ([(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 5)], (0, 0, 1), "above one another"),
        ([(n, 2 * n, n**2) for n in range(5)], (0, 0, 1), "on one line"),
        ([(0, 0, 0), (9, 0, 0), (0, 9, 0), (float("nan"), 3, 5)], (0, 0, 1), "finite"),
    ],
)
def test_what_is_no_surface_is_refused(points, normal, why):
    with pytest.raises(UsageError, match=why):
        cut_of({"type": "surface", "points": points, "normal": normal})


def test_shapes_lie_on_their_cuts():
    low, high = np.array([-20.0, -30, -10]), np.array([25.0, 30, 12])

    def corners(cut):
        return vtk_to_numpy(shape_of(cut, low, high).GetPoints().GetData())

    plane = Plane((3, 4, 5), (0.6, 0, 0.8))
    np.testing.assert_allclose((corners(plane) - plane.origin) @ plane.normal, 0, atol=1e-4)
    assert len(corners(plane)) == 4 and np.ptp(corners(plane), axis=0).max() > 60
    axes = ((0, 3.0, 0), (0, 0, 2.0), (1.0, 0, 0))
    found = corners(Ellipsoid((1, 2, 3), (4, 5, 6), axes)) - (1, 2, 3)
    np.testing.assert_allclose((found[:, [1, 2, 0]] ** 2 / (16, 25, 36)).sum(1), 1, atol=1e-4)
    free = FreeSurface(places(lambda x, y: x * y / 50), (0, 0, 1))
    sheet = corners(free)
    np.testing.assert_allclose(free.heights(free.along(sheet)[:, :2]), free.along(sheet)[:, 2], atol=1e-3)
    assert shape_of(Territories({"a": [(0, 0, 0)], "b": [(9, 0, 0)]}), low, high) is None
