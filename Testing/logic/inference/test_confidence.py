"""Confidence and margins at borders against numpy over all logits at once."""

import numpy as np
import pytest
import torch
from scipy.ndimage import generate_binary_structure, maximum_filter, minimum_filter

from DeepSegLogic.inference.confidence import ConfidenceMeter
from DeepSegLogic.models.plan import Normalization, Plan

SHAPE = (24, 14, 11)
FACES = generate_binary_structure(3, 1)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")),
]


def plan(names: dict[int, str], regions=None) -> Plan:
    return Plan("RAS", (1.0,) * 3, (8,) * 3, Normalization("none"), names, regions=regions)


def blobs(channels: int) -> np.ndarray:
    """Logits (Z, Y, X, C) whose winners have insides and borders; the last structure wins nowhere."""
    rng = np.random.default_rng(1)
    seeds = rng.uniform(0, 1, (9, 3)) * SHAPE
    places = np.stack(np.indices(SHAPE), -1)[..., None, :]
    nearest = ((places - seeds) ** 2).sum(-1).argmin(-1)
    logits = rng.standard_normal((*SHAPE, channels), np.float32)
    logits[np.arange(channels) == (nearest % (channels - 1))[..., None]] += 3
    logits[..., -1] -= 20
    return logits


def softmax(logits):
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


def shares(logits):
    """Of background and each region: what the regions written later leave of it."""
    says = 1 / (1 + np.exp(-logits.astype(np.float64)))
    left = np.cumprod((1 - says)[..., ::-1], -1)[..., ::-1]
    later = np.concatenate([left[..., 1:], np.ones((*left.shape[:-1], 1))], -1)
    return np.concatenate([left[..., :1], says * later], -1)


def expected(probabilities, values, names):
    """Mean winning probability, and mean margin at borders, by name."""
    labels = np.asarray(values)[probabilities.argmax(-1)]
    ordered = np.sort(probabilities, -1)
    border = maximum_filter(labels, footprint=FACES) != minimum_filter(labels, footprint=FACES)
    margin = ordered[..., -1] - ordered[..., -2]
    won = {n: ordered[labels == v, -1].mean() for v, n in names.items() if (labels == v).any()}
    return won, {n: margin[border & (labels == v)].mean() for v, n in names.items() if (border & (labels == v)).any()}


SOFTMAX = plan({1: "one", 2: "two", 3: "three", 4: "nowhere"}), softmax, range(5)
REGIONS = plan({7: "seven", 2: "two", 5: "five"}, (7, 2, 5)), shares, (0, 7, 2, 5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 5, 24])
@pytest.mark.parametrize(("the_plan", "probabilities", "values"), [SOFTMAX, REGIONS], ids=["softmax", "regions"])
def test_equal_to_all_at_once_whatever_the_slabs(the_plan, probabilities, values, rows, keep, device):
    dense = blobs(the_plan.channels)
    won, margins = expected(probabilities(dense), values, the_plan.labels)
    logits = torch.from_numpy(dense).to(device)
    meter = ConfidenceMeter(the_plan, SHAPE, np.eye(4), keep)
    for final in range(0, SHAPE[0] + rows, rows):
        final = min(final, SHAPE[0])
        base = max(0, final - rows - 2)  # rows seen before are still held
        meter.add(logits[base : final + 1], base, final)
    assert meter.confidence() == pytest.approx(won, abs=1e-4)
    assert meter.boundary_margin() == pytest.approx(margins, abs=1e-4)


def test_repeated_after_running_out_of_memory(monkeypatch):
    """Wherever in a slab memory runs out, nothing counts twice."""
    the_plan = SOFTMAX[0]
    logits = torch.from_numpy(blobs(the_plan.channels))
    whole = ConfidenceMeter(the_plan, SHAPE, np.eye(4), False)
    whole.add(logits, 0, SHAPE[0])
    monkeypatch.setattr("DeepSegLogic.inference.confidence._CHUNK", 2 * logits[0].numel())
    meter = ConfidenceMeter(the_plan, SHAPE, np.eye(4), False)
    failures = iter([False, True, False, False, True, *[False] * 1000])

    def scarce(function):
        def run(*args):
            if next(failures):
                raise torch.OutOfMemoryError("CUDA out of memory (injected)")
            return function(*args)

        return run

    monkeypatch.setattr(meter, "_probabilities", scarce(meter._probabilities))
    monkeypatch.setattr(meter, "_margin", scarce(meter._margin))
    failed = 0
    for final in (4, 9, 24):
        while True:
            try:
                meter.add(logits, 0, final)
                break
            except torch.OutOfMemoryError:
                failed += 1
    assert failed == 2
    assert meter.confidence() == whole.confidence()
    assert meter.boundary_margin() == whole.boundary_margin()


def test_without_a_border_there_is_no_margin():
    logits = torch.zeros((*SHAPE, 2))
    logits[..., 1] = 1
    meter = ConfidenceMeter(plan({1: "all"}), SHAPE, np.eye(4), False)
    meter.add(logits, 0, SHAPE[0])
    assert meter.confidence() == pytest.approx({"all": 1 / (1 + np.exp(-1))}, abs=1e-4)
    assert meter.boundary_margin() == {}
