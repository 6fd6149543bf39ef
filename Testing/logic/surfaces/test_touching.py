"""Structures that touch only at edges and corners of voxels: each has the surface that it has by itself."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter, generate_binary_structure
from scipy.spatial import cKDTree

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import make_surfaces

FACES = generate_binary_structure(3, 1)


def label_map(array, spacing=(1, 1, 1)):
    structures = [structure_for(f"s{v}", v) for v in range(1, array.max() + 1)]
    return LabelMap(array, np.diag([*spacing, 1.0]), structures)


def boxes(*starts, size=4):
    """Cubes, each with a label of its own."""
    array = np.zeros((14, 14, 14), np.uint8)
    for value, start in enumerate(starts, start=1):
        array[tuple(slice(s, s + size) for s in start)] = value
    return array


def blobs(seed):
    """Two structures of many random parts. No voxel of one has a face in common with one of the other."""
    rng = np.random.default_rng(seed)
    soft = gaussian_filter(rng.normal(size=(18, 20, 22)), 1.2)
    one, two = soft > 0.1, soft < -0.02
    array = one.astype(np.uint8)
    array[two & ~binary_dilation(one, FACES)] = 2
    return array


def assert_as_by_themselves(labels):
    together = make_surfaces(labels)
    for surface in together:
        alone = make_surfaces(labels, [surface.structure.name])[surface.structure.name]
        assert len(surface.points) == len(alone.points)
        assert len(surface.triangles) == len(alone.triangles)
        # The volumes are restored to within a small part of a voxel, so points differ a little.
        assert cKDTree(alone.points).query(surface.points)[0].max() < 0.05
        assert cKDTree(surface.points).query(alone.points)[0].max() < 0.05


@pytest.mark.parametrize("other", [(7, 7, 3), (7, 3, 7), (3, 7, 7), (7, 7, 7), (7, 5, 7), (7, 7, 1)])
def test_boxes_that_share_an_edge_or_a_corner(other):
    assert_as_by_themselves(label_map(boxes((3, 3, 3), other)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 3)])
def test_random_structures_without_a_common_face(seed, spacing):
    array = blobs(seed)
    assert (binary_dilation(array == 1, np.ones((3, 3, 3))) & (array == 2)).sum() > 50
    assert_as_by_themselves(label_map(array, spacing))
