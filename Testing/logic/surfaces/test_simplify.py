"""Simplified surfaces, judged by trimesh."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import make_surfaces
from DeepSegLogic.surfaces.simplify import simplify_surfaces
from DeepSegLogic.util.errors import Cancelled, UsageError


def label_map(array, matrix=None):
    values = [int(v) for v in np.unique(array) if v]
    matrix = np.eye(4) if matrix is None else matrix
    return LabelMap(array.astype(np.uint8), matrix, [structure_for(f"s{v}", v) for v in values])


def solid(surface):
    return trimesh.Trimesh(surface.points, surface.triangles, process=False)


def assert_solid(surface):
    mesh = solid(surface)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0


def ball(n, radius):
    grid = np.ogrid[:n, :n, :n]
    return sum((g - n / 2) ** 2 for g in grid) < radius**2


def thirds():
    """A ball of three structures that meet at a line, on an oblique grid."""
    array = ball(50, 20).astype(np.uint8)
    array[:, :, 25:][array[:, :, 25:] > 0] = 2
    array[27:][array[27:] > 0] = 3
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(np.eye(3) + 0.3 * np.random.default_rng(1).standard_normal((3, 3)))[0] * 0.9
    return label_map(array, matrix)


def directed(surface):
    """Triangles by the places of their corners, from the smallest corner on: those turned round are others."""
    corners = [[tuple(p) for p in surface.points[t]] for t in surface.triangles]
    return {tuple(c[c.index(min(c)) :] + c[: c.index(min(c))]) for c in corners}


def test_simplified_surfaces_keep_to_the_error_or_the_number():
    surfaces = make_surfaces(label_map(ball(50, 20)))
    simple = simplify_surfaces(surfaces, max_error_mm=0.3)["s1"]
    assert_solid(simple)
    assert len(simple.triangles) < 0.5 * len(surfaces["s1"].triangles)
    samples, _ = trimesh.sample.sample_surface(solid(surfaces["s1"]), 200_000, seed=0)
    distance, _ = cKDTree(samples).query(simple.points)
    assert distance.max() <= 0.3 + 0.15  # samples lie 0.15 mm apart
    few = simplify_surfaces(surfaces, triangles=500)["s1"]
    assert_solid(few)
    assert len(few.triangles) <= 500
    for wrong in (0, float("nan")):
        with pytest.raises(UsageError):
            simplify_surfaces(surfaces, max_error_mm=wrong)


@pytest.mark.parametrize("target", [{"max_error_mm": 0.4}, {"triangles": 600}])
def test_joint_simplification_leaves_no_gap_and_no_overlap(target):
    """Take away what two structures have both, once each way round: what is left is the ball's own surface, closed,
    and it holds what the three hold together."""
    surfaces = make_surfaces(thirds())
    simple = simplify_surfaces(surfaces, joint=True, **target)
    shared, outside = 0, set()
    for surface in simple:
        assert_solid(surface)
        assert len(surface.triangles) < 0.6 * len(surfaces[surface.structure.name].triangles)
        assert solid(surface).volume == pytest.approx(solid(surfaces[surface.structure.name]).volume, rel=0.01)
        for a, b, c in directed(surface):
            turned = (a, c, b)
            if turned in outside:
                outside.remove(turned)
                shared += 1
            else:
                outside.add((a, b, c))
    assert shared > 100
    hull = trimesh.Trimesh(np.array(list(outside)).reshape(-1, 3), np.arange(3 * len(outside)).reshape(-1, 3))
    assert hull.is_watertight
    assert hull.euler_number == 2
    assert hull.volume == pytest.approx(sum(solid(s).volume for s in simple), rel=1e-9)


def test_joint_simplification_keeps_to_the_error():
    surfaces = make_surfaces(thirds())
    for surface in simplify_surfaces(surfaces, max_error_mm=0.3, joint=True):
        before = solid(surfaces[surface.structure.name])
        samples, _ = trimesh.sample.sample_surface(before, 100_000, seed=0)
        assert cKDTree(samples).query(surface.points)[0].max() <= 0.3 + 0.15  # samples lie 0.15 mm apart


def test_real_organs_stay_sound_and_share_their_boundary(shared_data):
    from DeepSegLogic.io import read_label_map

    labels = read_label_map(shared_data / "abdomen_ct" / "labels.nii.gz")
    surfaces = make_surfaces(labels, ["liver", "gallbladder", "kidney_right", "duodenum", "pancreas", "stomach"])
    simple = simplify_surfaces(surfaces, triangles=3000, joint=True)
    for surface in simple:
        assert_solid(surface)
    liver = {tuple(p) for p in simple["liver"].points}
    assert len(liver & {tuple(p) for p in simple["gallbladder"].points}) > 20
    assert len(simple["liver"].triangles) < 0.5 * len(surfaces["liver"].triangles)


def test_simplification_can_be_cancelled():
    def stop():
        return True

    with pytest.raises(Cancelled):
        simplify_surfaces(make_surfaces(thirds()), triangles=100, cancel=stop)
