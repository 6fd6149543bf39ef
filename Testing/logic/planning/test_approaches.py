"""Straight paths against chords of balls and distances from a line."""

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, UsageError
from DeepSegLogic.planning import approach

from .scenes import GRIDS, ball, box, scene, voxel_mm


@pytest.mark.parametrize("grid", GRIDS)
def test_a_path_crosses_a_chord_and_passes_a_ball(grid):
    shapes = {"liver": ball((0, 0, 0), 20), "tumor": ball((6, 0, 0), 7), "vein": ball((0, 24, 3), 6)}
    parts, middle = scene(grid, shapes, 33)
    found = approach(parts, np.add(middle, (-30, 5, 0)), np.add(middle, (6, 5, 0)), ["vein", "tumor"])
    assert found.length_mm == pytest.approx(36)
    liver, tumor = found.crossed
    assert (liver.structure, tumor.structure) == ("liver", "tumor")
    enters = 30 - np.sqrt(20**2 - 5**2)
    assert liver.enters_mm == pytest.approx(enters, abs=voxel_mm(parts))
    assert tumor.mm == pytest.approx(np.sqrt(7**2 - 5**2), abs=voxel_mm(parts))
    assert liver.mm + tumor.mm == pytest.approx(36 - enters, abs=voxel_mm(parts))
    vein, hit = found.clearances
    assert vein.distance_mm == pytest.approx(np.hypot(19, 3) - 6, abs=0.5 * voxel_mm(parts))
    assert np.linalg.norm(np.subtract(*vein.points_ras)) == pytest.approx(vein.distance_mm)
    assert hit.distance_mm == 0


def test_lengths_are_exact_to_the_voxel():
    array = np.zeros((10, 10, 10), np.uint8)
    array[:, :, 3:5], array[:, :, 5:6] = 1, 2
    parts = LabelMap(array, np.diag([2.0, 3, 4, 1]), [Structure(1, "liver", "Liver"), Structure(2, "vein", "Vein")])
    slope = np.sqrt(18**2 + 27**2 + 36**2) / 9  # from the first voxel's middle to the last one's, per voxel
    found = approach(parts, (0, 0, 0), (18, 27, 36))
    assert [c.mm for c in found.crossed] == pytest.approx([2 * slope, slope])
    assert [c.enters_mm for c in found.crossed] == pytest.approx([2.5 * slope, 4.5 * slope])


def test_a_path_inside_a_structure_to_spare_has_no_clearance():
    parts, middle = scene(np.eye(4), {"liver": box((-15, -15, -15), (15, 15, 15))}, 18)
    assert approach(parts, middle - 2, middle + 2, ["liver"]).clearances[0].distance_mm == 0


def test_ends_outside_of_the_volume():
    parts, middle = scene(np.eye(4), {"liver": ball((0, 0, 0), 8)}, 12)
    found = approach(parts, np.add(middle, (40, 0, 0)), middle)
    assert found.notes == ("The entry lies outside of the volume: what the path crosses there is unknown.",)
    assert found.crossed[0].mm == pytest.approx(8, abs=1)
    with pytest.raises(UsageError, match="target lies outside"):
        approach(parts, middle, np.add(middle, (40, 0, 0)))
    with pytest.raises(UsageError, match="entry is not three finite numbers"):
        approach(parts, (1, 2), middle)
