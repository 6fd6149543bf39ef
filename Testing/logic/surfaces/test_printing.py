"""Surfaces for printing: one shell each, judged by trimesh."""

import numpy as np
import pytest
import trimesh
import vtk

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import make_surfaces, write_surfaces
from DeepSegLogic.surfaces.printing import for_printing, thickened
from DeepSegLogic.surfaces.surface import polydata
from DeepSegLogic.util.errors import UsageError


def hollow_box_with_a_crumb():
    array = np.zeros((40, 40, 40), np.uint8)
    array[5:25, 5:25, 5:25] = 1
    array[10:20, 10:20, 10:20] = 0  # a cavity
    array[12:14, 12:14, 12:14] = 2  # with something else in it, smaller than a crumb but all there is of it
    array[32:35, 32:35, 32:35] = 1  # a crumb of 0.027 ml
    return LabelMap(array, np.eye(4), [structure_for("s1", 1), structure_for("s2", 2)])


def test_printable_surfaces_have_no_cavities_and_no_loose_pieces(tmp_path):
    labels = hollow_box_with_a_crumb()
    for printable, bodies in ((False, 3), (True, 2)):  # the cavity's wall counts as a body; s2 leaves one
        write_surfaces(labels, tmp_path, ["stl"], printable=printable, smoothing="none")
        mesh = trimesh.load_mesh(tmp_path / "s1.stl")
        assert mesh.is_watertight and mesh.body_count == bodies
    assert abs(mesh.volume - (20**3 - 2**3)) < 1  # the cavity is filled around s2
    assert trimesh.load_mesh(tmp_path / "s2.stl").is_watertight


def test_the_given_label_map_does_not_change():
    labels = hollow_box_with_a_crumb()
    before = labels.array.copy()
    for_printing(labels)
    assert np.array_equal(labels.array, before)


def plate(axis, voxels, spacing):
    """A plate across an axis of (K, J, I); its map's spacing is along (I, J, K)."""
    array = np.zeros((40, 40, 40), np.uint8)
    box = [slice(8, 32)] * 3
    box[axis] = slice(20, 20 + voxels)
    array[tuple(box)] = 1
    return LabelMap(array, np.diag([*spacing, 1.0]), [structure_for("s1", 1)])


def wall_mm(label_map, axis):
    """The thinnest place that rays through the middle of the surface find."""
    surface = make_surfaces(label_map)["s1"]
    tree = vtk.vtkOBBTree()
    tree.SetDataSet(polydata(surface.points, surface.triangles))
    tree.BuildLocator()
    along = np.eye(3)[2 - axis]
    found = []
    for offset in np.random.default_rng(0).uniform(-7, 7, (50, 3)):
        place = surface.points.mean(0) + offset * label_map.spacing_ijk * (1 - along)
        hits = vtk.vtkPoints()
        tree.IntersectWithLine(place - 500 * along, place + 500 * along, hits, None)
        depths = [np.array(hits.GetPoint(n)) @ along for n in range(hits.GetNumberOfPoints())]
        found.append(max(depths) - min(depths))
    return min(found)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize(("wall", "spacing"), [(2, (1, 1, 1)), (3, (1, 1, 1)), (4, (0.8, 0.8, 5)), (8, (0.8, 0.9, 5))])
def test_a_plate_of_one_voxel_gets_the_wall(axis, wall, spacing):
    thin = plate(axis, 1, spacing)
    assert wall_mm(thin, axis) == pytest.approx(spacing[2 - axis], rel=0.12)
    thick = thickened(thin, wall)
    assert wall_mm(thick, axis) >= 0.98 * wall
    assert wall_mm(thick, axis) <= max(wall + 2 * spacing[2 - axis], 1.12 * spacing[2 - axis])
    assert (thick.array >= thin.array).all()


def test_what_is_thick_enough_does_not_change():
    grid = np.ogrid[:40, :40, :40]
    ball = LabelMap((sum((g - 20) ** 2 for g in grid) < 12**2).astype(np.uint8), np.eye(4), [structure_for("s1", 1)])
    for label_map in (ball, plate(0, 5, (1, 1, 1))):
        np.testing.assert_array_equal(thickened(label_map, 4).array, label_map.array)


def test_walls_grow_into_background_only():
    thin = plate(0, 1, (1, 1, 1))
    thin.array[21:30] = 2
    thin.structures.append(structure_for("s2", 2))
    thick = thickened(thin, 3)
    assert (thick.array[21:30] == 2).all()
    assert (thick.array[19, 10:30, 10:30] == 1).all()


@pytest.mark.parametrize(
    "wrong", [{"min_wall_mm": 0}, {"min_wall_mm": float("nan")}, {"min_wall_mm": 1e9}, {"min_piece_ml": -1}]
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(UsageError, match="not possible"):
        for_printing(hollow_box_with_a_crumb(), **wrong)
