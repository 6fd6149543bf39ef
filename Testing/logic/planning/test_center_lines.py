"""Diameters of vessels along their center lines, against closed formulas."""

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure
from DeepSegLogic.planning import vessel_diameters
from DeepSegLogic.util.errors import InputError, UsageError

from .scenes import GRIDS, ball, cylinder, scene, voxel_mm


def bend(around, radius, degrees):
    """A part of a torus about the third axis, from the first axis on."""

    def inside(points):
        x, y, z = np.moveaxis(points, -1, 0)
        angle = np.degrees(np.arctan2(y, x))
        tube = np.hypot(np.hypot(x, y) - around, z) - radius
        return np.where((angle >= 0) & (angle <= degrees), tube, 1.0)

    return inside


def cone(wide, narrow, half):
    """Along the third axis, wide below."""

    def inside(points):
        x, y, z = np.moveaxis(points, -1, 0)
        at = (z + half) / (2 * half)
        return np.maximum(np.hypot(x, y) - (wide + (narrow - wide) * at), np.abs(z) - half)

    return inside


@pytest.mark.parametrize("grid", GRIDS)
def test_a_straight_tube_is_as_wide_as_it_was_made(grid):
    label_map, middle = scene(grid, {"vessel": cylinder(6.0, 32)})
    found = vessel_diameters(label_map, "vessel")
    half = voxel_mm(label_map) / 2
    np.testing.assert_allclose(found.diameters_mm, 12.0, atol=2 * half)
    assert found.median_mm == pytest.approx(12.0, abs=half)
    line = np.array(found.points_ras) - middle
    assert np.hypot(line[:, 0], line[:, 1]).max() < half
    assert found.length_mm == pytest.approx(np.ptp(line[:, 2]), rel=0.02)
    assert 64 - 4 * 6 - 4 * half < found.length_mm < 64


@pytest.mark.parametrize("grid", GRIDS)
def test_a_bent_tube_has_its_diameter_and_the_length_of_the_arc(grid):
    label_map, middle = scene(grid, {"vessel": bend(28.0, 5.0, 160)})
    found = vessel_diameters(label_map, "vessel")
    half = voxel_mm(label_map) / 2
    assert found.median_mm == pytest.approx(10.0, abs=half)
    np.testing.assert_allclose(found.diameters_mm, 10.0, atol=2 * half)
    x, y, z = (np.array(found.points_ras) - middle).T
    assert np.abs(np.hypot(x, y) - 28.0).max() < half and np.abs(z).max() < half
    angles = np.unwrap(np.arctan2(y, x))
    assert found.length_mm == pytest.approx(28.0 * np.ptp(angles), rel=0.02)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_tapered_tube_gets_narrower_as_it_was_made(grid):
    wide, narrow, tall = 8.0, 3.0, 35.0
    label_map, middle = scene(grid, {"vessel": cone(wide, narrow, tall)})
    found = vessel_diameters(label_map, "vessel")
    z = (np.array(found.points_ras) - middle)[:, 2]
    slope = (wide - narrow) / (2 * tall)
    # the largest sphere about a point of the axis of a cone touches its wall at a right angle
    expected = 2 * (wide - slope * (z + tall)) / np.sqrt(1 + slope**2)
    voxel = voxel_mm(label_map)
    np.testing.assert_allclose(found.diameters_mm, expected, atol=voxel)
    assert np.abs(np.array(found.diameters_mm) - expected).mean() < voxel / 2
    assert found.smallest_ras[2] != found.largest_ras[2]
    assert found.smallest_mm == min(found.diameters_mm) and found.largest_mm == max(found.diameters_mm)


def test_a_narrow_place_is_found_where_it_is():
    """The radius follows a cosine with its narrowest place at a known height."""

    def inside(points):
        x, y, z = np.moveaxis(points, -1, 0)
        narrow = 6.0 - 3.0 * np.exp(-(((z - 5.0) / 6.0) ** 2))
        return np.maximum(np.hypot(x, y) - narrow, np.abs(z) - 36)

    label_map, middle = scene(np.diag([0.8, 0.8, 1.0, 1.0]), {"vessel": inside})
    found = vessel_diameters(label_map, "vessel")
    assert found.smallest_mm == pytest.approx(6.0, abs=0.5)
    assert (np.array(found.smallest_ras) - middle)[2] == pytest.approx(5.0, abs=1.5)
    assert found.largest_mm == pytest.approx(12.0, abs=0.5)


def test_only_the_piece_with_the_widest_place_is_measured_and_a_ball_is_refused():
    label_map, _ = scene(np.eye(4), {"vessel": cylinder(5.0, 30), "ball": ball((22, 22, 0), 8.0)})
    with pytest.raises(InputError, match="not longer than wide"):
        vessel_diameters(label_map, "ball")
    with pytest.raises(UsageError):
        vessel_diameters(label_map, "nerve")
    array = label_map.array.copy()
    array[3, 3, 3] = 1
    speck = LabelMap(array, label_map.ijk_to_ras, label_map.structures)
    assert vessel_diameters(speck, "vessel").median_mm == pytest.approx(10.0, abs=0.5)


def test_one_voxel_and_the_border_of_the_volume():
    array = np.zeros((20, 9, 9), np.uint8)
    array[:, 2:7, 2:7] = 1
    array[0, 0, 0] = 2
    label_map = LabelMap(array, np.eye(4), [Structure(1, "vessel", "Vessel"), Structure(2, "dot", "Dot")])
    assert vessel_diameters(label_map, "vessel").notes == ("Vessel is cut by the border of the volume.",)
    with pytest.raises(InputError, match="no center line"):
        vessel_diameters(label_map, "dot")
