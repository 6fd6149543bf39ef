"""What is read from a mesh about voxels' faces, against checks that look at all triangles: by libigl and by vtk."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.surfaces import make_surfaces
from DeepSegLogic.surfaces.face_distances import boundary_faces, centres_of, distances_of_faces
from DeepSegLogic.surfaces.manifold import ManifoldSurfaces
from DeepSegLogic.surfaces.mesh_quality import check_surfaces, distances_to_mesh
from DeepSegLogic.surfaces.self_intersections import crossing_pairs
from DeepSegLogic.surfaces.simplify import simplify_surfaces
from DeepSegLogic.surfaces.surface import Surface, SurfaceSet
from DeepSegLogic.surfaces.surface_net import build_net
from DeepSegLogic.surfaces.voxel_faces import voxel_faces

from ..grids import oblique

OFFSET = (3, 5, 7)
GRIDS = [((1, 1, 1), False), ((0.7, 0.8, 2.5), False), ((0.7, 0.8, 2.5), True)]


def blobs(seed, sigma=1.0):
    """Two structures that touch each other, at corners and edges of voxels too."""
    noise = np.random.default_rng(seed)
    inside = gaussian_filter(noise.normal(size=(12, 14, 16)), sigma) > 0.05
    return np.where(inside, 1 + (gaussian_filter(noise.normal(size=inside.shape), sigma) > 0), 0).astype(np.uint8)


def moved(labels, matrix, reach, seed=0):
    """The surfaces of both structures, with the net's vertices moved at random: label → points in RAS, triangles."""
    net = build_net(labels, OFFSET)
    positions = net.vertices + np.random.default_rng(seed).uniform(-reach, reach, net.vertices.shape)
    manifold, mirrored = ManifoldSurfaces(net, positions), np.linalg.det(matrix[:3, :3]) < 0
    for label in manifold.labels:
        points, triangles, _ = manifold.of(label, mirrored)
        yield label, ijk_to_ras_points(points, matrix), triangles


def as_set(pairs):
    return {tuple(sorted(pair)) for pair in pairs.tolist()}


@pytest.fixture(autouse=True)
def libigl():
    pytest.importorskip("igl.predicates")


@pytest.mark.parametrize(("spacing", "left_handed"), GRIDS)
@pytest.mark.parametrize("reach", [0.1, 0.3, 0.49])
def test_all_triangles_that_cross_are_among_the_suspects(spacing, left_handed, reach):
    matrix, crossing, suspected, count = oblique(spacing, left_handed), 0, 0, 0
    for seed in range(8):
        for _, points, triangles in moved(blobs(seed), matrix, reach, seed):
            suspects = voxel_faces(points, triangles, matrix).folded()
            everywhere = crossing_pairs(points, triangles)
            assert as_set(crossing_pairs(points, triangles, suspects)) == as_set(everywhere)
            crossing, suspected, count = crossing + len(everywhere), suspected + len(suspects), count + len(triangles)
    assert crossing > 0  # so that the test can fail
    assert suspected < count


def test_where_a_surface_goes_twice_around_a_point_its_triangles_are_suspects():
    """Corners of six faces are twisted, so that some of their sectors overlap though all look to the same side."""
    matrix = np.eye(4)
    labels = blobs(3, 1.5)
    net = build_net(labels, OFFSET)
    degree = np.bincount(net.quads.ravel(), minlength=len(net.vertices))
    for seed in range(20):
        noise = np.random.default_rng(seed)
        positions = net.vertices.copy()
        chosen = noise.random(len(positions)) < 0.3
        chosen |= degree > 5
        positions[chosen] += noise.choice([-0.49, 0.49], (chosen.sum(), 3))
        manifold = ManifoldSurfaces(net, positions)
        for label in manifold.labels:
            points, triangles, _ = manifold.of(label)
            suspects = voxel_faces(points, triangles, matrix).folded()
            assert as_set(crossing_pairs(points, triangles, suspects)) == as_set(crossing_pairs(points, triangles))


@pytest.mark.parametrize("shift", [0.05, 0.3, 1.5])
def test_two_surfaces_in_one_mesh_are_compared_with_each_other(shift):
    matrix = oblique((0.7, 0.8, 2.5))
    surface = make_surfaces(label_map(blobs(1, 2.0) > 0, matrix))["one"]
    points = np.concatenate([surface.points, surface.points + shift])
    triangles = np.concatenate([surface.triangles, surface.triangles + len(surface.points)])
    faces = voxel_faces(points, triangles, matrix)
    everywhere = crossing_pairs(points, triangles)
    assert len(everywhere) > 0
    if faces is not None:
        assert as_set(crossing_pairs(points, triangles, faces.folded())) == as_set(everywhere)


