"""Temperatures of overlapping outputs: each output that is sure by a known factor too much is found out by itself."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit
from torch import nn

from DeepSegLogic.cli import main
from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.volume import Volume, volume_digest
from DeepSegLogic.evaluation.card_facts import calibrated_outputs
from DeepSegLogic.evaluation.temperature import HeldOut, fit_temperature, held_out, held_out_outputs
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import ModelCard, load_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.util.errors import InputError, ModelError

from ..inference.tiny import model
from ..training.test_overlaps import masks_of, write_slicer
from ..training.test_region_transfer import saved_regions

SPACING, HU = (2.0, 2.0, 2.0), 400  # of the tiny model; HU per unit of what its network sees
SLOPES = (2.0, -3.0)  # of the two true logits, which overlap nowhere and everywhere: they are drawn
OFFSETS = (-1.0, -2.0)


def drawn(logits, seed):
    """There or not, with the sigmoid of logits as probability."""
    return np.random.default_rng(seed).random(logits.shape) < expit(logits)


def two_outputs(factors):
    """A network whose two logits are the true ones times a factor, the image that it sees, and what is there."""
    network = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        network.weight[:, 0, 0, 0, 0] = torch.tensor([f * s for f, s in zip(factors, SLOPES, strict=True)])
        network.bias[:] = torch.tensor([f * o for f, o in zip(factors, OFFSETS, strict=True)])
    seen = np.clip(np.random.default_rng(0).normal(0, 1, (32, 40, 40)), -2.4, 2.4)
    volume = Volume(np.rint(HU * seen).astype(np.int16), np.diag([*SPACING, 1.0]))
    true = [slope * volume.array / HU + offset for slope, offset in zip(SLOPES, OFFSETS, strict=True)]
    there = [drawn(logits, seed) for seed, logits in enumerate(true, start=1)]
    tiny = model(3, net=network.eval(), spacing=SPACING, regions=(1, 2))
    return tiny, volume, LabelMap((there[0] + 2 * there[1]).astype(np.uint8), volume.ijk_to_ras), true, there


def slope_is_zero(logits, there):
    """The temperature at which the likelihood of logistic regression without offset has no slope."""
    return brentq(lambda t: float((logits * (expit(logits / t) - there)).sum()), 0.05, 50)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_temperature_is_that_of_logistic_regression_without_offset(factor):
    true = np.random.default_rng(0).normal(-1, 2, 20_000)
    there = drawn(true, 1)
    logits = torch.from_numpy(factor * true).float()
    found = fit_temperature([HeldOut(torch.stack([torch.zeros_like(logits), logits], 1), torch.from_numpy(there * 1))])
    assert found == pytest.approx(slope_is_zero(factor * true, there), rel=2e-3)
    assert found == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("factors", [(1.0, 1.0), (3.0, 0.5)])
def test_each_output_gets_its_own_factor(factors):
    tiny, volume, reference, true, there = two_outputs(factors)
    case = held_out_outputs(volume, tiny, reference, [(1, 3), (2, 3)], device="cpu")
    found = calibrated_outputs(["a", "b"], [case, case], ["one", "two"])
    assert found.temperature == [pytest.approx(factor, rel=0.05) for factor in factors]
    for factor, logits, right, temperature in zip(factors, true, there, found.temperature, strict=True):
        assert temperature == pytest.approx(slope_is_zero(factor * logits, right), rel=0.03)
    assert [(row.name, row.structure) for row in found.cases] == [(n, s) for s in ("one", "two") for n in ("a", "b")]
    assert all(row.after < 0.02 and row.after <= row.before + 0.002 for row in found.cases)


def test_labels_that_exclude_each_other_are_not_called_too_sure_where_they_are_not():
    """Where only voxels counted that somebody sees, a calibrated network was wrong in all that it takes for nothing."""
    tiny, volume, _, true, _ = two_outputs((1.0, 1.0))
    tiny.plan = replace(tiny.plan, regions=None)
    network = nn.Conv3d(1, 3, 1)
    with torch.no_grad():
        network.weight[0], network.bias[0] = 0, 0
        network.weight[1:], network.bias[1:] = tiny.networks[0].weight, tiny.networks[0].bias
    tiny.networks[:] = [network.eval()]
    logits = torch.from_numpy(np.stack([np.zeros_like(true[0]), *true], -1)).float()
    torch.manual_seed(0)
    labels = torch.multinomial(logits.softmax(-1).reshape(-1, 3), 1).reshape(volume.array.shape).numpy()
    names = [Structure(v, f"structure_{v}") for v in (1, 2)]
    reference = LabelMap(labels.astype(np.uint8), volume.ijk_to_ras, names)
    assert fit_temperature([held_out(volume, tiny, reference, device="cpu")]) == pytest.approx(1, rel=0.05)


def test_what_nobody_looked_for_keeps_its_temperature():
    tiny, volume, reference, *_ = two_outputs((3.0, 3.0))
    case = held_out_outputs(volume, tiny, reference, [(1, 3), None], device="cpu")
    assert len(case[0].labels) and not len(case[1].labels)
    found = calibrated_outputs(["a"], [case], ["one", "two"], [1.0, 1.7])
    assert found.temperature == [pytest.approx(3, rel=0.05), 1.7] and [row.structure for row in found.cases] == ["one"]
    with pytest.raises(InputError, match="no structure of tiny"):
        held_out_outputs(volume, tiny, reference, [None, None], device="cpu")
    with pytest.raises(InputError, match="no voxels"):
        calibrated_outputs(["a"], [[case[1], case[1]]], ["one", "two"])
    with pytest.raises(ModelError, match="an output for each structure"):
        held_out_outputs(volume, tiny, reference, [(1,)], device="cpu")


def test_ignored_voxels_do_not_count():
    tiny, volume, reference, *_ = two_outputs((1.0, 1.0))
    reference.array[:16] = 200
    half = held_out_outputs(volume, tiny, reference, [(1, 3), (2, 3)], ignored=200, device="cpu")
    assert all(0 < len(case.labels) <= 16 * 40 * 40 for case in half)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_model_of_several_images_is_calibrated_with_all_of_them(exclusive):
    """The first image is noise, the second one is what the labels were drawn from."""
    tiny, volume, reference, *_ = two_outputs((3.0, 0.5))
    noise = replace(volume, array=np.random.default_rng(9).integers(-900, 900, volume.array.shape).astype(np.int16))
    network = nn.Conv3d(2, 3 if exclusive else 2, 1)
    with torch.no_grad():
        network.weight.zero_(), network.bias.zero_()
        network.weight[-2:, 1:], network.bias[-2:] = tiny.networks[0].weight, tiny.networks[0].bias
    rules = {"further": (tiny.plan.normalization,), "regions": None if exclusive else (1, 2)}
    both = model(3, net=network.eval(), spacing=SPACING, **rules)
    reference.structures[:] = [Structure(v, f"structure_{v}") for v in (1, 2)]
    if exclusive:
        tiny.networks[:] = [nn.Conv3d(1, 3, 1).eval()]
        with torch.no_grad():
            tiny.networks[0].weight[:], tiny.networks[0].bias[:] = network.weight[:, 1:], network.bias
        tiny.plan = replace(tiny.plan, regions=None)
        alone = held_out(volume, tiny, reference, device="cpu")
        found = held_out(noise, both, reference, further=[volume.array], device="cpu")
        torch.testing.assert_close(found.logits, alone.logits)
        assert torch.equal(found.labels, alone.labels)
    else:
        found = held_out_outputs(noise, both, reference, [(1, 3), (2, 3)], further=[volume.array], device="cpu")
        assert [fit_temperature([case]) for case in found] == [pytest.approx(f, rel=0.05) for f in (3.0, 0.5)]
    with pytest.raises(InputError, match="2 images together, and the case"):
        (held_out if exclusive else partial(held_out_outputs, outputs=[(1, 3), (2, 3)]))(noise, both, reference)


def test_temperatures_change_confidence_and_no_label():
    tiny, volume, *_ = two_outputs((3.0, 0.5))
    one = segment(volume, tiny, device="cpu", uncertainty=True)
    tiny.plan = replace(tiny.plan, temperature=(3.0, 0.5))
    two = segment(volume, tiny, device="cpu", uncertainty=True)
    assert one.label_map == two.label_map
    first, second = (expit(slope * volume.array / HU + o) for slope, o in zip(SLOPES, OFFSETS, strict=True))
    share = np.stack([(1 - first) * (1 - second), first * (1 - second), second])  # the second is written over the first
    np.testing.assert_allclose(two.uncertainty, 255 * (1 - share.max(0)), atol=1.5)


def test_the_command_calibrates_a_model_whose_structures_overlap(tmp_path, capfd):
    pytest.importorskip("monai")
    (tmp_path / "data").mkdir()
    for seed in range(2):
        write_slicer(tmp_path / "data", seed)
    card = saved_regions(tmp_path / "data", tmp_path / "model")
    case = find_cases(tmp_path / "data")[1]
    learnt_from = {"images": [volume_digest(read_volume(case.image))]}
    (card.folder / "card.json").write_text(json.dumps(replace(card, provenance=learnt_from).to_json()))
    assert main(["calibrate", str(card.folder), "--held-out", str(tmp_path / "data"), "--device", "cpu", "--json"]) == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    [warning] = told["warnings"]
    assert "was trained on these cases" in warning and warning.endswith(f": {case.name}.")
    read = ModelCard.read(card.folder)
    assert told["structures"] == ["liver", "spleen", "tumor"] and read.temperature == told["temperature"]
    assert {row["structure"] for row in told["cases"]} == set(told["structures"]) and len(told["cases"]) == 6
    loaded = load_model(read)
    assert loaded.plan.temperature == tuple(read.temperature) and len(set(read.temperature)) > 1
    volume, _ = masks_of(5)
    plain = segment(volume, load_model(replace(read, temperature=1.0)), device="cpu")
    assert segment(volume, loaded, device="cpu").label_map == plain.label_map

    assert load_model(replace(read, temperature=1.5)).plan.temperature == 1.5, "one for all outputs"
    for wrong in ([1.5], [1, 1, 1, 1]):
        with pytest.raises(ModelError, match="temperatures, which do not fit"):
            load_model(replace(read, temperature=wrong))
    for wrong in ([], [1, "2"], [1, 0, 1], [1, float("nan"), 1]):
        with pytest.raises(ValueError, match="temperature"):
            ModelCard.from_json(read.to_json() | {"temperature": wrong})
