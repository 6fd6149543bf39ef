"""Boxes lie where the lesions are, whatever the grid and the windows; bad input. The detector finds bright spots."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from bright_detector import phantom

from DeepSegLogic import InputError, ModelError, UsageError, Volume, detect, find_model, read_volume, segment
from DeepSegLogic.detection import detect as engine
from DeepSegLogic.detection.detector import load_detector
from DeepSegLogic.util.errors import Cancelled, ResourceError

CENTERS = [(30.0, 40.0, 50.0), (90.0, 60.0, 60.0), (60.0, 100.0, 20.0), (20.0, 20.0, 96.0)]
TURN = np.array([[0.96, -0.28, 0, 0], [0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
GRIDS = {
    "RAS": np.diag([2.0, 2.0, 2.0, 1.0]),
    "LPS, thick slices": np.array([[-1.5, 0, 0, 118], [0, -1.5, 0, 118], [0, 0, 3.0, 0], [0, 0, 0, 1]]),
    "sagittal": np.array([[0, 0, 2.0, 0], [2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]]),
    "oblique": TURN @ np.diag([2.0, 2.0, 2.0, 1.0]),
}
SHAPES = {"LPS, thick slices": (40, 80, 80)}


def on_grid(name):
    """The bright spots on one of the grids, and their centres."""
    centers = [tuple((TURN @ [*c, 1])[:3]) for c in CENTERS] if name == "oblique" else CENTERS
    return phantom(centers, GRIDS[name], SHAPES.get(name, (60, 60, 60))), centers


def near(findings, centers, tolerance_mm):
    """Whether each centre has a finding within a distance, and each finding a centre."""
    found = np.array([f.center_ras for f in findings]).reshape(-1, 1, 3)
    away = np.linalg.norm(found - np.array(centers), axis=2)
    return len(findings) == len(centers) and away.min(0).max() <= tolerance_mm and away.min(1).max() <= tolerance_mm


@pytest.mark.parametrize("name", GRIDS)
def test_each_lesion_is_found_where_it_is(name, bright_model):
    volume, centers = on_grid(name)
    found = detect(volume, bright_model, min_score=0.5, device="cpu")
    assert near(found.findings, centers, tolerance_mm=4.5)
    assert [f.score for f in found.findings] == sorted((f.score for f in found.findings), reverse=True)
    edge = 16 if name != "oblique" else 16 * (0.96 + 0.28)  # along R and A the box around a turned box
    assert all(f.size_mm[0] == pytest.approx(edge, abs=0.5) for f in found.findings)
    assert all(f.size_mm[2] == pytest.approx(16, abs=0.5) for f in found.findings)
    assert {f.kind for f in found.findings} == {"bright_spot"}
    assert found.provenance["model"]["id"] == "bright"


@pytest.mark.parametrize("patch", [24, 32, 64])
def test_windows_of_any_size_find_the_same(patch, bright_model):
    rng = np.random.default_rng(1)
    centers = [tuple(c) for c in rng.permutation(np.stack(np.meshgrid(*[[16, 44, 72, 100]] * 3), -1).reshape(-1, 3))]
    detector = load_detector(find_model(bright_model))
    detector.plan = type(detector.plan)(**{**detector.plan.__dict__, "patch_size": (patch,) * 3})
    found = detect(phantom(centers), detector, min_score=0.5, device="cpu")
    assert near(found.findings, centers, tolerance_mm=4.5)


def test_every_place_belongs_to_a_window_and_neighbours_share_a_part():
    for length in range(32, 200, 7):
        windows = engine._owned(length, 32)
        assert windows[0][1] == -np.inf and windows[-1][2] == np.inf
        for (start, _, high), (following, low, _) in pairwise(windows):
            assert start < low < high < start + 32 and following < low  # both see what either may claim


def test_nothing_is_found_where_nothing_is(bright_model):
    found = detect(phantom([]), bright_model, device="cpu")
    assert found.findings == [] and not any("boxes" in warning for warning in found.warnings)


def test_of_too_many_the_best_are_kept_and_it_is_said(bright_model):
    volume = phantom([], shape=(80, 80, 80))
    spots = np.indices((80, 80, 80)) % 9
    volume.array[((spots >= 2) & (spots <= 6)).all(0)] = 100  # cubes of 10 mm
    found = detect(volume, bright_model, min_score=0.5, device="cpu")
    assert len(found.findings) == 500 and "729 boxes" in found.warnings[-1]


def test_boxes_at_the_edge_are_cut_to_the_volume(bright_model):
    # Half of this ball is outside; a ball around 0 mm would fill the second cell better than the first.
    found = detect(phantom([(-2.0, 60.0, 60.0)]), bright_model, min_score=0.5, device="cpu")
    (one,) = found.findings
    assert one.low[0] == pytest.approx(-1.0) and one.high[0] == pytest.approx(9.0, abs=0.1)


def test_an_mr_and_a_segmentation_are_refused(bright_model, shared_data):
    mr = read_volume(shared_data / "abdomen_mr" / "mr.nii.gz")
    with pytest.raises(InputError, match="does not look like a CT"):
        detect(mr, bright_model, device="cpu")
    assert any("HU" in w or "CT" in w for w in detect(mr, bright_model, device="cpu", force=True).warnings)
    labels = Volume(np.random.default_rng(0).integers(0, 5, (30, 30, 30)).astype(np.int16), np.eye(4), "labels")
    with pytest.raises(InputError):
        detect(labels, bright_model, device="cpu")


def test_models_are_not_taken_for_each_other(bright_model, demo_model):
    with pytest.raises(ModelError, match="finds no boxes") as told:
        detect(phantom([]), demo_model, device="cpu")
    assert told.value.code == "model.no_detection"
    with pytest.raises(ModelError, match="segments nothing"):
        segment(phantom([]), bright_model, device="cpu")


@pytest.mark.parametrize("features", [[], [0], [2**20], "x", None, [1, "a"]])
def test_a_card_cannot_ask_for_an_impossible_network(features, bright_model):
    card = json.loads((bright_model / "card.json").read_text("utf-8"))
    card["network"]["architecture"]["arguments"]["features"] = features
    (bright_model / "card.json").write_text(json.dumps(card), "utf-8")
    with pytest.raises(ModelError, match="GridDetector"):
        detect(phantom([]), bright_model, device="cpu")


def test_weights_of_another_network_are_refused(bright_model):
    torch.save({"a": torch.zeros(3)}, bright_model / "model.pt")
    with pytest.raises(ModelError, match="do not fit"):
        detect(phantom([]), bright_model, device="cpu")


@pytest.mark.parametrize("score", [0.0, -1.0, 1.5, float("nan")])
def test_scores_out_of_range_are_refused(score, bright_model):
    with pytest.raises(UsageError, match="score"):
        detect(phantom([]), bright_model, min_score=score, device="cpu")


def test_cancelling_ends_within_a_window(bright_model):
    told = []
    with pytest.raises(Cancelled):
        detect(phantom([]), bright_model, device="cpu", progress=lambda s, f, m: told.append((s, f)),
               cancel=lambda: len(told) > 5)  # fmt: skip
    assert told[-1][0] == "inference" and told[-1][1] < 1


def test_too_little_memory_gives_smaller_windows_and_then_a_sentence(bright_model):
    volume, detector = phantom(CENTERS, shape=(70, 70, 70)), load_detector(find_model(bright_model))
    detector.plan = type(detector.plan)(**{**detector.plan.__dict__, "patch_size": (96, 96, 96)})
    own, sizes = detector.find, []

    def short(window, min_score):
        sizes.append(tuple(window.shape[2:]))
        if max(window.shape) > 64:
            raise RuntimeError("CUDA out of memory")
        return own(window, min_score)

    detector.find = short
    assert near(detect(volume, detector, min_score=0.5, device="cpu").findings, CENTERS, 4.5)
    assert sizes[0] == (70, 70, 70) and max(map(max, sizes[3:])) <= 64

    def none(window, min_score):
        raise RuntimeError("CUDA out of memory")

    detector.find = none
    with pytest.raises(ResourceError, match="Out of memory"):
        detect(volume, detector, device="cpu")


@pytest.mark.parametrize("where", ["prepare", "lay_out"])
def test_too_little_memory_before_the_search_is_said_too(bright_model, monkeypatch, where):
    """A GPU may be too full even for the volume or the network."""

    def short(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"DeepSegLogic.detection.detect.{where}", short)
    with pytest.raises(ResourceError, match="Out of memory"):
        detect(phantom(CENTERS, shape=(70, 70, 70)), load_detector(find_model(bright_model)), device="cpu")
