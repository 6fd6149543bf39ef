"""Training: patches, that a few steps help, and the losses of the CycleGAN as published."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepSegLogic import InputError, ModelError, UsageError, Volume
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


class Turns:
    """A clock of a training that counts how often it is looked at, for the same steps on every machine."""

    def __init__(self, minutes):
        self._left = 1000 * minutes

    @property
    def share(self):
        self._left -= 1
        return 1.0 if self._left < 0 else 0.2

    def rate(self, highest):
        return highest


def test_test_slices_are_not_learnt_from_and_the_file_holds_what_was_tested(body, tmp_path, monkeypatch):
    from DeepSegLogic.enhance import paired, trial
    from DeepSegLogic.enhance.network import Cleaner, load_cleaner, new_network
    from DeepSegLogic.enhance.train import train_cleaner

    def learn(_task, cts, *_):
        learnt.extend(cts)
        return Cleaner("denoise", new_network(4, 3).eval(), 4, 3, {"steps": 0})

    learnt, short, long = [], body, replace(body, array=np.tile(body.array, (3, 1, 1)))
    monkeypatch.setattr(paired, "learn_pairs", learn)
    cleaner = train_cleaner("denoise", [short, long], output=tmp_path / "n.pth", minutes=1, device="cpu")
    all_slices = planes_of(long)
    assert np.array_equal(learnt[0].array, planes_of(short).array)
    assert np.array_equal(learnt[1].array, all_slices.array[:33]), "a tenth of the other"
    before, after = cleaner.facts["test_error_hu"]
    assert before == after > 1, "it adds nothing, which is no worse"
    test = [replace(all_slices, array=all_slices.array[33:])]
    again = trial.errors_of(load_cleaner(tmp_path / "n.pth", "denoise"), test, torch.device("cpu"))
    assert again == pytest.approx((before, after), abs=1e-3)


@pytest.mark.parametrize("task", ["denoise", "slices"])
def test_the_error_is_that_of_the_planes(cts, task):
    """Of a network that adds a constant, by numpy."""
    from DeepSegLogic.enhance import trial
    from DeepSegLogic.enhance.network import HIGHEST_HU, LOWEST_HU, Cleaner, new_network
    from DeepSegLogic.enhance.samples import PAIRS

    network = new_network(4, 1)
    torch.nn.init.constant_(network.final_conv.bias, 0.25)  # of 200 HU
    rng, before, after = np.random.default_rng(trial._SEED), [], []
    for _ in range(trial._DRAWS):
        x, y = (part.numpy().clip(LOWEST_HU, HIGHEST_HU) for part in PAIRS[task](cts, rng))
        difference = x[:, x.shape[1] // 2] - y[:, 0]
        before.append(np.abs(difference).mean())
        after.append(np.abs(difference + 50).mean())
    found = trial.errors_of(Cleaner(task, network.eval(), 4, 1), cts, torch.device("cpu"))
    assert found == pytest.approx((np.mean(before), np.mean(after)), rel=1e-4)


@pytest.mark.parametrize("wrong", ["rate", "worse", "half", "CycleGAN"])
def test_a_network_that_diverged_is_not_written(body, tmp_path, monkeypatch, wrong):
    from DeepSegLogic.enhance import cycle_gan, paired
    from DeepSegLogic.enhance.network import Cleaner, new_network
    from DeepSegLogic.enhance.train import train_cleaner

    network = new_network(4, 3)
    if wrong == "rate":
        monkeypatch.setattr(paired, "Clock", Turns)
        monkeypatch.setattr(paired, "RATE", 1e12)
    elif wrong == "CycleGAN":
        monkeypatch.setattr(cycle_gan, "RATE", 1e30)
    else:  # 20 HU too much, or a weight that half precision does not hold
        torch.nn.init.constant_(network.final_conv.bias, 0.1 if wrong == "worse" else 1e9)
        monkeypatch.setattr(paired, "learn_pairs", lambda *_: Cleaner("denoise", network.eval(), 4, 3))
    (tmp_path / "n.pth").write_bytes(b"earlier")
    worse = [body] if wrong == "CycleGAN" else []
    with pytest.raises(ModelError, match="Nothing was written"):
        train_cleaner("denoise", [body], worse, output=tmp_path / "n.pth", minutes=0.05, device="cpu")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"earlier"]


def test_bad_input_is_refused(body, tmp_path):
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
