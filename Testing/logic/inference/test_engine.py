"""The engine against closed forms: a network of one pointwise layer, whose labels can be computed by hand."""

import copy
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference import device as device_module
from DeepSegLogic.inference.engine import Engine
from DeepSegLogic.inference.memory_ladder import RunSettings
from DeepSegLogic.inference.preprocessing import prepare
from DeepSegLogic.models.plan import Normalization, Plan
from DeepSegLogic.util.errors import Cancelled, ModelError, ResourceError
from DeepSegLogic.util.progress import ignore_progress, never_cancel

CPU = torch.device("cpu")
WEIGHT, BIAS = [0.0, 1.0, 2.0], [0.0, 0.0, -1.5]  # background below 0, then 1, and 2 above 1.5


def pointwise() -> nn.Module:
    layer = nn.Conv3d(1, 3, 1)
    layer.weight.data = torch.tensor(WEIGHT).view(3, 1, 1, 1, 1)
    layer.bias.data = torch.tensor(BIAS)
    return layer


class Telling(nn.Module):
    """The same network, which tells its last layer apart: that is applied to the sum of the windows."""

    def __init__(self):
        super().__init__()
        self.head = pointwise()

    def features(self, x):
        return x.clone()

    def forward(self, x):
        raise AssertionError("the last layer was applied to a window")


def plan(**changes) -> Plan:
    settings = {
        "orientation": "RAS",
        "spacing": (1.0, 1.0, 1.0),
        "patch_size": (16, 16, 16),
        "normalization": Normalization("none"),
        "labels": {1: "low", 2: "high"},
        "crop_to_nonzero": False,
    }
    return Plan(**(settings | changes))


def volume(shape=(20, 30, 25), spacing=(1.0, 1.0, 1.0)) -> Volume:
    array = np.random.default_rng(0).uniform(-1, 3, shape).astype(np.float32)
    return Volume(array, np.diag([*spacing, 1.0]))


def expected(array):
    return np.argmax([w * array + b for w, b in zip(WEIGHT, BIAS, strict=True)], 0)


def run(networks, the_plan, the_volume, cancel=never_cancel, progress=ignore_progress, settings=None, **options):
    settings = settings or RunSettings(CPU, the_plan.patch_size)
    engine = Engine(networks, the_plan, settings, **options)
    return engine.run(prepare(the_volume, the_plan, CPU), progress, cancel)


@pytest.mark.parametrize("network", [pointwise, Telling])
@pytest.mark.parametrize("shape", [(20, 30, 25), (16, 16, 16), (5, 40, 9), (1, 17, 16), (70, 16, 3)])
def test_labels_are_those_of_the_logits(shape, network):
    """Also where the volume is smaller than the window on some axis."""
    source = volume(shape)
    np.testing.assert_array_equal(run([network()], plan(), source).labels, expected(source.array))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batches_and_logits_on_disk_change_nothing(batch_size):
    source = volume()
    settings = RunSettings(CPU, (16, 16, 16), batch_size=batch_size, logits_on_disk=True)
    np.testing.assert_array_equal(run([pointwise()], plan(), source, settings=settings).labels, expected(source.array))


def test_folds_are_averaged():
    first, second = pointwise(), pointwise()
    first.bias.data[2] += 1.0
    second.bias.data[2] -= 1.0
    source = volume()
    np.testing.assert_array_equal(run([first, second], plan(), source).labels, expected(source.array))


def test_mirroring_averages_over_the_axes():
    """A network that looks at its left neighbour, mirrored, looks at both."""
    layer = nn.Conv3d(1, 2, (1, 1, 3), padding=(0, 0, 1), bias=False)
    layer.weight.data.zero_()
    layer.weight.data[1, 0, 0, 0, 0] = 1
    source = volume((16, 16, 16))
    the_plan = plan(labels={1: "one"}, mirror_axes=(2,))
    padded = np.pad(source.array, ((0, 0), (0, 0), (1, 1)))
    left, right = padded[..., :-2], padded[..., 2:]
    np.testing.assert_array_equal(run([layer], the_plan, source).labels, left > 0)
    np.testing.assert_array_equal(run([layer], the_plan, source, mirror=True).labels, left + right > 0)


def test_confidence_is_the_mean_softmax():
    source = volume((16, 16, 16))
    prediction = run([pointwise()], plan(), source, keep_probabilities=True)
    logits = np.stack([w * source.array + b for w, b in zip(WEIGHT, BIAS, strict=True)])
    softmax = np.exp(logits) / np.exp(logits).sum(0)
    for value, name in ((1, "low"), (2, "high")):
        mean = softmax[value][expected(source.array) == value].mean()
        assert prediction.meter.confidence()[name] == pytest.approx(mean, abs=1e-3)
    top = prediction.meter.top()
    np.testing.assert_array_equal(top.labels[0], expected(source.array))
    np.testing.assert_allclose(top.probability(2, source.shape_kji, top.ijk_to_ras), softmax[2], atol=1 / 255)
    np.testing.assert_allclose(top.uncertainty(source.shape_kji, top.ijk_to_ras), 255 * (1 - softmax.max(0)), atol=1.01)


