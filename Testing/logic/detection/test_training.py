"""Artificial lesions are as stated; the loss wants what the boxes say; a short training learns."""

import numpy as np
import pytest
import torch

from DeepSegLogic import Volume
from DeepSegLogic.detection.artificial import LUNG_NODULE, LesionKind, put_lesions
from DeepSegLogic.detection.grid_training import Recipe, Scan, grid_loss, sample, targets, train_grid_detector
from DeepSegLogic.networks.grid_detector import GridDetector, boxes_of

OBLIQUE = np.array([[0.96, -0.28, 0, 5], [0.28, 0.96, 0, -7], [0, 0, 1, 3], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("matrix", [np.diag([1.0, 1.0, 2.0, 1.0]), OBLIQUE @ np.diag([-1.0, 1.0, 1.5, 1.0])])
def test_lesions_are_as_large_as_dense_and_where_they_are_said_to_be(matrix):
    lung = Volume(np.full((60, 90, 90), -850, np.int16), matrix, "lung", "CT")
    where = np.zeros(lung.array.shape, bool)
    where[15:45, 25:65, 25:65] = True
    round_ = LesionKind("ball", (16.0, 16.0), ((40.0, 40.0),), (0.0, 0.0), waviness=0.0, elongation=1.0)
    changed, (lesion,) = put_lesions(lung, where, round_, 1, seed=4)
    inside = changed.array > -405  # half way
    assert np.count_nonzero(inside) * lung.voxel_ml == pytest.approx(np.pi / 6 * 1.6**3, rel=0.1)  # of a ball, ml
    assert np.median(changed.array[changed.array > 0]) == pytest.approx(40, abs=2)
    points = np.argwhere(inside)[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
    half = np.abs(matrix[:3, :3]).sum(1) / 2
    assert np.allclose(lesion.box, [points.min(0) - half, points.max(0) + half], atol=2.01)
    assert np.allclose(lesion.box[1] - lesion.box[0], 16, atol=4)
    assert (lung.array == -850).all(), "the CT itself stays"


def test_lesions_do_not_touch_and_the_seed_repeats_them():
    lung = Volume(np.full((60, 90, 90), -850, np.int16), np.diag([1.5, 1.5, 2.0, 1.0]), "lung", "CT")
    everywhere = np.ones(lung.array.shape, bool)
    one, lesions = put_lesions(lung, everywhere, LUNG_NODULE, 8, seed=1)
    other, _ = put_lesions(lung, everywhere, LUNG_NODULE, 8, seed=1)
    assert np.array_equal(one.array, other.array) and len(lesions) == 8
    for a in lesions:
        for b in lesions:
            assert a is b or not np.all((a.box[1] > b.box[0]) & (a.box[0] < b.box[1]))
    nowhere = np.zeros_like(everywhere)
    same, none = put_lesions(lung, nowhere, LUNG_NODULE, 8, seed=1)
    assert none == [] and np.array_equal(same.array, lung.array)


def test_a_network_that_says_what_the_loss_wants_gives_the_boxes_back():
    rng = np.random.default_rng(0)
    centers = np.array([[10.0, 12, 14], [30, 30, 30], [12, 36, 20]]) + rng.uniform(-1, 1, (3, 3))
    sizes = rng.uniform(4, 14, (3, 3))
    boxes = torch.from_numpy(np.concatenate([centers - sizes / 2, centers + sizes / 2], 1).astype(np.float32))
    heat, wanted = targets(boxes, (24, 24, 24))
    output = torch.cat([torch.logit(heat.clamp(1e-4, 1 - 1e-4))[None], wanted])
    found, _, kinds = boxes_of(output, 1, 0.99, 10)
    assert len(found) == 3 and set(kinds.tolist()) == {0}
    assert torch.cdist(found, boxes).min(1).values.max() < 1e-3
    good, bad = output.clone(), output.clone()
    bad[1:] += 1
    assert grid_loss(good[None], [boxes]) < 0.3 < grid_loss(bad[None], [boxes])
    assert grid_loss(torch.full((1, 7, 8, 8, 8), -9.0), [torch.zeros(0, 6)]) < 1e-2, "no lesion, none found"


def test_every_divisor_fits_its_network():
    for features in ([4], [4, 6], [4, 6, 8]):
        network = GridDetector(2, features).eval()
        n = 2 * network.divisor
        assert network(torch.zeros(1, 1, n, n, n)).shape == (1, 8, n // 2, n // 2, n // 2)


def test_a_short_training_learns():
    recipe = Recipe(LUNG_NODULE, patch=24, features=(6, 8), batch=2, lesions=2, rate=1e-2)
    rng = np.random.default_rng(0)
    lung = Scan(rng.normal(-850, 30, (40, 40, 40)).astype(np.float32), np.ones((40, 40, 40), bool))
    image, boxes, instances = sample(lung, recipe, np.random.default_rng(5))
    assert instances.shape == image.shape[1:] and set(instances.unique().tolist()) <= set(range(len(boxes) + 1))
    assert image.shape == (1, 24, 24, 24) and boxes.shape[1] == 6 and 0 <= float(image.min()) <= float(image.max()) <= 1
    losses = []
    network = train_grid_detector([lung], recipe, lambda step: step / 60, lambda _, loss: losses.append(loss))
    assert not network.training and len(losses) == 60
    assert np.mean(losses[-15:]) < 0.8 * np.mean(losses[:15])