def label_map(mask, matrix):
    return LabelMap(np.ascontiguousarray(mask, np.uint8), matrix, [Structure(1, "one", "One")])


def test_smooth_surfaces_have_few_suspects():
    k, j, i = np.ogrid[-20:21, -20:21, -20:21]
    for spacing in ((1, 1, 1), (0.8, 0.8, 5)):
        matrix = oblique(spacing)
        surface = make_surfaces(label_map((k * spacing[2]) ** 2 + j**2 + i**2 < 18**2, matrix))["one"]
        faces = voxel_faces(surface.points, surface.triangles, matrix)
        assert len(faces.folded()) < 0.05 * len(surface.triangles)


@pytest.mark.parametrize(("spacing", "left_handed"), GRIDS)
@pytest.mark.parametrize("reach", [0.0, 0.3, 0.49])
def test_distances_of_faces_are_those_to_all_triangles(spacing, left_handed, reach):
    matrix, labels = oblique(spacing, left_handed), blobs(5)
    for label, points, triangles in moved(labels, matrix, reach):
        firsts, axes = boundary_faces(labels == label, OFFSET, 10**6)
        net = build_net((labels == label).astype(np.uint8), OFFSET)
        np.testing.assert_array_equal(centres_of(firsts, axes), net.vertices[net.quads].mean(1))
        found = distances_of_faces(voxel_faces(points, triangles, matrix), firsts, axes, matrix)
        expected = distances_to_mesh(ijk_to_ras_points(centres_of(firsts, axes), matrix), points, triangles)
        known = np.isfinite(found)
        np.testing.assert_allclose(found[known], expected[known], atol=1e-9)
        assert known.mean() > 0.99


def test_faces_without_triangles_near_them_have_no_distance():
    """The mask is another one than that of the surface, and partly far from it."""
    matrix, labels = oblique((1, 1, 2)), blobs(5)
    other = np.roll(labels == 1, 3, axis=(0, 1, 2))
    firsts, axes = boundary_faces(other, OFFSET, 10**6)
    _, points, triangles = next(moved(labels, matrix, 0.4))
    found = distances_of_faces(voxel_faces(points, triangles, matrix), firsts, axes, matrix)
    expected = distances_to_mesh(ijk_to_ras_points(centres_of(firsts, axes), matrix), points, triangles)
    known = np.isfinite(found)
    assert 0 < known.mean() < 1
    np.testing.assert_allclose(found[known], expected[known], atol=1e-9)
    matrix[1, 2] += 0.3  # sheared
    assert np.isinf(distances_of_faces(voxel_faces(points, triangles, matrix), firsts, axes, matrix)).all()


def test_some_faces_are_evenly_chosen():
    mask = blobs(5) > 0
    firsts, axes = boundary_faces(mask, OFFSET, 10**6)
    some, their_axes = boundary_faces(mask, OFFSET, 100)
    step = -(-len(axes) // 100)
    np.testing.assert_array_equal(some, firsts[::step])
    np.testing.assert_array_equal(their_axes, axes[::step])
    assert len(boundary_faces(mask[:0], OFFSET, 100)[1]) == 0


def test_a_simplified_surface_has_no_faces_of_voxels_and_is_checked_all_the_same():
    k, j, i = np.ogrid[-12:13, -12:13, -12:13]
    labels = label_map(k**2 + j**2 + i**2 < 100, oblique((1, 1, 2)))
    coarse = simplify_surfaces(make_surfaces(labels), triangles=500)
    surface = coarse["one"]
    assert voxel_faces(surface.points, surface.triangles, labels.ijk_to_ras) is None
    assert check_surfaces(coarse, labels)["one"].sound


def test_an_open_surface_has_no_proof_and_all_its_crossings_are_counted():
    labels = label_map(blobs(1, 2.0) > 0, oblique((1, 1, 2)))
    whole = make_surfaces(labels)["one"]
    points, triangles = np.concatenate([whole.points, whole.points + 0.3]), whole.triangles
    both = Surface(whole.structure, points, np.concatenate([triangles, triangles[5:] + len(whole.points)]))
    found = check_surfaces(SurfaceSet([both]), labels)["one"]
    assert not found.closed
    assert found.self_intersections == len(crossing_pairs(both.points, both.triangles)) > 0
