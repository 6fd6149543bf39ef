"""Variants of a model: the same each time, unlike each other, and right on average."""

import numpy as np
import pytest
import torch
from torch import nn

from DeepSegLogic.review.members import MEMBERS, members
from DeepSegLogic.review.varied_networks import Augmented, WithDropout
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError, UsageError

from ..inference.tiny import model, network, volume


def dropping(p=0.5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 16, 1), nn.Dropout3d(p), nn.Conv3d(16, 4, 1)).eval()


@pytest.mark.parametrize("variation", ["augmentation", "dropout"])
def test_variants_differ_from_each_other_but_not_from_themselves(variation):
    source = volume((16, 16, 16), (2.0, 2.0, 3.0))
    labels = []
    for _ in range(2):
        variants = members(model(net=dropping()), variation)
        assert len(variants) == MEMBERS
        labels.append([segment(source, v, device="cpu").label_map.array for v in variants])
    np.testing.assert_array_equal(*labels)
    assert len({array.tobytes() for array in labels[0]}) > 2
    plain = segment(source, model(net=dropping()), device="cpu").label_map.array
    np.testing.assert_array_equal(labels[0][0], plain)  # the first is the model as it is


def test_augmentation_is_undone_in_the_output():
    """What only looks at a voxel itself gives the same, but for noise and contrast."""

    class Same(nn.Module):
        def forward(self, x):
            return torch.cat([x, 2 * x], 1)

    x = torch.randn(2, 1, 9, 10, 11)
    for seed in range(1, 6):
        varied = Augmented(Same(), (0, 2), seed)(x)
        for channel, scale in ((0, 1), (1, 2)):
            inner = (slice(None), slice(3, -3), slice(3, -3), slice(3, -3))  # the rim repeats what is beside it
            before, after = x[:, 0][inner].flatten().numpy(), varied[:, channel][inner].flatten().numpy()
            slope, _ = np.polyfit(before, after, 1)
            assert 0.88 * scale < slope < 1.12 * scale
            assert np.corrcoef(before, after)[0, 1] > 0.995


def test_dropout_follows_its_probability_and_nothing_else_trains():
    layers = nn.Sequential(nn.BatchNorm3d(64), nn.Dropout3d(0.25))
    network = WithDropout(layers, seed=1).eval()
    assert layers[1].training and not layers[0].training
    state = torch.random.get_rng_state()
    y = network(torch.ones(8, 64, 2, 2, 2))
    assert torch.equal(torch.random.get_rng_state(), state)  # the user's random numbers go on as they were
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert y.mean().item() == pytest.approx(1, abs=0.1)


def test_folds_are_the_networks_of_an_ensemble():
    ensemble = model()
    ensemble.networks = [network(seed=n) for n in range(3)]
    source = volume((16, 16, 16), (2.0, 2.0, 3.0))
    found = [segment(source, one, device="cpu").label_map for one in members(ensemble, "folds")]
    alone = [segment(source, model(seed=n), device="cpu").label_map for n in range(3)]
    assert found == alone


@pytest.mark.parametrize(
    ("variation", "error", "words"),
    [("dropout", ModelError, "no dropout"), ("folds", ModelError, "single network"), ("luck", UsageError, "luck")],
)
def test_what_a_model_cannot_is_told(variation, error, words):
    with pytest.raises(error, match=words):
        members(model(), variation)
