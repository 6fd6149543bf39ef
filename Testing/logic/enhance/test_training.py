"""Training: patches, that a few steps help, and the losses of the CycleGAN as published."""

import numpy as np
import pytest
import torch

from DeepSegLogic import InputError, UsageError, Volume
from DeepSegLogic.enhance.samples import DRAWN, PATCH, noisy_pairs, plain_patches, planes_of, thick_pairs

pytest.importorskip("skimage")
pytest.importorskip("monai")


@pytest.fixture(scope="module")
def cts(body):
    return [planes_of(body)]


@pytest.mark.parametrize(("draw", "inputs"), [(noisy_pairs, 3), (thick_pairs, 1)])
def test_pairs_show_the_same_place_worse_and_good(cts, draw, inputs):
    worse, good = draw(cts, np.random.default_rng(3))
    assert worse.shape == (DRAWN, inputs, PATCH, PATCH) and good.shape == (DRAWN, 1, PATCH, PATCH)
    middle = worse[:, inputs // 2]
    assert not torch.equal(middle, good[:, 0])
    assert np.corrcoef(middle.ravel(), good.ravel())[0, 1] > 0.9
    again, _ = draw(cts, np.random.default_rng(3))
    assert torch.equal(worse, again)


def test_small_slices_are_filled_up_and_thick_ones_interpolated():
    small = Volume(np.random.default_rng(0).normal(0, 50, (9, 40, 40)).astype(np.float32), np.diag([1.0, 1, 4, 1]), "s")
    drawn = plain_patches("slices", [planes_of(small)], "worse", np.random.default_rng(0))
    assert drawn.shape == (DRAWN, 1, PATCH, PATCH)


def test_cycle_and_identity_losses_vanish_where_nothing_is_changed_and_weigh_as_published():
    from DeepSegLogic.enhance.cycle_gan import _makers_losses

    x, y = torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    half = [lambda planes: [torch.full((2, 1, 2, 2), 0.5)]] * 2  # cannot tell
    losses, _ = _makers_losses(x, y, lambda p: p, lambda p: p, half)
    assert losses["cycle"] == losses["identity"] == 0 and losses["adversarial"] == pytest.approx(2 * 0.25)
    losses, (good, worse) = _makers_losses(x, y, lambda p: p + 1, lambda p: p, half)
    assert torch.equal(good, x + 1) and torch.equal(worse, y)
    assert losses["cycle"] == pytest.approx(10 * 2) and losses["identity"] == pytest.approx(5 * 1)


def test_the_history_keeps_50_planes_and_gives_back_earlier_ones():
    from DeepSegLogic.enhance.cycle_gan import HISTORY, History

    history = History(np.random.default_rng(0))
    first = torch.arange(HISTORY, dtype=torch.float32)[:, None, None, None]
    assert torch.equal(history.mixed(first), first)
    mixed = torch.cat([history.mixed(torch.full((1, 1, 1, 1), 1000.0 + n)) for n in range(200)]).ravel()
    old = mixed < torch.arange(1000, 1200)
    assert 70 < old.sum() < 130 and len(history._kept) == HISTORY


def test_a_cycle_gan_trains_without_pairs_and_saves_its_first_generator(body, tmp_path):
    from DeepSegLogic.enhance.network import load_cleaner
    from DeepSegLogic.enhance.train import train_cleaner

    cleaner = train_cleaner("denoise", [body], [body], output=tmp_path / "cycle.pth", minutes=0.01, device="cpu")
    assert cleaner.facts["training"] == "CycleGAN" and cleaner.facts["steps"] >= 1
    read = load_cleaner(tmp_path / "cycle.pth", "denoise")
    assert read.inputs == 1 and read.facts == cleaner.facts
    assert any(bool(parameter.any()) for parameter in read.network.final_conv.parameters())  # it learnt something


def test_bad_input_is_refused(body, tmp_path):
    from dataclasses import replace

    from DeepSegLogic.enhance.train import train_cleaner

    def start(task, good, minutes=1.0):
        train_cleaner(task, good, output=tmp_path / "n.pth", minutes=minutes)

    with pytest.raises(UsageError, match="No network is trained"):
        start("metal", [body])
    with pytest.raises(UsageError, match="no CT to learn"):
        start("denoise", [])
    with pytest.raises(UsageError, match="cannot take nan minutes"):
        start("denoise", [body], float("nan"))
    with pytest.raises(InputError, match="header says MR"):
        start("denoise", [replace(body, modality="MR")])
    with pytest.raises(InputError, match="too small"):
        start("denoise", [replace(body, array=body.array[:, :20, 30:70])])
    assert not list(tmp_path.iterdir())
