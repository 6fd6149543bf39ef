"""The path of a GPU, on a GPU that is pretended: devices are not mixed up, and labels are those of the CPU."""

import sys

import numpy as np
import pytest
import torch
from logic.inference import tiny
from logic.inference.pretended_gpu import CUDA, MPS, OnGpu, PretendedGpu

from DeepSegLogic.inference import estimate
from DeepSegLogic.inference.label_writer import deferred_head
from DeepSegLogic.inference.presets import quality
from DeepSegLogic.inference.volume_run import Clock, VolumeRun
from DeepSegLogic.models.plan import Normalization, Resampling
from DeepSegLogic.networks.unet import UNet
from DeepSegLogic.util.errors import ResourceError
from DeepSegLogic.util.progress import ignore_progress, never_cancel

pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available")  # says autocast

GIGABYTE = 2**30


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """What torch says of the pretended card, in bytes."""
    told = {"free": 8 * GIGABYTE, "reserved": 0, "allocated": 0, "peak": GIGABYTE}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (told["free"], 16 * GIGABYTE))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: told["reserved"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: told["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: told["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(estimate, "_operations_per_second", lambda *_: 1e12)  # half precision takes a CPU too long
    return told


@pytest.fixture
def card(figures):
    """A pretended card."""
    with PretendedGpu():
        yield figures


def volume():
    return tiny.volume((24, 40, 50))


def run_on(device, model, source, name="standard", **options):
    run = VolumeRun(source, model, model.labels, quality(name), device, Clock(), **options)
    run.all_parts(ignore_progress, never_cancel)
    return run


def described(run):
    """The settings that the last network ended with."""
    return run.estimates[-1].settings.describe()


def test_the_pretended_gpu_refuses_what_a_gpu_refuses():
    with PretendedGpu():
        here, there = torch.ones(3), torch.ones(3, device="cuda")
        assert there.device.type == "cuda" and there.is_cuda and here.device.type == "cpu"
        assert isinstance(torch.zeros_like(there).sum(), OnGpu)
        assert float((there + torch.tensor(1.0)).sum()) == 6  # a number may come from the CPU
        for refused in (
            lambda: here + there,
            lambda: here + there.sum(),
            lambda: torch.stack([here, there]),
            lambda: there.addcmul_(there, here),
            lambda: here[there > 0],
            lambda: there.index_select(0, torch.tensor([0])),
            lambda: torch.nn.Conv3d(1, 1, 1)(torch.ones((1, 1, 1, 1, 1), device="cuda")),
        ):
            with pytest.raises(RuntimeError, match=r"device|indices"):
                refused()
        for refused in (there.numpy, lambda: np.asarray(there)):
            with pytest.raises(TypeError):
                refused()
        there[:2] = here[:2] + 1
        copy = there.cpu()
        there.zero_()
        assert copy.tolist() == [2, 2, 1]


PLANS = {
    "ct": {},
    "zscore": {"normalization": Normalization("zscore")},
    "zscore_nonzero": {"normalization": Normalization("zscore_nonzero"), "crop_to_nonzero": True},
    "zscore_filled": {"normalization": Normalization("zscore_filled"), "crop_to_nonzero": True},
    "rescale01": {"normalization": Normalization("rescale01")},
    "function": {"normalization": Normalization("function", function=lambda x: x.clamp(-1000, 1000) / 400)},
    "regions": {"regions": (1, 2, 3, 2)},
    "coarse": {"spacing": (9.0, 2.0, 2.0), "patch_size": (8, 16, 16)},
    "torch": {"image_resampling": Resampling("torch"), "logit_resampling": Resampling("torch")},
    "cubic": {"logit_resampling": Resampling(order=3)},
    "mirrored": {"mirror_axes": (0, 2), "transpose": (1, 0, 2)},
    "same_grid": {"spacing": (2.5, 1.5, 1.5)},
}


def cascade():
    """Two stages that see two images; the second also sees the labels of the first."""
    two = {"further": (Normalization("zscore_filled"),), "crop_to_nonzero": True}
    second = tiny.model(seed=1, previous_labels=(1, 2, 3), **two)
    second.previous = tiny.model(spacing=(6.0, 4.0, 4.0), **two)
    return second


def test_a_cascade_of_two_channels_has_the_labels_of_the_cpu(card):
    source, other = volume(), tiny.volume((24, 40, 50), seed=1).array
    on_cpu, on_gpu = (run_on(device, cascade(), source, channels=[other]) for device in (torch.device("cpu"), CUDA))
    assert len(np.unique(on_cpu.labels)) > 2 and len(on_gpu.estimates) == 2
    assert (on_cpu.labels == on_gpu.labels).mean() > 0.999


@pytest.mark.parametrize("name", PLANS)
def test_labels_are_those_of_the_cpu(card, name):
    source, chosen = volume(), "best" if name == "mirrored" else "standard"
    on_cpu = run_on(torch.device("cpu"), tiny.model(**PLANS[name]), source, chosen, uncertainty=True)
    on_gpu = run_on(CUDA, tiny.model(**PLANS[name]), source, chosen, uncertainty=True)
    assert len(np.unique(on_cpu.labels)) > 2
    assert (on_cpu.labels == on_gpu.labels).mean() > 0.9999
    assert np.abs(on_cpu.uncertainty.astype(int) - on_gpu.uncertainty).max() <= 2
    assert on_gpu.confidence == pytest.approx(on_cpu.confidence, abs=1e-3)
    assert on_gpu.boundary_margin == pytest.approx(on_cpu.boundary_margin, abs=1e-3) and on_gpu.boundary_margin
    assert not on_gpu.warnings
    assert "on the GPU, logits in GPU memory" in described(on_gpu)


@pytest.mark.parametrize("device", [CUDA, MPS])
def test_a_last_layer_that_works_on_the_sum(device):
    def model():
        torch.manual_seed(0)
        sizes = {"kernels": [(3, 3, 3)] * 2, "strides": [(1, 1, 1), (2, 2, 2)]}
        network = UNet(1, 12, (4, 8), **sizes, encoder_counts=[1, 1], decoder_counts=[1])
        return tiny.model(12, net=network.eval())

    assert deferred_head(model().networks, model().plan) is not None
    with PretendedGpu(device):
        run = run_on(device, model(), volume())
    assert not run.warnings
    assert (run.labels == run_on(torch.device("cpu"), model(), volume()).labels).mean() > 0.9999


def test_a_region_and_trimming(card):
    source = volume()
    region = np.zeros(source.shape_kji, bool)
    region[5:12, 10:30, 20:40] = True
    on_cpu = run_on(torch.device("cpu"), tiny.model(), source, "fast", region=region)
    on_gpu = run_on(CUDA, tiny.model(), source, "fast", region=region)
    assert (on_cpu.labels == on_gpu.labels).mean() > 0.9999


class Hungry(torch.nn.Module):
    """A network that runs out of memory where ``refuses(call, windows)`` says so."""

    def __init__(self, refuses):
        super().__init__()
        self.network, self.refuses, self.calls = tiny.network(), refuses, 0

    def forward(self, x):
        self.calls += 1
        if self.refuses(self.calls, x):
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return self.network(x)


@pytest.mark.parametrize(
    ("refuses", "settings", "warning"),
    [
        (lambda _, x: len(x) > 2, "batches of 2 on the GPU, logits in CPU memory", "2 windows at a time instead of 4"),
        (lambda call, _: call == 7, "on the GPU, logits in CPU memory", "logits are kept in main memory"),
        (
            lambda call, x: x.is_cuda and call > 6,
            "on the CPU, logits in CPU memory",
            "the rest of the run uses the CPU",
        ),
        (lambda call, x: x.is_cuda or call < 4, "batches of 1 on the CPU, logits on disk", "logits are kept on disk"),
    ],
)
def test_the_ladder_goes_on_where_it_was(card, refuses, settings, warning):
    source = volume()
    expected = run_on(torch.device("cpu"), tiny.model(), source)
    run = run_on(CUDA, tiny.model(net=Hungry(refuses)), source)
    assert settings in described(run)
    assert warning in run.warnings[-1]
    assert (run.labels == expected.labels).mean() > 0.9999
    assert run.confidence == pytest.approx(expected.confidence, abs=1e-3)


def test_overflow_is_repeated_on_the_gpu(card):
    class Overflowing(Hungry):
        def forward(self, x):
            return super().forward(x) * (float("inf") if self.calls == 3 else 1)

    source = volume()
    run = run_on(CUDA, tiny.model(net=Overflowing(lambda *_: False)), source)
    assert "full precision" in run.warnings[0]
    assert (run.labels == run_on(torch.device("cpu"), tiny.model(), source).labels).mean() > 0.9999


@pytest.mark.parametrize("name", PLANS)
def test_apples_gpu_has_no_float64(name):
    source = volume()
    with PretendedGpu(MPS):
        run = run_on(MPS, tiny.model(**PLANS[name]), source)
    assert not run.warnings
    assert described(run) == "batches of 1 on the Apple GPU, logits in CPU memory"
    assert (run.labels == run_on(torch.device("cpu"), tiny.model(**PLANS[name]), source).labels).mean() > 0.9999


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError(
            "The operator 'aten::avg_pool3d.out' is not currently implemented for the MPS device.\nSee"
        ),
        RuntimeError("ConvTranspose 3D is not supported on MPS"),
        TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."),
    ],
)
def test_what_a_gpu_cannot_do_is_done_on_the_cpu(error):
    class Lacking(Hungry):
        def forward(self, x):
            if x.device.type != "cpu":
                raise error
            return super().forward(x)

    source = volume()
    with PretendedGpu(MPS):
        run = run_on(MPS, tiny.model(net=Lacking(lambda *_: False)), source)
    assert len(run.warnings) == 1
    assert "the CPU is used" in run.warnings[0] and str(error).splitlines()[0] in run.warnings[0]
    assert "on the CPU" in described(run)
    np.testing.assert_array_equal(run.labels, run_on(torch.device("cpu"), tiny.model(), source).labels)


