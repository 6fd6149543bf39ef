"""Surfaces against closed formulas, and against trimesh's own idea of what a solid is."""

import sys
from contextlib import nullcontext

import numpy as np
import pytest
import trimesh

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import SMOOTHING, Surface, make_surfaces
from DeepSegLogic.surfaces.mesh_quality import check_surfaces, is_sound
from DeepSegLogic.util.errors import ResourceError, UsageError

from ..grids import oblique


def label_map(array, matrix=None):
    values = [int(v) for v in np.unique(array) if v]
    return LabelMap(
        array.astype(np.uint8), np.eye(4) if matrix is None else matrix, [structure_for(f"s{v}", v) for v in values]
    )


def solid(surface, single=False):
    """As trimesh sees it; ``single`` after a trip through STL, which merges points of the same place."""
    points = surface.points.astype(np.float32) if single else surface.points
    return trimesh.Trimesh(points, surface.triangles, process=single)


def assert_solid(surface):
    for single in (False, True):
        mesh = solid(surface, single)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.volume > 0
    assert is_sound(surface)


def ball(shape, centre, radius, spacing=(1, 1, 1)):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((g - c) * s / radius) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True)) < 1


def check_surface(surface, labels):
    return check_surfaces([surface], labels)[surface.structure.name]


@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_a_ball_keeps_its_volume_and_shape(smoothing):
    mask = ball((40, 40, 40), (20, 19.5, 20.3), 15)
    surface = make_surfaces(label_map(mask), smoothing=smoothing)["s1"]
    assert_solid(surface)
    mesh = solid(surface)
    assert mesh.volume == pytest.approx(mask.sum(), rel=1e-3)
    assert mesh.euler_number == 2
    if smoothing in ("standard", "strong"):
        assert mesh.area == pytest.approx(4 * np.pi * 15**2, rel=0.03)
        distance = np.linalg.norm(surface.points - [20.3, 19.5, 20], axis=1)
        assert np.abs(distance - 15).max() < 0.7


def test_smoothing_removes_the_staircase_of_thick_slices():
    """A sphere in slices of 5 mm: the area of the stairs is far above the sphere's, the smoothed one near it."""
    spacing = (5.0, 1.0, 1.0)
    mask = ball((12, 60, 60), (5.5, 30, 30), 24, spacing)
    labels = label_map(mask, np.diag([1.0, 1.0, 5.0, 1.0]))
    rough, smooth = (make_surfaces(labels, smoothing=s)["s1"] for s in ("none", "strong"))
    assert_solid(smooth)
    assert solid(smooth).volume == pytest.approx(mask.sum() * 5, rel=1e-3)
    assert solid(rough).area > 1.4 * 4 * np.pi * 24**2
    assert solid(smooth).area == pytest.approx(4 * np.pi * 24**2, rel=0.06)


def test_a_torus_keeps_its_hole():
    z, y, x = np.ogrid[:20, :50, :50]
    mask = (np.sqrt((x - 25) ** 2 + (y - 25) ** 2) - 15) ** 2 + (z - 10) ** 2 < 6**2
    surface = make_surfaces(label_map(mask))["s1"]
    assert_solid(surface)
    assert solid(surface).euler_number == 0
    assert solid(surface).volume == pytest.approx(mask.sum(), rel=2e-3)
    assert solid(surface).area == pytest.approx(4 * np.pi**2 * 15 * 6, rel=0.06)


@pytest.mark.parametrize("smoothing", ["none", "standard"])
def test_neighbours_share_their_boundary(smoothing):
    """Two halves of a ball: the points of the face between them are the same, and together they are the ball."""
    mask = ball((30, 30, 30), (15, 15, 15), 11).astype(np.uint8)
    mask[:, :, 15:][mask[:, :, 15:] > 0] = 2
    surfaces = make_surfaces(label_map(mask), smoothing=smoothing)
    first, second = surfaces["s1"], surfaces["s2"]
    for surface in surfaces:
        assert_solid(surface)

    def faces(surface):
        return {frozenset(map(tuple, np.round(surface.points[t], 9))) for t in surface.triangles}

    shared = faces(first) & faces(second)
    cross_section = int((mask[:, :, 14] > 0).sum())
    assert len(shared) == pytest.approx(2 * cross_section, rel=0.15)
    whole = solid(make_surfaces(label_map(mask > 0), smoothing="none")["s1"]).volume
    assert solid(first).volume + solid(second).volume == pytest.approx(whole, rel=2e-3)


