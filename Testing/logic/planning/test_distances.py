"""Distances, contact and diameters against closed formulas, trimesh and VTK's distance filter."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.distance import pdist
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkFiltersGeneral import vtkDistancePolyDataFilter

from DeepSegLogic import InputError, LabelMap, Structure, UsageError, make_surfaces
from DeepSegLogic.planning import contact, diameters, distance
from DeepSegLogic.planning.closest import closest_between, closest_to_segment
from DeepSegLogic.planning.distances import _farthest
from DeepSegLogic.surfaces import Surface
from DeepSegLogic.surfaces.surface import polydata

from .scenes import GRIDS, ball, box, scene, voxel_mm

TUMOR, VEIN = Structure(1, "tumor", "Tumor"), Structure(2, "vein", "Vein")


def solid(mesh, structure=TUMOR):
    return Surface(structure, np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def to_surface(points, surface):
    """The distance of each point to a surface, by trimesh, triangle by triangle."""
    corners = surface.points[surface.triangles]
    found = [trimesh.triangles.closest_point(corners, np.broadcast_to(p, (len(corners), 3))) for p in points]
    return np.array([np.linalg.norm(on - p, axis=1).min() for on, p in zip(found, points, strict=True)])


def turned_box(extents, angle, axis, at):
    matrix = trimesh.transformations.rotation_matrix(np.radians(angle), axis)
    matrix[:3, 3] = at
    return solid(trimesh.creation.box(extents, matrix))


@pytest.mark.parametrize("grid", GRIDS)
def test_balls_are_as_far_apart_as_the_formula_says(grid):
    centers = np.array([[-18, 3, -4], [15, -5, 9]], float)
    balls, middle = scene(grid, {"tumor": ball(centers[0], 12), "vein": ball(centers[1], 9)})
    found = distance(balls, "Tumor", "2")
    axis = centers[1] - centers[0]
    gap = np.linalg.norm(axis)
    assert found.distance_mm == pytest.approx(gap - 21, abs=0.5 * voxel_mm(balls))
    expected = centers + np.array([[12], [-9]]) * axis / gap + middle
    assert np.linalg.norm(np.array(found.points_ras) - expected, axis=1).max() < 3 * voxel_mm(balls)
    assert np.linalg.norm(np.subtract(*found.points_ras)) == pytest.approx(found.distance_mm)
    assert not found.notes


@pytest.mark.parametrize("grid", GRIDS)
def test_no_vertex_or_face_of_vtk_and_trimesh_is_nearer(grid):
    balls, _ = scene(grid, {"tumor": ball((-15, 0, 0), 12), "vein": ball((16, 4, 6), 9)})
    one, other = make_surfaces(balls)
    found = closest_between(one, other)
    by_vtk = vtkDistancePolyDataFilter()
    by_vtk.SetInputData(0, polydata(one.points, one.triangles))
    by_vtk.SetInputData(1, polydata(other.points, other.triangles))
    by_vtk.Update()
    nearest = min(np.abs(vtk_to_numpy(by_vtk.GetOutput(port).GetPointData().GetScalars())).min() for port in (0, 1))
    assert found.mm <= nearest + 1e-6
    samples = trimesh.sample.sample_surface(trimesh.Trimesh(other.points, other.triangles), 20_000, seed=1)[0]
    near = samples[np.argsort(np.linalg.norm(samples - found.other, axis=1))[:20]]
    apart = to_surface(near, one)
    assert found.mm - 1e-9 <= apart.min() < found.mm + 0.1
    assert nearest - found.mm < 0.01
    assert max(to_surface(found.one[None], one)[0], to_surface(found.other[None], other)[0]) < 1e-6


def test_edges_that_pass_each_other_are_nearer_than_any_vertex():
    """Two bars on edge, crosswise: √2/2 of their sides from each middle to the edge."""
    one = turned_box((60, 10, 10), 45, (1, 0, 0), (0, 0, 0))
    other = turned_box((10, 60, 10), 45, (0, 1, 0), (3, 4, 20))
    found = closest_between(one, other)
    assert found.mm == pytest.approx(20 - 10 * np.sqrt(2), abs=1e-9)
    np.testing.assert_allclose(found.one, (3, 0, 5 * np.sqrt(2)), atol=1e-9)


def test_surfaces_that_cross_have_no_distance():
    one, other = turned_box((60, 10, 10), 0, (1, 0, 0), (0, 0, 0)), turned_box((10, 60, 6), 0, (1, 0, 0), (0, 0, 1))
    assert closest_between(one, other).mm == closest_between(other, one).mm == 0


def test_a_box_in_another_is_as_far_as_its_nearest_wall():
    assert closest_between(
        turned_box((4, 4, 4), 0, (1, 0, 0), (0, 0, 10)), turned_box((60, 60, 40), 0, (1, 0, 0), (0, 0, 0))
    ).mm == pytest.approx(8)


def test_a_segment_beside_on_and_through_a_box():
    cube = turned_box((10, 10, 10), 45, (0, 0, 1), (0, 0, 0))
    beside = closest_to_segment(np.array([9.0, -50, 1]), np.array([9.0, 50, 1]), cube)
    assert beside.mm == pytest.approx(9 - 5 * np.sqrt(2))
    short = closest_to_segment(np.array([0, 0, 8.0]), np.array([0, 0, 50.0]), cube)
    assert short.mm == pytest.approx(3)
    assert closest_to_segment(np.array([0, 0, 50.0]), np.array([0, 0, -50.0]), cube).mm == 0


@pytest.mark.parametrize("grid", GRIDS)
def test_structures_that_touch_have_no_distance_and_the_area_that_they_share(grid):
    """The boxes share a wall of 30 × 24 mm; smoothing rounds its rim by a voxel at most."""
    boxes, _ = scene(grid, {"tumor": box((-20, -15, -12), (0, 15, 12)), "vein": box((0, -15, -12), (20, 15, 12))}, 30)
    assert distance(boxes, "tumor", "vein").distance_mm == 0
    found = contact(boxes, "tumor", "vein")
    assert found.area_mm2 == pytest.approx(contact(boxes, "vein", "tumor").area_mm2, rel=1e-3)
    rim = 2 * (30 + 24) * voxel_mm(boxes)
    assert 30 * 24 - rim < found.area_mm2 < 1.05 * (30 * 24 + rim / 2)
    assert 0 < found.percent < 50


@pytest.mark.parametrize("grid", GRIDS)
def test_the_part_of_a_ball_near_a_wall_is_a_cap(grid):
    """Archimedes: a cap of height h has the area 2πrh."""
    shapes = {"tumor": ball((0, 0, 0), 15), "vein": box((-35, -35, -36), (35, 35, -20))}
    parts, _ = scene(grid, shapes)
    for within in (10, 15):
        found = contact(parts, "tumor", "vein", within)
        cap = 2 * np.pi * 15 * (within - 5)
        assert found.area_mm2 == pytest.approx(cap, abs=2 * np.pi * 15 * 0.5 * voxel_mm(parts))
    assert contact(parts, "tumor", "vein", 3).area_mm2 == 0
    assert contact(parts, "tumor", "vein", 100).percent == pytest.approx(100)


LEANING = np.array([[1, 0, 0], [0.6, 1, 0], [0, 0, 1]])


@pytest.mark.parametrize("grid", GRIDS)
def test_diameters_of_an_ellipsoid(grid):
    axes = np.array([30, 20, 12])
    parts, middle = scene(grid, {"tumor": lambda points: np.linalg.norm(points / axes, axis=-1) - 1})
    found = diameters(parts, "tumor")
    assert found.longest_mm == pytest.approx(60, abs=voxel_mm(parts))
    assert found.perpendicular_mm == pytest.approx(40, abs=voxel_mm(parts))
    assert np.abs(np.array(found.longest_ras) - middle)[:, 0] == pytest.approx([30, 30], abs=voxel_mm(parts))
    assert np.abs(np.array(found.perpendicular_ras) - middle)[:, 1] == pytest.approx([20, 20], abs=voxel_mm(parts))


def test_the_width_that_is_drawn_is_the_one_that_is_told():
    """Of a body that leans: the places of its largest width lie at different heights."""
    parts, _ = scene(np.eye(4), {"tumor": lambda points: np.abs(points @ LEANING.T / (30, 9, 9)).sum(-1) - 1})
    found = diameters(parts, "tumor")
    longest, across = (np.subtract(*ends) for ends in (found.longest_ras, found.perpendicular_ras))
    assert np.linalg.norm(across) == pytest.approx(found.perpendicular_mm)
    assert across @ longest == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_longest_diameter_is_that_of_all_pairs(seed, dimensions):
    random = np.random.default_rng(seed)
    points = random.standard_normal((800, dimensions))
    points *= random.uniform(10, 30, dimensions) / np.linalg.norm(points, axis=1, keepdims=True)
    a, b = _farthest(points)
    assert np.linalg.norm(points[a] - points[b]) == pytest.approx(pdist(points).max(), rel=1e-3)


def test_what_limits_a_number_is_said_beside_it():
    array = np.zeros((12, 12, 30), np.uint8)
    array[3:9, 3:9, :8], array[3:9, 3:9, 15:20] = 1, 2
    found = distance(LabelMap(array, np.eye(4), [TUMOR, VEIN]), "tumor", "vein")
    assert found.notes == ("Tumor is cut by the border of the volume.",)


def test_a_structure_that_is_empty_unknown_or_named_twice_is_refused():
    array = np.zeros((8, 8, 8), np.uint8)
    array[1:3, 1:3, 1:3], array[5:7, 5:7, 5:7] = 1, 2
    structures = [Structure(1, "lesion", "Lesion"), Structure(2, "lesion_2", "Metastasis")]
    structures += [Structure(3, "m", "Metastasis"), Structure(4, "cyst", "Cyst")]
    found = LabelMap(array, np.eye(4), structures)
    with pytest.raises(InputError, match="Cyst has no voxels"):
        distance(found, "lesion", "cyst")
    with pytest.raises(UsageError, match="no structure named 'liver'"):
        distance(found, "lesion", "liver")
    with pytest.raises(UsageError, match=r"2 structures are named 'metastasis'.*2, 3"):
        distance(found, "lesion", "metastasis")
    assert distance(found, "lesion", "2").other == "lesion_2"
    with pytest.raises(UsageError, match="-1"):
        contact(found, "lesion", "2", -1)