def test_progress_is_true_and_rises():
    seen = []
    run([pointwise()], plan(), volume((40, 30, 30)), progress=lambda *event: seen.append(event))
    fractions = [f for stage, f, _ in seen if stage == "inference"]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.2
    assert fractions[-1] == pytest.approx(1)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_cancel_takes_effect_within_one_window(after):
    windows = []
    network = pointwise()
    network.register_forward_hook(lambda *_: windows.append(1))
    with pytest.raises(Cancelled):
        run([network], plan(), volume((40, 40, 40)), cancel=lambda: len(windows) >= after)
    assert len(windows) == after


class Hungry(nn.Module):
    """A network that runs out of memory while ``enough`` says no."""

    def __init__(self, enough):
        super().__init__()
        self.layer, self.enough, self.calls = pointwise(), enough, []

    def forward(self, x):
        self.calls.append(tuple(x.shape))
        if not self.enough(self, x):
            raise torch.OutOfMemoryError("CUDA out of memory (injected)")
        return self.layer(x)


def test_out_of_memory_halves_the_batch_and_goes_on():
    network = Hungry(lambda _, x: len(x) <= 2)
    source = volume((30, 30, 30))
    settings = RunSettings(CPU, (16, 16, 16), batch_size=8)
    prediction = run([network], plan(), source, settings=settings)
    np.testing.assert_array_equal(prediction.labels, expected(source.array))
    assert [shape[0] for shape in network.calls[:3]] == [8, 4, 2]
    assert len(prediction.warnings) == 2
    assert "2 windows at a time" in prediction.warnings[1]


def test_out_of_memory_in_the_middle_keeps_the_windows_done():
    failed = []

    def enough(network, _):
        if len(network.calls) == 6 and not failed:
            failed.append(True)
            return False
        return True

    network, source = Hungry(enough), volume((40, 30, 30))
    prediction = run([network], plan(), source)
    np.testing.assert_array_equal(prediction.labels, expected(source.array))
    assert "on disk" in prediction.warnings[0]
    done = len(network.calls)
    run([network], plan(), source)
    assert done == len(network.calls) - done + 1  # one window was tried twice, none other repeated


def test_without_enough_memory_for_a_window_a_smaller_one_is_used_and_said():
    network = Hungry(lambda _, x: x[0, 0].numel() <= 32 * 32 * 16)
    source = volume((40, 40, 40))
    prediction = run([network], plan(patch_size=(32, 32, 32)), source)
    np.testing.assert_array_equal(prediction.labels, expected(source.array))
    assert "changes the labels" in prediction.warnings[-1]


def test_when_nothing_helps_the_error_says_so():
    with pytest.raises(ResourceError, match="Out of memory") as caught:
        run([Hungry(lambda *_: False)], plan(), volume())
    assert caught.value.remedy


class Overflowing(nn.Module):
    """Gives NaN for its first call, or always, like half precision that overflows."""

    def __init__(self, always):
        super().__init__()
        self.layer, self.always, self.calls = pointwise(), always, 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (float("nan") if self.always or self.calls == 1 else 1)


def test_overflow_is_repeated_in_full_precision():
    source = volume()
    prediction = run([Overflowing(always=False)], plan(), source)
    np.testing.assert_array_equal(prediction.labels, expected(source.array))
    assert "full precision" in prediction.warnings[0]


def test_broken_weights_are_named():
    with pytest.raises(ModelError, match="no finite numbers"):
        run([Overflowing(always=True)], plan(), volume())
    network = Telling()
    network.head.bias.data[1] = torch.nan
    with pytest.raises(ModelError, match="last layer"):
        run([network], plan(), volume())


@pytest.mark.parametrize("shape", [(2, 1, 8, 9, 10), (1, 1, 40, 65, 65), (1, 1, 1, 1, 4)])
def test_layers_put_in_place_of_slow_ones_equal_them(shape):
    """Computed by torch's own layers in double precision; with values far from zero, whose squares are large."""
    network = nn.Sequential(
        *(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4, affine=True), nn.LeakyReLU()),
        *(
            nn.Conv3d(4, 6, 3, 2, 1, bias=False),
            nn.InstanceNorm3d(6),
            nn.Conv3d(6, 3, 1),
            nn.Conv3d(3, 3, 3, groups=3, padding=1),
        ),
    )
    network[1].weight.data = torch.rand(4)
    network[1].bias.data = torch.rand(4) + 20
    network[4].overwrites_input = True
    x = torch.randn(shape) + 100
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(x.double())
        laid_out = device_module.lay_out(network, CPU)
        found = laid_out(x.contiguous(memory_format=torch.channels_last_3d))
    assert not {nn.Conv3d, nn.InstanceNorm3d} & {type(layer) for layer in laid_out}
    torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=1e-4)


def test_a_run_holds_no_network_after_its_end():
    """A model of several networks would else hold them all until the garbage collector comes by."""
    network = pointwise()
    alive = weakref.ref(network)
    gc.disable()
    try:
        run([network], plan(), volume())
        del network
        assert alive() is None
    finally:
        gc.enable()


def test_settings_for_reproducible_runs_are_put_back():
    cudnn = torch.backends.cudnn
    cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    try:
        first, second = device_module.reproducible(), device_module.reproducible()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)  # two runs at once, and the one that began first ends first
        assert not cudnn.benchmark and not cudnn.allow_tf32
        assert cudnn.deterministic
        second.__exit__(None, None, None)
        assert cudnn.benchmark and cudnn.allow_tf32
        assert not cudnn.deterministic
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
