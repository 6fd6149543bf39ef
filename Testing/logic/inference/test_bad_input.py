"""Volumes, networks and users that make trouble: an error that says what to do, or the right labels."""

import gc
import json
import threading

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference import engine
from DeepSegLogic.inference.memory_ladder import RunSettings
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import ModelCard
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import Cancelled, DeepSegError, InputError, ResourceError

from .tiny import model, network, plan, volume

GRID = (2.0, 2.0, 2.0)


def thresholds() -> nn.Module:
    """A network that says structure 1 above -200 HU and structure 2 above 300 HU, whatever is around."""
    layer = nn.Conv3d(1, 3, 1)
    layer.weight.data = torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1, 1, 1)
    layer.bias.data = torch.tensor([0.0, 0.5, 0.5 - 0.75])
    return layer


def thresholded(array):
    normalised = np.clip(array.astype(np.float32), -1000, 1000) / 400
    return np.select([normalised > 0.75, normalised > -0.5], [2, 1])


@pytest.mark.parametrize("shape", [(5, 9, 11), (1, 16, 12), (16, 1, 16), (16, 16, 1), (3, 16, 16), (1, 1, 2)])
def test_smaller_than_the_window(shape):
    """As nnU-Net: zeros on both sides, one window, and the middle of its logits."""
    source = volume(shape, GRID)
    source.array.flat[-1] = 300
    the_model = model(spacing=GRID)
    missing = [16 - n for n in shape]
    pads = [side for m in reversed(missing) for side in (m // 2, m - m // 2)]
    image = torch.from_numpy(np.clip(source.array, -1000, 1000).astype(np.float32) / 400)
    with torch.no_grad():
        logits = network()(nn.functional.pad(image, pads)[None, None])[0]
    middle = tuple(slice(m // 2, m // 2 + n) for m, n in zip(missing, shape, strict=True))
    expected = logits[(slice(None), *middle)].argmax(0).numpy()
    np.testing.assert_array_equal(segment(source, the_model, force=True).label_map.array, expected)


@pytest.mark.parametrize("shape", [(2000, 12, 10), (3, 1024, 1024), (1, 512, 512)])
def test_extreme_sizes(shape):
    source = volume(shape, GRID)
    the_model = model(classes=3, net=thresholds(), spacing=GRID, patch_size=(32, 64, 64))
    result = segment(source, the_model, quality="fast")
    np.testing.assert_array_equal(result.label_map.array, thresholded(source.array))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 10.0), (10.0, 1.0, 1.0)])
def test_ten_times_coarser_along_one_axis(spacing):
    """Slices are resampled with scikit-image, the coarse axis takes the nearest; logits come back likewise."""
    from skimage.transform import resize

    source = volume((12, 24, 30) if spacing[2] == 10 else (24, 30, 12), spacing)
    labels = segment(source, model(classes=3, net=thresholds(), spacing=(2.0, 2.0, 2.0))).label_map.array
    coarse = 0 if spacing[2] == 10 else 2
    array = np.moveaxis(np.clip(source.array, -1000, 1000) / 400.0, coarse, 0)

    def resampled(data, shape, order):
        slices = np.array([resize(s, shape[1:], order, mode="edge", anti_aliasing=False) for s in data])
        return slices[np.floor((np.arange(shape[0]) + 0.5) * len(data) / shape[0]).astype(int)]

    fine = resampled(array, [array.shape[0] * 5, array.shape[1] // 2, array.shape[2] // 2], 3)
    logits = [resampled(w * fine + b, array.shape, 1) for w, b in ((0, 0), (1, 0.5), (2, -0.25))]
    expected = np.moveaxis(np.argmax(logits, 0), 0, coarse)
    assert len(np.unique(expected)) == 3
    assert (labels != expected).mean() < 1e-3  # ties


def noisy(low, high, shape=(20, 20, 20)):
    return Volume(np.random.default_rng(0).integers(low, high, shape).astype(np.int16), np.diag([2.0, 2, 2, 1]))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (noisy(-1000, -999), "empty"),  # only air, as a simulation has it
        (noisy(-1020, -980), "span only"),  # and as a scanner measures it
        (noisy(3000, 3001), "empty"),
        (noisy(2900, 3072), "no negative values"),  # only metal
    ],
)
def test_only_air_and_only_metal(source, said):
    with pytest.raises(InputError, match=said) as caught:
        segment(source, model())
    assert caught.value.remedy
    if said != "empty":
        forced = segment(source, model(classes=3, net=thresholds(), spacing=GRID), force=True)
        np.testing.assert_array_equal(forced.label_map.array, thresholded(source.array))


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz"])
def test_raw_detector_values_are_refused_or_forced(tmp_path, suffix):
    """uint16 from 0 to 4095: stored HU + 1024, whose rescale is lost."""
    raw = (np.clip(volume((20, 30, 30)).array, -1024, 3071) + 1024).astype(np.uint16)
    raw.flat[:2] = 0, 4095
    sitk.WriteImage(sitk.GetImageFromArray(raw), str(tmp_path / f"raw.{suffix}"))
    source = read_volume(tmp_path / f"raw.{suffix}")
    with pytest.raises(InputError, match="no negative values") as caught:
        segment(source, model())
    assert caught.value.action == "go_on_anyway"
    result = segment(source, model(classes=3, net=thresholds(), spacing=(1.0, 1.0, 1.0)), force=True)
    np.testing.assert_array_equal(result.label_map.array, thresholded(raw))


def test_cancelled_at_every_moment_leaves_no_memory_behind():
    """Every time the run asks whether to go on, one run is told to stop."""
    source = volume((60, 160, 160), GRID)
    the_model = model(classes=30, spacing=GRID, patch_size=(48, 64, 64))  # logits: 150 MB
    asked = []
    segment(source, the_model, cancel=lambda: asked.append(1))
    gc.collect()
    before = psutil.Process().memory_info().rss
    for moment in range(1, len(asked) + 1, 7):
        calls = []

        def cancel(calls=calls, moment=moment):
            calls.append(1)
            return len(calls) >= moment

        with pytest.raises(Cancelled):
            segment(source, the_model, cancel=cancel)
        assert len(calls) == moment  # nobody asks again
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 30e6


@pytest.mark.parametrize("stage", ["load model", "preprocess", "inference"])
def test_cancelled_in_each_stage(demo_model, chest_ct, stage):
    """From the file of the model on: no stage lets another one begin."""
    seen = []
    with pytest.raises(Cancelled):
        segment(
            read_volume(chest_ct),
            demo_model,
            progress=lambda *event: seen.append(event[0]),
            cancel=lambda: stage in seen,
        )
    assert seen[-1] == stage


def test_half_precision_that_overflows_is_repeated_in_full(monkeypatch):
    """In real float16: the values of a layer between the first and the last pass 65504."""
    monkeypatch.setattr(engine, "precision", lambda *_: torch.float16)
    twice, up, down = nn.Conv3d(1, 2, 1, bias=False), nn.Conv3d(2, 1, 3, padding=1, bias=False), thresholds()
    twice.weight.data.fill_(1)
    up.weight.data.zero_()
    up.weight.data[:, :, 1, 1, 1] = 5e4
    down.weight.data *= 1e-5
    source = volume((20, 30, 30), GRID)
    result = segment(source, model(classes=3, net=nn.Sequential(twice, up, down), spacing=GRID))
    np.testing.assert_array_equal(result.label_map.array, thresholded(source.array))
    assert result.warnings == ["Half precision overflowed; the rest of the run uses full precision."]


def test_a_gpu_lost_during_the_run_is_named():
    lost = torch.AcceleratorError("CUDA error: unspecified launch failure\nmore")
    with pytest.raises(ResourceError, match="unspecified launch failure") as caught:
        engine.raise_explained(lost, RunSettings(torch.device("cuda"), plan().patch_size))
    assert caught.value.code == "resource.device_lost"
    assert caught.value.remedy


def test_without_memory_a_coarser_model_that_is_installed_is_named(tmp_path, monkeypatch):
    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv3d(1, 3, 1)

        def forward(self, x):
            raise torch.OutOfMemoryError("out of memory (injected)")

    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path))
    sizes = {"finer": 1.0, "tiny_coarse": 5.0, "tiny_coarsest": 9.0, "unable": 4.0}
    for name, spacing in sizes.items():
        known = ["structure_1"] if name == "unable" else ["structure_2", "structure_1"]
        (tmp_path / name).mkdir()
        card = ModelCard(id=name, title=name, structures=known, spacing=[spacing] * 3)
        (tmp_path / name / "card.json").write_text(json.dumps(card.to_json()), "utf-8")
    greedy = model(classes=3, net=Greedy())
    greedy.card.spacing = [2.0, 2.0, 3.0]
    with pytest.raises(ResourceError, match="The model tiny_coarse, which is installed, takes less"):
        segment(volume(), greedy)
    with pytest.raises(ResourceError, match="The model unable, which is installed, takes less"):
        segment(volume(), greedy, structures=["structure_1"])


def test_two_runs_at_once_give_what_one_gives():
    """With one model for both, as a worker or a script has it."""
    sources = [volume(seed=n) for n in range(3)]
    expected = [segment(s, model()).label_map.array for s in sources]
    shared = model()
    found = {}

    def run(number):
        try:
            found[number] = segment(sources[number], shared).label_map.array
        except DeepSegError as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        np.testing.assert_array_equal(found[number], expected[number])