def test_a_plate_of_one_voxel_keeps_its_volume():
    mask = np.zeros((12, 30, 30), bool)
    mask[6, 5:25, 5:25] = True
    surface = make_surfaces(label_map(mask), smoothing="strong")["s1"]
    assert_solid(surface)
    assert solid(surface).volume == pytest.approx(400, rel=0.02)
    assert solid(surface).body_count == 1


def test_a_structure_cut_by_the_border_is_closed():
    mask = ball((20, 20, 20), (0, 10, 10), 8)
    surface = make_surfaces(label_map(mask))["s1"]
    assert_solid(surface)
    assert solid(surface).volume == pytest.approx(mask.sum(), rel=2e-3)


@pytest.mark.parametrize("left_handed", [False, True])
def test_oblique_and_mirrored_grids_stay_outward_and_in_place(left_handed):
    mask = ball((16, 40, 30), (8, 20, 14), 12, (2.5, 0.8, 0.9))
    matrix = oblique((0.9, 0.8, 2.5), left_handed)
    labels = label_map(mask, matrix)
    surface = make_surfaces(labels)["s1"]
    assert_solid(surface)
    assert solid(surface).volume / 1000 == pytest.approx(labels.volume_ml("s1"), rel=2e-3)
    centre = ijk_to_ras_points(np.argwhere(mask)[:, ::-1].mean(0)[None], matrix)[0]
    np.testing.assert_allclose(solid(surface).center_mass, centre, atol=0.1)


@pytest.mark.parametrize(
    "voxels",
    [
        [(2, 2, 2)],
        [(2, 2, 2), (2, 3, 3)],  # touch by an edge
        [(2, 2, 2), (3, 3, 3)],  # touch by a corner
        [(2, 2, 2), (2, 3, 3), (3, 2, 3), (3, 3, 2)],  # a checkerboard
        [(2, 2, 2), (2, 3, 3), (2, 4, 4), (3, 4, 4), (3, 3, 3)],
    ],
)
@pytest.mark.parametrize("smoothing", ["none", "standard"])
def test_voxels_that_share_only_an_edge_or_corner_make_a_solid(voxels, smoothing):
    mask = np.zeros((7, 7, 7), bool)
    mask[tuple(np.array(voxels).T)] = True
    surface = make_surfaces(label_map(mask), smoothing=smoothing)["s1"]
    assert_solid(surface)
    assert solid(surface).volume == pytest.approx(len(voxels), rel=0.35)


@pytest.mark.parametrize("seed", range(8))
def test_random_labels_make_solids(seed):
    """Salt and pepper of three labels: every awkward neighbourhood there is."""
    rng = np.random.default_rng(seed)
    array = rng.choice([0, 1, 2, 255], (9, 10, 11), p=[0.55, 0.2, 0.15, 0.1])
    for surface in make_surfaces(label_map(array), smoothing="none"):
        mesh = solid(surface)
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert is_sound(surface)
        assert mesh.volume == pytest.approx((array == surface.structure.value).sum(), rel=0.12)


def test_the_wall_of_a_cavity_is_a_component():
    mask = ball((30, 30, 30), (15, 15, 15), 12) & ~ball((30, 30, 30), (15, 15, 15), 5)
    quality = check_surface(make_surfaces(label_map(mask))["s1"], label_map(mask))
    assert (quality.components, quality.mask_components, quality.euler) == (2, 1, 4)
    assert quality.sound
    assert abs(quality.drift_percent) < 0.5


def test_real_organs_keep_their_volume(shared_data):
    """61 structures at 3 mm, ribs of a few voxels among them."""
    from DeepSegLogic.io import read_label_map

    labels = read_label_map(shared_data / "abdomen_ct" / "labels.nii.gz")
    drifts = []
    for surface in make_surfaces(labels):
        mesh = solid(surface, single=True)
        assert mesh.is_watertight, surface.structure.name
        ml = labels.volume_ml(surface.structure.name)
        if ml > 1:
            drifts.append(abs(mesh.volume / 1000 / ml - 1) * 100)
    assert len(drifts) > 50
    assert np.median(drifts) <= 0.5
    assert max(drifts) <= 2


def test_the_checks_find_open_inverted_and_doubled_triangles():
    labels = label_map(ball((16, 16, 16), (8, 8, 8), 5))
    good = make_surfaces(labels)["s1"]
    opened = Surface(good.structure, good.points, good.triangles[1:])
    turned = Surface(good.structure, good.points, good.triangles[:, ::-1])
    doubled = Surface(good.structure, good.points, np.concatenate([good.triangles, good.triangles[:1]]))
    assert check_surface(good, labels).sound
    assert not check_surface(opened, labels).closed
    assert not check_surface(turned, labels).outward
    assert not check_surface(doubled, labels).edge_manifold


