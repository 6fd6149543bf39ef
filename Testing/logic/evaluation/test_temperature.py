"""Temperature scaling: networks that are sure by a known factor too much are found out."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.evaluation.card_facts import calibrated, calibration_error, coarsest_stage, noted
from DeepSegLogic.evaluation.temperature import HeldOut, confidence_and_hits, fit_temperature, held_out
from DeepSegLogic.models import ModelCard, load_model
from DeepSegLogic.models.find import find_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import InputError, ModelError

from ..inference.tiny import model, network, volume

GRID = (2.0, 2.0, 2.0)


def drawn(seed, factor, n=20_000) -> HeldOut:
    """Labels that are drawn with the softmax of logits, which are then multiplied by a factor."""
    torch.manual_seed(seed)
    logits = 2 * torch.randn(n, 4)
    labels = torch.multinomial(logits.softmax(1), 1)[:, 0]
    return HeldOut(logits * factor, labels)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_factor_is_found(factor):
    assert fit_temperature([drawn(0, factor), drawn(1, factor)]) == pytest.approx(factor, rel=0.05)


def test_it_calibrates_cases_that_it_was_not_fitted_to():
    found = calibrated(["a", "b"], [drawn(0, 3.0), drawn(1, 3.0)])
    assert found.temperature == pytest.approx(3, rel=0.05)
    for row in found.cases:
        assert row.before > 0.15 and row.after < 0.02
    assert calibrated(["a"], [drawn(0, 3.0)]).cases[0].after is None


def test_ece_is_that_of_torchmetrics_formula():
    case = drawn(3, 2.0, 5000)
    p, hit = confidence_and_hits(case, 1.0)
    edges = np.linspace(0, 1, 16)
    total = 0.0
    for low, high in pairwise(edges):
        here = (p >= low) & ((p < high) | (high == 1))
        total += abs(p[here].sum() - hit[here].sum()) if here.any() else 0
    assert calibration_error(case, 1.0) == pytest.approx(total / len(p))


def test_held_out_logits_are_the_networks():
    source, tiny = volume((16, 16, 16), GRID), model(spacing=GRID)
    truth = segment(source, model(spacing=GRID, seed=5), device="cpu").label_map
    found = held_out(source, tiny, truth, device="cpu")
    image = torch.from_numpy(np.clip(source.array, -1000, 1000).astype(np.float32) / 400)
    with torch.no_grad():
        logits = network()(image[None, None])[0].movedim(0, -1)
    seen = (logits.argmax(-1) > 0).numpy() | (truth.array > 0)
    counts = torch.from_numpy(binary_dilation(seen, np.ones((5, 5, 5))))
    torch.testing.assert_close(found.logits, logits[counts], atol=0.05, rtol=2e-3)
    assert torch.equal(found.labels, torch.from_numpy(truth.array.astype(np.int64))[counts])


def test_what_was_not_looked_for_does_not_count():
    source, tiny = volume((16, 16, 16), GRID), model(spacing=GRID)
    truth = segment(source, model(spacing=GRID, seed=5), device="cpu").label_map
    array = np.where(truth.array == 2, 2, 0).astype(np.uint8)
    part = replace(truth, array=array, structures=[Structure(9, "no"), truth.structures[1]])
    found = held_out(source, tiny, part, device="cpu")
    assert set(found.logits.argmax(1).tolist()) <= {0, 2} and set(found.labels.tolist()) <= {0, 2}


def test_ignored_voxels_do_not_count():
    source, tiny = volume((16, 16, 16), GRID), model(spacing=GRID)
    truth = segment(source, model(spacing=GRID, seed=5), device="cpu").label_map
    array = truth.array.copy()
    array[:8] = 200
    found = held_out(source, tiny, replace(truth, array=array), ignored=200, device="cpu")
    whole = held_out(source, tiny, truth, device="cpu")
    upper = held_out(source, tiny, replace(truth, array=array * (array != 200)), device="cpu")
    assert 0 < len(found.labels) < len(whole.labels) and int(found.labels.min()) >= 0
    assert len(found.labels) < len(upper.labels), "background is not ignored"


def test_a_temperature_changes_confidence_and_no_label():
    source = volume((16, 16, 16), GRID)
    plain, warm = model(spacing=GRID), model(spacing=GRID, temperature=2.0)
    one = segment(source, plain, device="cpu", uncertainty=True, keep_probabilities=True)
    two = segment(source, warm, device="cpu", uncertainty=True, keep_probabilities=True)
    assert one.label_map == two.label_map
    image = torch.from_numpy(np.clip(source.array, -1000, 1000).astype(np.float32) / 400)
    with torch.no_grad():
        chances = (network()(image[None, None])[0] / 2).softmax(0).max(0)
    np.testing.assert_allclose(two.uncertainty, 255 * (1 - chances.values.numpy()), atol=1.01)
    for value, name in warm.labels.items():
        if name in two.confidence:
            assert two.confidence[name] == pytest.approx(
                chances.values[chances.indices == value].mean().item(), abs=1e-3
            )
            assert two.boundary_margin[name] < one.boundary_margin[name]


def test_the_card_keeps_both(tmp_path, bundled_copy):
    noted(bundled_copy, 1.25, {"ranges": {"noise": [1.0, 9.0]}})
    card = ModelCard.read(bundled_copy.folder)
    assert card.temperature == 1.25 and card.training_statistics == {"ranges": {"noise": [1.0, 9.0]}}
    assert load_model(card).plan.temperature == 1.25
    noted(card, None, None)
    assert ModelCard.read(bundled_copy.folder).to_json() == card.to_json()


@pytest.fixture
def bundled_copy(tmp_path):
    import shutil

    folder = tmp_path / "ct_demo"
    shutil.copytree(find_model("ct_demo").folder, folder)
    return ModelCard.read(folder)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1000, "2"])
def test_a_card_with_a_senseless_temperature_is_refused(value):
    with pytest.raises(ValueError, match="temperature"):
        ModelCard.from_json({"id": "a", "title": "A", "temperature": value})


def test_a_card_with_senseless_statistics_is_refused():
    for statistics in ({"limit": 0}, {"mean": ["a"]}, {"ranges": {"noise": [1]}}, {"sd": [float("nan")]}):
        with pytest.raises(ValueError):
            ModelCard.from_json({"id": "a", "title": "A", "training_statistics": statistics})


def test_what_has_no_temperature_is_told():
    source = volume((16, 16, 16), GRID)
    nothing = LabelMap(np.zeros((16, 16, 16), np.uint8), source.ijk_to_ras, [Structure(1, "brain")])
    with pytest.raises(InputError, match="no structure of tiny"):
        held_out(source, model(spacing=GRID), nothing, device="cpu")
    with pytest.raises(ModelError, match="exclude each other"):
        held_out(source, model(spacing=GRID, regions=(1, 2, 3, 4), labels={n: f"s{n}" for n in range(1, 5)}), nothing)
    with pytest.raises(InputError, match="no voxels"):
        fit_temperature([HeldOut(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))])
    assert coarsest_stage(network()) == ""
