"""Training statistics in a card, and the warning about what they do not cover."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference.familiarity import WORDS, TrainingStatistics, intensities, watched
from DeepSegLogic.models.plan import Normalization
from DeepSegLogic.segmentation import segment

from .tiny import model, network, plan, volume

RULE = Normalization("ct", -1000, 1000, 0, 400)


def image(seed=0, level=50.0, noise=10.0, side=24):
    """Soft tissue with noise, in HU, normalised as the tiny model does; air on one side."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(level, noise, (1, side, side, side)).astype(np.float32)
    hu[:, :, :, : side // 4] = -1000
    return torch.from_numpy(hu) / 400


def statistics(layer="2"):
    return TrainingStatistics.of([image(n, 40 + n, 8 + n / 5) for n in range(30)], network(), RULE, layer)


def test_intensities_are_those_of_the_tissue():
    found = intensities(image(1, 60, 12), RULE)
    assert found["middle"] == pytest.approx(60, abs=1)
    assert found["dark"] == pytest.approx(60 - 1.645 * 12, abs=1.5)
    assert found["bright"] == pytest.approx(60 + 1.645 * 12, abs=1.5)
    assert found["noise"] == pytest.approx(12, rel=0.05)
    assert intensities(torch.full((1, 8, 8, 8), -2.5), RULE) == {}  # air


def test_air_that_is_clipped_to_soft_tissue_is_none():
    soft = Normalization("ct", -43, 668, 76, 109)
    hu = (image(1, 60, 12) * 400).clamp(soft.lower, soft.upper)
    air = torch.full((1, 24, 24, 72), soft.lower)
    found = intensities((torch.cat([hu, air], 3) - soft.mean) / soft.sd, soft)
    assert found == pytest.approx(intensities(image(1, 60, 12), RULE), rel=0.02)


def test_what_the_words_would_not_show_is_no_difference():
    flat = TrainingStatistics(dict.fromkeys(WORDS, (50.0, 50.0)))
    told = flat.reasons(image(1, 50.4, 0), RULE, [])
    assert [reason.split(" is ")[0] for reason in told] == ["the noise"]


def test_ranges_and_features_are_those_of_the_images():
    found = statistics()
    assert set(found.ranges) == set(WORDS)
    assert found.ranges["middle"][0] == pytest.approx(40, abs=1.5) and found.ranges["middle"][1] == pytest.approx(
        69, abs=2
    )
    with torch.no_grad():
        layers = network()[:3]
        rows = torch.stack([layers(image(n, 40 + n, 8 + n / 5)[None]).mean((2, 3, 4))[0] for n in range(30)])
    np.testing.assert_allclose(found.mean, rows.mean(0), atol=1e-4)
    np.testing.assert_allclose(found.sd, rows.std(0, correction=0), atol=1e-4)
    again = TrainingStatistics.from_json(found.as_json())
    assert again.ranges == {n: tuple(p) for n, p in found.as_json()["ranges"].items()} and again.limit == found.limit


def test_the_distance_is_in_units_of_the_training():
    known = TrainingStatistics({}, "layer", (1.0, 2.0), (0.5, 2.0), 2.0)
    windows = [torch.tensor([[2.0, 2.0], [1.0, 8.0]]), torch.tensor([[1.0, 2.0]])]
    # root mean squares of the standardised features: √2, 3/√2, 0
    assert known.distance(windows) == pytest.approx(2**0.5 / 2)
    assert known.distance([]) is None and known.distance([torch.zeros(1, 3)]) is None


def test_a_run_warns_of_what_it_does_not_know():
    facts = statistics("").as_json()
    known = model(spacing=(2.0, 2.0, 2.0))
    known.card = replace(known.card, training_statistics=facts)

    def warnings(level, noise):
        hu = (image(99, level, noise, 20)[0].numpy() * 400).astype(np.int16)
        source = Volume(hu, np.diag([2.0, 2.0, 2.0, 1.0]), modality="CT")
        return [w for w in segment(source, known, device="cpu", force=True).warnings if "trained on" in w]

    assert warnings(55, 11) == []
    (told,) = warnings(55, 90)
    assert told.startswith("This CT is outside what the model was trained on: ")
    noise, low, high = map(int, re.search(r"noise is (\d+) HU \(in training (\d+) HU to (\d+) HU\)", told).groups())
    assert noise == pytest.approx(90, abs=4) and (low, high) == pytest.approx((8, 14), abs=1)
    assert re.search("the median of the tissue is (299|300|301) HU", warnings(300, 11)[0])


def test_features_warn_too():
    facts = statistics("2").as_json() | {"ranges": {}}
    known = model(spacing=(2.0, 2.0, 2.0), patch_size=(24, 24, 24))
    known.card = replace(known.card, training_statistics=facts)
    ramp = np.linspace(-1000, 1000, 24**3).reshape(24, 24, 24).astype(np.int16)
    source = Volume(ramp, np.diag([2.0, 2.0, 2.0, 1.0]))
    told = [w for w in segment(source, known, device="cpu", force=True).warnings if "trained on" in w]
    assert "times as far off" in told[0]


def test_a_run_without_statistics_looks_at_nothing(monkeypatch):
    monkeypatch.setattr("DeepSegLogic.inference.familiarity.intensities", lambda *_: pytest.fail("it looked"))
    known = model()
    hooks = [len(m._forward_hooks) for m in known.networks[0].modules()]
    segment(volume((16, 16, 16)), known, device="cpu")
    assert [len(m._forward_hooks) for m in known.networks[0].modules()] == hooks


@pytest.mark.parametrize("layer", ["", "nothing.of.this.name", "0"])
def test_layers_that_give_nothing_are_left_out(layer):
    flat = nn.Sequential(nn.Flatten(), nn.Identity())
    with watched(flat, layer) as found:
        flat(torch.zeros(1, 1, 2, 2, 2))
    assert found == [] and not flat[0]._forward_hooks


def test_a_broken_card_is_as_none():
    assert TrainingStatistics.from_json({}) is None
    assert TrainingStatistics.from_json({"layer": "a", "mean": [1.0], "sd": []}) is None
    assert plan().temperature == 1
