"""Distances to a mask's boundary against those to its faces as a mesh, by vtk."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.surfaces.mesh_quality import distances_to_boundary, distances_to_mesh
from DeepSegLogic.surfaces.surface_net import build_net

from ..grids import oblique

OFFSET = (3, 5, 7)


def blobs():
    return gaussian_filter(np.random.default_rng(0).normal(size=(12, 14, 16)), 1.2) > 0.05


def scattered(mask, matrix, reach):
    """Points up to so many voxels from the corners of the mask's boundary, and what its faces are as a mesh."""
    net = build_net(mask.astype(np.uint8), OFFSET)
    moves = np.random.default_rng(1).uniform(-reach, reach, net.vertices.shape)
    faces = np.concatenate([net.quads[:, [0, 1, 2]], net.quads[:, [0, 2, 3]]])
    return ijk_to_ras_points(net.vertices + moves, matrix), ijk_to_ras_points(net.vertices, matrix), faces


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 0.8, 1.5)])
@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("reach", [0.49, 3.0])
def test_near_distances_are_exact_and_others_are_infinite(spacing, left_handed, reach):
    matrix = oblique(spacing, left_handed)
    points, corners, faces = scattered(blobs(), matrix, reach)
    expected = distances_to_mesh(points, corners, faces)
    found = distances_to_boundary(points, blobs(), OFFSET, matrix)
    known = np.isfinite(found)
    np.testing.assert_allclose(found[known], expected[known], atol=1e-9)
    assert (expected[~known] > 0.5 * min(spacing)).all()
    assert known.mean() > (0.7 if reach < 1 else 0.2)


def test_on_a_sheared_grid_all_distances_are_infinite():
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[1, 2] = 0.3
    points, _, _ = scattered(blobs(), matrix, 0.4)
    assert np.isinf(distances_to_boundary(points, blobs(), OFFSET, matrix)).all()
