"""Corrections by what the network believed."""

import numpy as np
import pytest
from scipy import ndimage

from DeepSegLogic.data.probabilities import TopProbabilities
from DeepSegLogic.data.volume import Volume, volume_digest
from DeepSegLogic.refinement import Point, refine
from DeepSegLogic.util.errors import InputError

from .conftest import LIVER, dice


def top_of(believed, volume):
    """Of a network that believed so much (of 255) in the liver, and in nothing else."""
    labels = np.stack([np.full(believed.shape, LIVER, np.uint8), np.zeros(believed.shape, np.uint8)])
    return TopProbabilities(labels, np.stack([believed, 255 - believed]), volume.ijk_to_ras, volume_digest(volume))


def test_probabilities_bring_a_piece_back_where_grey_values_cannot(phantom, bitten):
    """A network that nearly believed in the missing piece, where grey values hardly tell: a click brings it back."""
    click = [Point("liver", True, phantom.ras(20, 22, 10))]
    flat = Volume(np.where(phantom.truth > 0, 50, 45).astype(np.int16), phantom.matrix())
    flat.array[0, 0, :2] = -1000, 1000
    missing = (phantom.truth == LIVER) & (bitten.array == 0)
    believed = np.zeros(missing.shape, np.uint8)
    believed[bitten.array == LIVER] = 250
    believed[missing] = 115
    top = top_of(believed, flat)
    without = refine(bitten, click, volume=flat).label_map.array == LIVER
    with_them = refine(bitten, click, volume=flat, probabilities=top).label_map.array == LIVER
    truth = phantom.truth == LIVER
    assert dice(with_them, truth) > max(0.98, dice(without, truth) - 1e-9)


def _shaved(phantom, belief: int):
    """The liver without its two outer layers of voxels, of which the network believed so much (of 255); grey values
    tell nothing."""
    truth = phantom.truth == LIVER
    kept = ndimage.binary_erosion(truth, iterations=2)
    believed = np.where(kept, 250, np.where(truth, belief, 2)).astype(np.uint8)
    flat = Volume(np.zeros(truth.shape, np.int16), phantom.matrix())
    flat.array[0, 0, :2] = -1000, 1000
    top = top_of(believed, flat)
    rim = truth & ~kept
    click = tuple(int(x) for x in np.argwhere(rim & ndimage.binary_dilation(kept))[0])
    return phantom.labels(np.where(kept, LIVER, 0).astype(np.uint8)), flat, top, rim, click


def test_one_click_corrects_a_boundary_drawn_too_tight(phantom):
    labels, flat, top, rim, click = _shaved(phantom, 40)
    prompt = [Point("liver", True, phantom.ras(*click))]
    with_them = refine(labels, prompt, volume=flat, probabilities=top).label_map.array != labels.array
    without = refine(labels, prompt, volume=flat).label_map.array != labels.array
    away = np.sqrt(sum((g - c) ** 2 for g, c in zip(np.ogrid[:40, :48, :56], click, strict=True)))
    assert with_them[rim & (away < 4)].mean() > 0.9
    assert (with_them & rim).sum() > 2 * (without & rim).sum()
    assert (with_them & ~rim).sum() < 0.1 * with_them.sum()


def test_a_network_that_saw_nothing_at_the_click_does_not_spread_it(phantom):
    labels, flat, top, _, click = _shaved(phantom, 2)
    prompt = [Point("liver", True, phantom.ras(*click))]
    with_them = refine(labels, prompt, volume=flat, probabilities=top).label_map.array != labels.array
    without = refine(labels, prompt, volume=flat).label_map.array != labels.array
    assert with_them.sum() <= without.sum()


def test_probabilities_of_another_volume_are_refused(phantom):
    top = TopProbabilities(
        np.zeros((1, 4, 4, 4), np.uint8), np.zeros((1, 4, 4, 4), np.uint8), phantom.matrix(), "sha256:0"
    )
    with pytest.raises(InputError, match="another volume"):
        refine(
            phantom.labels(),
            [Point("liver", True, phantom.ras(5, 5, 5))],
            volume=phantom.volume,
            probabilities=top,
        )
