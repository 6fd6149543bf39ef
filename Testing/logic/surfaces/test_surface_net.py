"""The net of all boundaries, against voxels looked at one by one; and steps of any size give the same surfaces."""

import itertools

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, make_surfaces
from DeepSegLogic.surfaces import bending, corners, diagonals, extract, fairing, surface_net, volume_preservation
from DeepSegLogic.surfaces.surface_net import build_net

OFFSET = (5, 2, 9)


def blocks(seed, shape=(9, 11, 13), labels=3):
    """Random labels in blocks of two voxels along I, so that there are planes, thin parts, edges and corners."""
    coarse = np.random.default_rng(seed).integers(0, labels + 1, shape)
    return np.repeat(coarse, 2, 2).astype(np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_vertices_and_thin_parts_are_those_of_the_voxels(seed):
    labels = blocks(seed)
    padded = np.pad(labels, 2)
    around = {  # the eight voxels at each corner, by its (K, J, I) index on the volume's grid
        tuple(np.add(corner, OFFSET) - 2.5): padded[tuple(slice(c - 1, c + 1) for c in corner)]
        for corner in itertools.product(*(range(1, n) for n in padded.shape))
    }
    used = {place for place, voxels in around.items() if len(np.unique(voxels)) > 1}
    net = build_net(labels, OFFSET)
    places = [tuple(place) for place in net.vertices[:, ::-1].tolist()]
    assert set(places) == used
    for axis, step in enumerate(np.eye(3)):
        across = {}  # the label between two vertices, where nothing else is there
        for place in used:
            ahead = tuple(np.add(place, step))
            between = np.take(around[place], 1, axis)
            if ahead in used and len(np.unique(between)) == 1 and between.flat[0]:
                across[place] = across[ahead] = True
        np.testing.assert_array_equal(net.thin[axis], [place in across for place in places])


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 3)])
def test_steps_of_any_size_give_the_same_surfaces(spacing, monkeypatch):
    labels = blocks(3, (16, 18, 12), 4)
    label_map = LabelMap(labels, np.diag([*spacing, 1.0]), [Structure(n, f"s{n}", f"S{n}") for n in range(1, 5)])
    expected = make_surfaces(label_map)
    for module in (corners, extract, surface_net):
        monkeypatch.setattr(module, "_PIECE", 61)
    for module in (bending, diagonals, fairing):
        monkeypatch.setattr(module, "PIECE", 61)
    monkeypatch.setattr(surface_net, "_LARGE_PIECE", 127)
    monkeypatch.setattr(volume_preservation, "_BLOCK", 61)
    for surface, other in zip(make_surfaces(label_map), expected, strict=True):
        np.testing.assert_array_equal(surface.triangles, other.triangles)
        np.testing.assert_allclose(surface.points, other.points, atol=1e-3)
