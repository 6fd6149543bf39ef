"""Thickness against a ball, a tube, a ring and a plate, on grids askew."""

import numpy as np
import pytest

from DeepSegLogic import InputError, LabelMap, Structure
from DeepSegLogic.cli import main
from DeepSegLogic.io import write_label_map
from DeepSegLogic.planning import thickness

from .scenes import GRIDS, ball, box, cylinder, scene, voxel_mm


def ring(radius, tube):
    """A torus around the third axis."""
    return lambda p: np.hypot(np.hypot(p[..., 0], p[..., 1]) - radius, p[..., 2]) - tube


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("shape", "mm"),
    [
        (ball((0, 0, 0), 15), 30),
        (cylinder(8, 60), 16),  # through the whole volume: no ends
        (ring(22, 8), 16),
    ],
)
def test_round_shapes_are_as_thick_everywhere(grid, shape, mm):
    organs, _ = scene(grid, {"shape": shape}, 36)
    found = thickness(organs, "shape")
    assert found.median_mm == pytest.approx(mm, abs=voxel_mm(organs) / 2)
    assert found.thin_mm == pytest.approx(mm, abs=voxel_mm(organs) / 2)
    ends = np.array(found.thin_ras)
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(found.thin_mm)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_plate_is_as_thick_as_it_is(grid):
    organs, _ = scene(grid, {"plate": box((-25, -25, -5), (25, 25, 5))}, 34)
    found = thickness(organs, "plate")
    assert found.median_mm == pytest.approx(10, abs=voxel_mm(organs) / 2)
    assert found.thick_mm > 30  # from rim to rim


def test_thin_and_thick_parts_are_told_apart():
    organs, middle = scene(GRIDS[0].values[0], {"rod": cylinder(3, 30)}, 36)
    one, _ = scene(GRIDS[0].values[0], {"ball": ball((0, 0, 0), 14)}, 36)
    both = LabelMap(np.maximum(organs.array, one.array), organs.ijk_to_ras, [Structure(1, "pin", "Pin")])
    found = thickness(both, "pin")
    assert found.thin_mm < 8 < 20 < found.thick_mm
    assert abs(np.array(found.thin_ras)[0] - middle)[2] > 12  # on the rod


def test_the_command_and_an_empty_structure(tmp_path, capfd):
    organs, _ = scene(np.diag([2.0, 2.0, 2.0, 1.0]), {"ball": ball((0, 0, 0), 14)}, 24)
    write_label_map(organs, tmp_path / "ball.nii.gz")
    assert main(["measure", str(tmp_path / "ball.nii.gz"), "--thickness", "ball"]) == 0
    assert "Ball: median thickness 2" in capfd.readouterr().out
    empty = LabelMap(np.zeros((5, 5, 5), np.uint8), np.eye(4), [Structure(1, "ball", "Ball")])
    with pytest.raises(InputError, match="no voxels"):
        thickness(empty, "ball")