def test_crossing_triangles_are_counted():
    pytest.importorskip("igl.predicates")
    labels = label_map(ball((16, 16, 16), (8, 8, 8), 5))
    good = make_surfaces(labels)["s1"]
    assert check_surface(good, labels).self_intersections == 0
    pierced = Surface(good.structure, good.points.copy(), good.triangles)
    pierced.points[np.argmax(good.points[:, 0])] = [0, 8.3, 8.2]  # a point pulled out at the other side
    assert check_surface(pierced, labels).self_intersections > 0
    array = np.zeros((20, 20, 20), np.uint8)
    array[2:8, 2:8, 2:8] = 1
    box = make_surfaces(label_map(array), smoothing="none")["s1"]
    twice = Surface(
        box.structure,
        np.concatenate([box.points, box.points + 2.2]),
        np.concatenate([box.triangles, box.triangles + len(box.points)]),
    )
    assert check_surface(twice, label_map(array)).self_intersections > 0


def test_without_libigl_the_number_of_crossings_is_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "igl.predicates", None)
    labels = label_map(ball((16, 16, 16), (8, 8, 8), 5))
    assert check_surface(make_surfaces(labels)["s1"], labels).self_intersections is None


def crossings(surfaces):
    predicates = pytest.importorskip("igl.predicates")
    return [len(predicates.find_self_intersections(s.points, s.triangles)[1]) for s in surfaces]


def thin_and_jagged():
    return label_map(np.random.default_rng(0).choice(4, (12, 13, 14), p=[0.55, 0.2, 0.15, 0.1]))


def test_repair_leaves_no_crossing_triangles_and_keeps_boundaries_shared():
    labels = thin_and_jagged()
    as_they_are, mended = (make_surfaces(labels, repair_crossings=u) for u in (False, True))
    assert sum(crossings(as_they_are)) > 0
    assert sum(crossings(mended)) == 0
    for surface in mended:
        assert_solid(surface)

    def shared(surfaces):
        faces = [{frozenset(map(tuple, s.points[t])) for t in s.triangles} for s in surfaces]
        return [len(a & b) for n, a in enumerate(faces) for b in faces[:n]]

    assert shared(mended) == shared(as_they_are)


def test_without_libigl_the_repair_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "igl.predicates", None)
    labels = thin_and_jagged()
    for one, other in zip(make_surfaces(labels), make_surfaces(labels, repair_crossings=True), strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def test_an_empty_label_map_has_no_surfaces():
    assert len(make_surfaces(label_map(np.zeros((4, 5, 6))))) == 0


def test_unknown_smoothings_and_structures_are_refused():
    labels = label_map(ball((16, 16, 16), (8, 8, 8), 5))
    with pytest.raises(UsageError, match="Unknown smoothing"):
        make_surfaces(labels, smoothing="silky")
    with pytest.raises(UsageError, match="no structure"):
        make_surfaces(labels, ["liver"])


def test_too_little_memory_is_an_error_that_says_how_much_is_needed(monkeypatch):
    import psutil

    free = psutil.virtual_memory()._replace(available=10_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(ResourceError, match=r"30×30×30 voxels need about 0\.0 GB"):
        make_surfaces(label_map(np.ones((30, 30, 30), np.uint8)))


@pytest.mark.parametrize(("thickness", "enough"), [(1, True), (3, False)])
def test_surfaces_of_thick_slices_need_more_memory(monkeypatch, thickness, enough):
    monkeypatch.setattr("DeepSegLogic.surfaces.extract.free_memory", lambda: 15 * 20**3)
    labels = label_map(np.ones((20, 20, 20), np.uint8), np.diag([1.0, 1, thickness, 1]))
    with nullcontext() if enough else pytest.raises(ResourceError, match="20×20×20 voxels"):
        assert make_surfaces(labels).surfaces


def test_large_label_values_give_the_same_surfaces():
    array = np.zeros((24, 24, 24), np.uint16)
    array[4:20, 4:20, 4:12], array[4:20, 4:20, 12:20] = 1, 2
    values = np.array([0, 50000, 65535], np.uint16)
    structures = [structure_for(f"s{v}", int(v)) for v in values[1:]]
    large = make_surfaces(LabelMap(values[array], np.eye(4), structures))
    for one, other in zip(make_surfaces(label_map(array)), large, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.triangles, other.triangles)
