"""A network that takes prompts: one whose answer is known by formula, scripted, imported and run for real."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from DeepSegLogic.cli import main
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_label_map, write_label_map, write_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.trust import trust
from DeepSegLogic.refinement import Point, PromptNetwork, refine
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError, UsageError
from DeepSegLogic.worker import WorkerClient
from Testing.logic.refinement.prompt_model import CARD, LIVER, SHARE, SIGMA, SPLEEN, Formula, imported, slab
from Testing.logic.worker.conftest import is_end, run_until


class TwoClasses(Formula):
    def forward(self, x):
        odds = 50 * torch.minimum(x[:, 0:1] - 0.5, x[:, 1:2] - x[:, 2:3] - 0.3)
        return torch.cat([-odds / 2, odds / 2], 1)


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))


@pytest.fixture
def scene():
    return slab()


def signal(shape, voxel):
    """The Gaussian around one prompt."""
    away = sum((g - c) ** 2 for g, c in zip(np.ogrid[tuple(slice(0, n) for n in shape)], voxel, strict=True))
    return np.exp(-away / (2 * SIGMA**2))


def click(voxel, positive=True, name="liver"):
    return Point(name, positive, tuple(2.0 * x for x in voxel[::-1]))


@pytest.mark.parametrize("module", [Formula(), TwoClasses()])
def test_the_answer_is_the_networks_within_locks(tmp_path, scene, module):
    volume, labels = scene
    network = PromptNetwork(load_model(imported(tmp_path, module)), "cpu")
    voxel = (14, 20, 16)
    done = refine(labels, [click(voxel)], volume=volume, network=network)
    expected = (signal(volume.shape_kji, voxel) >= SHARE) & (volume.array > 0) & (labels.array == 0)
    found = done.label_map.array == LIVER
    assert (found ^ expected).sum() <= 0.02 * expected.sum()
    np.testing.assert_array_equal(done.label_map.array == SPLEEN, labels.array == SPLEEN)
    again = refine(done.label_map, [click(voxel)], volume=volume, network=network)
    assert again.changed_box is None and again.regions == []


def test_a_negative_prompt_and_earlier_ones_count(tmp_path, scene):
    volume, labels = scene
    network = PromptNetwork(load_model(imported(tmp_path)), "cpu")
    plus, minus = (20, 12, 14), (20, 18, 14)
    once = refine(labels, [click(plus)], volume=volume, network=network).label_map
    once.array[20, 12:19, 14] = LIVER
    twice = refine(once, [click(plus), click(minus, False)], volume=volume, network=network).label_map
    assert twice.array[plus] == LIVER and twice.array[minus] == 0
    kept = signal(volume.shape_kji, plus) - signal(volume.shape_kji, minus) >= SHARE
    pieces, _ = ndimage.label((once.array == LIVER) & ~kept)
    lost = (once.array == LIVER) & (twice.array == 0)
    assert (lost ^ (pieces == pieces[minus])).sum() <= 0.03 * lost.sum()


def test_an_oblique_volume_is_seen_the_right_way_round(tmp_path, phantom):
    """On another grid the answer is the same place in space: the ball around the prompt, where the image is bright."""
    network = PromptNetwork(load_model(imported(tmp_path)), "cpu")
    array = np.where(phantom.truth == LIVER, 0, phantom.truth).astype(np.uint8)
    voxel = (20, 22, 12)
    done = refine(
        phantom.labels(array), [Point("liver", True, phantom.ras(*voxel))], volume=phantom.volume, network=network
    )
    k, j, i = np.ogrid[:40, :48, :56]
    away = ((k - 20) * 2.0) ** 2 + ((j - 22) * 1.5) ** 2 + ((i - 12) * 1.5) ** 2
    expected = (np.exp(-away / (2 * (2 * SIGMA) ** 2)) >= SHARE) & (phantom.truth == LIVER)
    found = done.label_map.array == LIVER
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.93


def test_signals_are_monais(tmp_path):
    transforms = pytest.importorskip("monai.apps.deepedit.transforms")
    network = PromptNetwork(load_model(imported(tmp_path)), "cpu")
    seen = {}
    network._run = lambda image, positive, negative: seen.update(p=positive, n=negative) or image
    volume = Volume(np.zeros((24, 28, 32), np.int16), np.diag([-2.0, -2, 2, 1]))  # LPS: the network's own grid
    labels = LabelMap(np.zeros(volume.shape_kji, np.uint8), volume.ijk_to_ras, [structure_for("liver", LIVER)])
    point = Point("liver", True, (-2.0 * 15, -2.0 * 13, 2.0 * 11))  # the middle: the window is the volume
    refine(labels, [point], volume=volume, network=network)
    theirs = transforms.AddGuidanceSignalDeepEditd(keys="image", sigma=int(SIGMA))._get_signal(
        np.zeros((1, 32, 28, 24)), [[15, 13, 11]]
    )
    np.testing.assert_allclose(seen["p"], theirs[0], atol=0.02)
    assert not seen["n"].any()


def test_it_runs_only_once_trusted_and_segments_nothing_by_itself(tmp_path, scene):
    card = imported(tmp_path, trusted=False)
    with pytest.raises(ModelError) as caught:
        load_model(card)
    assert caught.value.code == "model.untrusted"
    trust(card)
    with pytest.raises(ModelError, match="only corrects structures from prompts"):
        segment(scene[0], card, device="cpu", force=True)


def test_structures_that_it_does_not_know_are_refused(tmp_path, scene):
    volume, labels = scene
    network = PromptNetwork(load_model(imported(tmp_path, structures=["spleen"])), "cpu")
    with pytest.raises(UsageError, match="does not know liver"):
        refine(labels, [click((14, 20, 16))], volume=volume, network=network)


def test_a_network_that_does_not_fit_is_named(tmp_path, scene):
    volume, labels = scene
    network = PromptNetwork(load_model(imported(tmp_path, torch.nn.Conv3d(1, 1, 1))), "cpu")
    with pytest.raises(ModelError, match="does not take an image with two channels of prompts"):
        refine(labels, [click((14, 20, 16))], volume=volume, network=network)
    card = imported(tmp_path, id="plain", network={**CARD["network"], "guidance": {}})
    with pytest.raises(ModelError, match="takes no prompts"):
        PromptNetwork(load_model(card))


def test_the_command_line_shows_the_licence(tmp_path, scene, capsys):
    volume, labels = scene
    imported(tmp_path)
    write_volume(volume, tmp_path / "ct.nii.gz")
    write_label_map(labels, tmp_path / "labels.seg.nrrd")
    prompt = {"structure": "liver", "type": "point", "ras": [32.0, 40.0, 28.0]}
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": [prompt]}), "utf-8")
    paths = ["-i", tmp_path / "ct.nii.gz", "-p", tmp_path / "prompts.json", "-o", tmp_path / "fixed.seg.nrrd"]
    arguments = ["refine", tmp_path / "labels.seg.nrrd", *paths, "--model", "prompt_net", "--device", "cpu"]
    assert main([*map(str, arguments)]) == 0
    assert "CC-BY-NC-4.0" in capsys.readouterr().out
    assert read_label_map(tmp_path / "fixed.seg.nrrd").volume_ml("liver") > 5


def test_the_worker_keeps_it_loaded(tmp_path, scene):
    volume, labels = scene
    imported(tmp_path)
    request = {"volume": volume, "label_map": labels, "model": "prompt_net", "device": "cpu"}
    with WorkerClient(grace=120) as client:
        results, stages = [], []
        for voxel in ((14, 20, 16), (24, 30, 30)):
            client.submit("refine", prompts=[click(voxel)], **request)
            events = run_until(client, is_end, seconds=120)
            assert events[-1].kind == "result", events[-1].traceback
            results.append(events[-1].value)
            stages.append({e.stage for e in events})
    network = PromptNetwork(load_model(find_model("prompt_net")), "cpu")
    here = refine(labels, [click((14, 20, 16))], volume=volume, network=network)
    np.testing.assert_array_equal(results[0]["label_map"].array, here.label_map.array)
    assert results[0]["box"] == [(s.start, s.stop) for s in here.changed_box]
    assert results[0]["licence"] == "CC-BY-NC-4.0"
    assert "load model" in stages[0] and "load model" not in stages[1]
