"""Encasement against the angle that a sleeve around a vessel was made with."""

import numpy as np
import pytest

from DeepSegLogic.planning import encasement

from .scenes import GRIDS, ball, cylinder, scene


def sleeve(degrees, inner, outer, half):
    """A part of a tube around the third axis."""
    tube, hole = cylinder(outer, half), cylinder(inner, 2 * half)

    def shape(points):
        angle = np.abs(np.degrees(np.arctan2(points[..., 1], points[..., 0])))
        return np.where(angle < degrees / 2, np.maximum(tube(points), -hole(points)), 1.0)

    return shape


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_sleeve_encases_its_angle(grid, degrees):
    parts, middle = scene(grid, {"tumor": sleeve(degrees, 8, 18, 9), "vein": cylinder(8, 30)}, 36)
    found = encasement(parts, "tumor", "vein")
    assert found.degrees == pytest.approx(degrees, abs=10)
    assert np.linalg.norm((np.array(found.center_ras) - middle)[:2]) < 1.5


def test_a_whole_sleeve_and_none():
    parts, _ = scene(np.eye(4), {"tumor": sleeve(361, 8, 16, 6), "vein": cylinder(8, 24)}, 30)
    assert encasement(parts, "tumor", "vein").degrees == pytest.approx(360, abs=1)
    parts, _ = scene(np.eye(4), {"tumor": ball((24, 0, 0), 8), "vein": cylinder(8, 24)}, 34)
    assert encasement(parts, "tumor", "vein").degrees == 0
    assert encasement(parts, "tumor", "vein").center_ras is None


@pytest.mark.parametrize("within", [10, 12])
def test_within_a_distance_the_angle_follows_from_the_cosine_rule(within):
    """Of a ball of 8 mm whose middle is 24 mm from the axis of a vessel of 8 mm."""
    parts, _ = scene(np.eye(4), {"tumor": ball((24, 0, 0), 8), "vein": cylinder(8, 24)}, 34)
    expected = 2 * np.degrees(np.arccos((24**2 + 8**2 - (8 + within) ** 2) / (2 * 24 * 8)))
    assert encasement(parts, "tumor", "vein", within).degrees == pytest.approx(expected, abs=6)
