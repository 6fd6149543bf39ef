"""A tiny training: it learns, goes on exactly where it stopped, and its result is a model of the engine."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.cases import BACKGROUND, Case
from DeepSegLogic.training.export import write_results
from DeepSegLogic.training.train import Settings, learning_rate, train, with_classes

SETTINGS = Settings((BACKGROUND, "liver", "spleen"), 4.0, (16, 16, 16), (6, 12), (3, 3), (1, 1), (1,), rate=5e-3)


def ball(shape, centre, radius):
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) < radius**2


@pytest.fixture(scope="module")
def cases():
    """One subject with an image, in which only the liver was looked for, and one without."""
    shape = (24, 24, 24)
    labels = torch.zeros(shape, dtype=torch.uint8)
    labels[ball(shape, (12, 12, 7), 5)], labels[ball(shape, (12, 12, 18), 4)] = 1, 2
    image = 1060.0 * (labels == 1) + 1120.0 * (labels == 2) - 1000.0
    one = [frozenset({BACKGROUND, "spleen"}), frozenset({"liver"})]
    both = [frozenset({BACKGROUND}), frozenset({"liver"}), frozenset({"spleen"})]
    spacing = (4.0, 4.0, 4.0)
    return [
        Case("partly", labels * (labels == 1), ["nothing", "liver"], one, spacing, image=image, painted=0.0),
        Case("labels", labels, ["fat", "liver", "spleen"], both, spacing),
    ]


def test_goes_on_exactly_where_it_stopped(cases, tmp_path, monkeypatch):
    whole = train(cases, SETTINGS, tmp_path / "whole", 6)

    class Killed(Exception):
        pass

    def rate(step, *rest):
        if step == 4:
            raise Killed
        return learning_rate(step, *rest)

    monkeypatch.setattr("DeepSegLogic.training.train.learning_rate", rate)
    with pytest.raises(Killed):
        train(cases, SETTINGS, tmp_path / "parts", 6, every=0)
    monkeypatch.undo()
    parts = train(cases, SETTINGS, tmp_path / "parts", 6)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_learns_and_becomes_a_model(cases, tmp_path):
    weights = train(cases, SETTINGS, tmp_path / "work", 250)
    write_results(tmp_path / "model", weights, SETTINGS.plan(), "Two balls", len(cases))
    model = load_model(find_model(tmp_path / "model"))
    assert model.card.structures == ["liver", "spleen"]
    volume = Volume(cases[0].image.numpy().astype(np.int16), np.diag([4.0, 4.0, 4.0, 1.0]))
    found = segment(volume, model).label_map
    truth = cases[0].labels.numpy() == 1
    overlap = 2 * (found.mask("liver") & truth).sum() / (found.mask("liver").sum() + truth.sum())
    assert overlap > 0.6


def test_the_learning_rate_rises_stays_and_falls():
    rates = [learning_rate(s, 3000, 1.0) for s in range(3001)]
    assert rates[0] == 0.01 and rates[99:2000] == [1.0] * 1901 and rates[3000] == 0
    assert rates[2000:] == sorted(rates[2000:], reverse=True)


def test_another_set_of_classes_keeps_what_was_known(cases, tmp_path):
    weights = train(cases, SETTINGS, tmp_path, 3)
    found = with_classes(weights, SETTINGS.classes, (BACKGROUND, "heart", "spleen"))
    for name, tensor in weights.items():
        if "seg_layers" in name:
            assert torch.equal(found[name][[0, 2]], tensor[[0, 2]]) and not found[name][1].any()
        else:
            assert torch.equal(found[name], tensor)


def test_begins_with_another_training(cases, tmp_path):
    """Without a step of its own it is that training's average, on another grid."""
    first = train(cases, SETTINGS, tmp_path / "first", 4)
    finer = replace(SETTINGS, spacing=3.0, patch=(24, 24, 24))
    second = train(cases, finer, tmp_path / "second", 0, tmp_path / "first" / "checkpoint.pth")
    assert all(torch.equal(first[name], second[name]) for name in first)
