"""Distance maps against two balls, a cylinder around a ball, trimesh, and VTK's own reader."""

import numpy as np
import pytest
import trimesh
from vtkmodules.util import numpy_support
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

from DeepSegLogic import UsageError
from DeepSegLogic.cli import main
from DeepSegLogic.io import write_label_map
from DeepSegLogic.planning import contour_lines, distance_map, write_distance_map
from DeepSegLogic.surfaces import make_surfaces

from .scenes import GRIDS, ball, scene, voxel_mm

R, TO = 12.0, np.array([28.0, 0.0, 0.0])  # radius of both balls, and where the other one is


@pytest.mark.parametrize("grid", GRIDS)
def test_two_balls(grid):
    organs, middle = scene(grid, {"one": ball((0, 0, 0), R), "other": ball(TO, R)}, 42)
    found = distance_map(organs, "one", "other")
    truth = np.linalg.norm(found.surface.points - middle - TO, axis=1) - R
    assert np.abs(found.distances_mm - truth).max() < voxel_mm(organs) / 2
    for band in found.bands[:-1]:  # the cap of a sphere that is nearer than a distance to a point
        reach, away = band.to_mm + R, np.linalg.norm(TO)
        cap = 2 * np.pi * R**2 * (1 - np.clip((R**2 + away**2 - reach**2) / (2 * R * away), -1, 1))
        share = sum(b.area_mm2 for b in found.bands if b.to_mm is not None and b.to_mm <= band.to_mm)
        assert share == pytest.approx(cap, abs=0.04 * 4 * np.pi * R**2), band
    assert sum(band.percent for band in found.bands) == pytest.approx(100)
    colors = {tuple(c) for c in found.colors.tolist()}
    assert len(colors) == len([band for band in found.bands if band.area_mm2 > 0])


@pytest.mark.parametrize("grid", GRIDS)
def test_contour_lines_are_the_circles_where_spheres_meet(grid):
    organs, middle = scene(grid, {"one": ball((0, 0, 0), R), "other": ball(TO, R)}, 42)
    found = distance_map(organs, "one", "other")
    lines = contour_lines(found)
    assert lines.GetNumberOfPolys() == 0 and lines.GetNumberOfLines() > 0
    points = numpy_support.vtk_to_numpy(lines.GetPoints().GetData())
    levels = numpy_support.vtk_to_numpy(lines.GetPointData().GetArray("distance_mm"))
    away = np.linalg.norm(TO)
    for level in found.levels_mm:
        on = points[np.isclose(levels, level, atol=1e-4)] - middle
        x = (R**2 + away**2 - (level + R) ** 2) / (2 * away)  # of the plane of the circle
        assert np.abs(on[:, 0] - x).max() < voxel_mm(organs)
        assert np.abs(np.hypot(on[:, 1], on[:, 2]) - np.sqrt(R**2 - x**2)).max() < voxel_mm(organs)
    lifted = numpy_support.vtk_to_numpy(contour_lines(found, 0.5).GetPoints().GetData())
    assert np.linalg.norm(lifted - points, axis=1) == pytest.approx(0.5, abs=0.1)


def test_trimesh_finds_the_same_and_vtk_reads_it_back(tmp_path):
    organs, _ = scene(GRIDS[1].values[0], {"one": ball((0, 0, 0), R), "other": ball(TO, R)}, 42)
    found = distance_map(organs, "one", "other", [6, 9])
    surfaces = make_surfaces(organs)
    other = trimesh.Trimesh(surfaces["other"].points, surfaces["other"].triangles, process=False)
    some = np.linspace(0, len(found.distances_mm) - 1, 60).astype(int)
    _, distances, _ = trimesh.proximity.closest_point_naive(other, found.surface.points[some])
    np.testing.assert_allclose(found.distances_mm[some], distances, atol=1e-3)
    write_distance_map(found, tmp_path / "map.vtp")
    reader = vtkXMLPolyDataReader()
    reader.SetFileName(str(tmp_path / "map.vtp"))
    reader.Update()
    data = reader.GetOutput().GetPointData()
    read = numpy_support.vtk_to_numpy(data.GetArray("distance_mm"))
    np.testing.assert_array_equal(read, found.distances_mm)
    colors = numpy_support.vtk_to_numpy(data.GetArray("color"))
    assert reader.GetOutput().GetFieldData().GetAbstractArray("SPACE").GetValue(0) == "RAS"  # Slicer takes LPS without
    assert len({tuple(c) for c in colors[read <= 6].tolist()}) == 1 != len({tuple(c) for c in colors.tolist()})


@pytest.mark.parametrize("levels", [[], [0], [10, 5], [-1, 2], [5, float("nan")]])
def test_levels_that_do_not_rise_are_refused(levels):
    organs, _ = scene(np.diag([3.0, 3.0, 3.0, 1.0]), {"one": ball((0, 0, 0), R), "other": ball(TO, R)}, 42)
    with pytest.raises(UsageError):
        distance_map(organs, "one", "other", levels)


def test_the_command_writes_the_map_and_says_the_bands(tmp_path, capfd):
    organs, _ = scene(np.diag([2.0, 2.0, 2.0, 1.0]), {"one": ball((0, 0, 0), R), "other": ball(TO, R)}, 42)
    write_label_map(organs, tmp_path / "organs.seg.nrrd")
    command = ["measure", str(tmp_path / "organs.seg.nrrd"), "--distance-map", "one,other"]
    assert main([*command, "--vtp", str(tmp_path / "map.vtp")]) == 0
    printed = capfd.readouterr().out
    assert "One to Other: " in printed and "within 5 mm" in printed and (tmp_path / "map.vtp").exists()
    assert main([*command, "--vtp", str(tmp_path / "map.txt")]) != 0
    assert "does not end with .vtp" in capfd.readouterr().err and not (tmp_path / "map.txt").exists()