def test_a_device_that_torch_does_not_know_is_left_at_once():
    if torch.backends.mps.is_available():
        pytest.skip("this machine has an Apple GPU")
    run = run_on(MPS, tiny.model(), volume())
    assert "the CPU is used" in run.warnings[0]


def test_errors_of_the_network_are_not_taken_for_the_gpus(card):
    class Broken(Hungry):
        def forward(self, x):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        run_on(CUDA, tiny.model(net=Broken(None)), volume())


@pytest.mark.parametrize(("free", "batch"), [(8, 4), (4, 2), (2, 1), (0.1, 1)])
def test_the_batch_is_what_fits_beside_the_first_window(card, free, batch):
    """That one took a gigabyte."""
    card["free"] = int(free * GIGABYTE)
    seen = []
    network = tiny.network()
    network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    run = run_on(CUDA, tiny.model(net=network), tiny.volume())
    seen = seen[1:]  # the first was the estimate's
    assert seen[0] == 1
    assert max(seen[1:]) == batch
    assert described(run).startswith(f"batches of {batch} on the GPU")
    assert not run.warnings


def test_memory_that_torch_keeps_for_itself_is_free(card):
    card.update(free=GIGABYTE // 1000, reserved=6 * GIGABYTE, allocated=GIGABYTE)
    run = run_on(CUDA, tiny.model(), volume())
    assert "logits in GPU memory" in described(run)


@pytest.mark.parametrize(
    "lack",
    [torch.OutOfMemoryError("CUDA out of memory (injected)"), MemoryError()],  # Python's own says nothing
    ids=["torch", "Python"],
)
@pytest.mark.parametrize(
    "where", ["DeepSegLogic.inference.volume_run.prepare", "DeepSegLogic.inference.engine.lay_out"]
)
def test_a_card_without_any_memory_is_left(monkeypatch, card, where, lack):
    module, name = where.rsplit(".", 1)
    original = getattr(sys.modules[module], name)

    def refusing(*values):
        if CUDA in values:
            raise lack
        return original(*values)

    monkeypatch.setattr(where, refusing)
    run = run_on(CUDA, tiny.model(), volume())
    assert "CPU" in run.warnings[-1]
    assert "on the CPU, logits in CPU memory" in described(run)
    monkeypatch.undo()
    assert (run.labels == run_on(torch.device("cpu"), tiny.model(), volume()).labels).mean() > 0.9999


def test_a_card_that_breaks_down_is_told(card):
    class Broken(Hungry):
        def forward(self, x):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(ResourceError) as caught:
        run_on(CUDA, tiny.model(net=Broken(None)), volume())
    assert caught.value.code == "resource.device_lost"
