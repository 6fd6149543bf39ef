"""The engine on a real CUDA GPU; `test_devices` runs the same path on a pretended one."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from logic.inference import tiny

from DeepSegLogic.inference.engine import Engine
from DeepSegLogic.inference.memory_ladder import RunSettings
from DeepSegLogic.inference.preprocessing import prepare
from DeepSegLogic.io import read_volume
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import Cancelled
from DeepSegLogic.util.progress import ignore_progress, never_cancel

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PATCH = (32, 32, 32)


def volume():
    return tiny.volume((60, 120, 120), (2.0, 2.0, 3.0))


def predicted(settings=None, cancel=never_cancel):
    """Labels, warnings, and the settings that the run ended with."""
    plan = tiny.plan(8, patch_size=PATCH)
    engine = Engine([tiny.network(8)], plan, settings or RunSettings(CUDA, PATCH, 4, CUDA))
    prediction = engine.run(prepare(volume(), plan, CPU), ignore_progress, cancel)
    return prediction.labels, prediction.warnings, engine.settings


def test_labels_are_those_of_the_cpu():
    on_cpu, _, _ = predicted(RunSettings(CPU, PATCH))
    on_gpu, warnings, _ = predicted()
    assert (on_cpu == on_gpu).mean() > 0.995  # random weights: classes are nearly tied
    assert not warnings


@pytest.mark.parametrize("image", ["abdomen", "chest"])
def test_half_precision_costs_a_trained_network_nothing(image, demo_model, request):
    if image == "chest":
        path = request.getfixturevalue("chest_ct")
    else:
        path = request.getfixturevalue("shared_data") / "abdomen_ct" / "ct.nii.gz"
    source = read_volume(path)
    full, half = (segment(source, demo_model, device=name, force=True).label_map.array for name in ("cpu", "cuda"))
    dice = [
        2 * np.count_nonzero((full == value) & (half == value)) / np.count_nonzero([full == value, half == value])
        for value in np.unique(full)[1:]
    ]
    assert len(dice) > 5
    assert np.mean(dice) >= 0.999


def test_the_same_labels_each_time():
    first, second = (segment(volume(), tiny.model(8), device="cuda", keep_probabilities=True) for _ in range(2))
    np.testing.assert_array_equal(first.label_map.array, second.label_map.array)
    np.testing.assert_array_equal(first.probabilities.values, second.probabilities.values)
    assert first.confidence == second.confidence


def test_logits_in_main_memory_change_nothing():
    on_device, _, _ = predicted(RunSettings(CUDA, PATCH, 1, CUDA))
    in_memory, _, _ = predicted(RunSettings(CUDA, PATCH, 1, CPU))
    assert (on_device == in_memory).mean() > 0.9999  # interpolated on another device


def test_several_windows_run_at_a_time():
    _, _, settings = predicted()
    assert settings.batch_size == 4


def test_memory_is_limited_for_real():
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    free, _, _ = predicted()
    needed = torch.cuda.max_memory_allocated() / torch.cuda.get_device_properties(CUDA).total_memory
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * needed)
    try:
        limited, warnings, settings = predicted()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert warnings
    assert settings.patch_size == PATCH
    assert (limited == free).mean() > 0.995


def test_cancelling_gives_the_memory_back():
    predicted()
    gc.collect()
    before = torch.cuda.memory_allocated()
    asked = []
    with pytest.raises(Cancelled):
        predicted(cancel=lambda: asked.append(True) or len(asked) > 3)
    gc.collect()
    assert torch.cuda.memory_allocated() <= before


def test_two_runs_at_once():
    alone = segment(volume(), tiny.model(8), device="cuda").label_map.array
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(segment, volume(), tiny.model(8), device="cuda") for _ in range(2)]
        for run in runs:
            assert (run.result().label_map.array == alone).mean() > 0.995
