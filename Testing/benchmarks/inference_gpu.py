"""The engine on a GPU. One command on a machine that has torch, numpy and scipy, and nothing else of ours installed:

    python Testing/benchmarks/inference_gpu.py | tee gpu.md

It prints Markdown for RESULTS.md: the engine over whole volumes, stage by stage; then windows alone, by precision,
batch size, CUDA graph and cuDNN's own search. The network is nnU-Net's default one (six stages of 32 to 320 features,
windows of 128 voxels, 118 classes) with random weights: times and memory are those of trained ones, logits are nearly
tied, which is the worst case for turning them into labels and for the share of equal labels.
``--device cpu --small`` runs the same code in seconds on a small network, to see that it runs.
"""

import argparse
import gc
import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from phantom import body

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference.argmax_resampling import Interpolator
from DeepSegLogic.inference.confidence import ConfidenceMeter
from DeepSegLogic.inference.device import lay_out, reproducible
from DeepSegLogic.inference.estimate import estimate_run, joined_estimates
from DeepSegLogic.inference.grid_plan import Grids
from DeepSegLogic.inference.presets import QUALITIES
from DeepSegLogic.inference.volume_run import Clock, VolumeRun
from DeepSegLogic.models import Model, ModelCard
from DeepSegLogic.models.plan import Normalization, Plan
from DeepSegLogic.networks.unet import UNet
from DeepSegLogic.util.progress import ignore_progress, never_cancel

try:
    import psutil  # noqa: F401
except ImportError:  # the one other package that the engine asks for something; it stands in a file, too

    def _memory() -> SimpleNamespace:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text("utf-8").splitlines())
        return SimpleNamespace(available=1024 * int(lines["MemAvailable"].split()[0]))

    sys.modules["psutil"] = SimpleNamespace(virtual_memory=_memory)

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """What is run: the network, and the volumes as (shape, spacing in mm)."""

    features: tuple[int, ...]
    patch: int
    classes: tuple[int, ...]  # of the five networks of TotalSegmentator's task `total`, without background
    small: tuple[tuple[int, int, int], float]
    large: tuple[tuple[int, int, int], float]
    seconds: float  # that each measurement of windows lasts, at least


FULL = Size(
    (32, 64, 128, 256, 320, 320), 128, (24, 26, 18, 23, 26), ((256, 256, 200), 1.5), ((512, 512, 600), 0.8), 1.0
)
SMALL = Size((4, 8), 16, (2, 3, 2, 2, 3), ((40, 40, 32), 1.5), ((48, 48, 40), 0.8), 0.05)


def network(size: Size, classes: int, seed: int = 0) -> UNet:
    """nnU-Net's default plain U-Net with random weights."""
    torch.manual_seed(seed)
    stages = len(size.features)
    return UNet(
        1,
        classes,
        size.features,
        kernels=[(3, 3, 3)] * stages,
        strides=[(1, 1, 1)] + [(2, 2, 2)] * (stages - 1),
        encoder_counts=[2] * stages,
        decoder_counts=[2] * (stages - 1),
    ).eval()


class Parts(Model):
    """Networks that run one after the other, each marking structures of its own; or a single one."""

    def __init__(self, size: Size, classes: tuple[int, ...], spacing: float):
        self.parts = {}
        for number, count in enumerate(classes):
            names = [f"structure_{number}_{k}" for k in range(1, count + 1)]
            plan = Plan(
                orientation="RAS",
                spacing=(spacing,) * 3,
                patch_size=(size.patch,) * 3,
                normalization=Normalization("ct", -1000, 1000, -200, 500),
                labels=dict(enumerate(names, start=1)),
            )
            card = ModelCard(id=f"random_{number}", title="Random", structures=names)
            self.parts[card.id] = Model(card, plan, [network(size, count + 1, number)])
        names = [name for part in self.parts.values() for name in part.card.structures]
        super().__init__(ModelCard(id="random", title="Random", structures=names), None, [])

    def cards_for(self, structures) -> list[ModelCard]:
        return [part.card for part in self.parts.values()]

    def part(self, card: ModelCard) -> Model:
        return self.parts[card.id]


class Stopwatch(Clock):
    """Seconds by stage, each stage ended by waiting for the GPU; labels and confidence are told apart by hooks."""

    def __init__(self, device: torch.device):
        super().__init__()
        self.device, self.inner = device, {"labels": 0.0, "confidence": 0.0}

    def lap(self, stage: str) -> None:
        wait(self.device)
        super().lap(stage)

    @contextmanager
    def hooks(self):
        originals = [(Interpolator, "label", "labels"), (ConfidenceMeter, "add", "confidence")]
        originals = [(owner, name, stage, getattr(owner, name)) for owner, name, stage in originals]

        def timed(stage, original):
            def call(*values):
                wait(self.device)
                started = time.perf_counter()
                original(*values)
                wait(self.device)
                self.inner[stage] += time.perf_counter() - started

            return call

        for owner, name, stage, original in originals:
            setattr(owner, name, timed(stage, original))
        try:
            yield
        finally:
            for owner, name, _, original in originals:
                setattr(owner, name, original)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: torch.device) -> float:
    """Peak memory of the device since :func:`forget_peak`; that of a CPU is not told apart."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0


def whole_volumes(device: torch.device, size: Size) -> None:
    """The engine from a volume to labels, as it is used."""
    print(
        "| run | quality | windows | total s | preprocess | windows | labels | confidence | join | expected s", end=""
    )
    print(" | peak GB on the device | expected | peak GB of the process | settings |")
    print("|" + "---|" * 14)
    one = Parts(size, (sum(size.classes),), 3.0)
    cases = [("(a), first run", size.small, one, "standard"), ("(a), again", size.small, one, "standard")]
    five = Parts(size, size.classes, 1.5)
    cases += [("(c), five networks", size.large, five, quality) for quality in ("standard", "fast")]
    for name, (shape, spacing), model, quality in cases:
        volume = Volume(body(shape), np.diag([spacing, spacing, spacing, 1.0]))
        forget_peak(device)
        grids = Grids(volume, QUALITIES[quality].air)
        plan = joined_estimates(
            [estimate_run(volume, p.networks, p.plan, QUALITIES[quality], device, grids) for p in model.parts.values()]
        )
        watch = Stopwatch(device)
        run = VolumeRun(volume, model, model.labels, QUALITIES[quality], device, watch)
        with watch.hooks():
            run.all_parts(ignore_progress, never_cancel)
        watch.lap("join")
        laps = watch.laps | {k: round(v, 3) for k, v in watch.inner.items()}
        windows = laps["inference"] - laps["labels"] - laps["confidence"]
        join = laps["join"] + laps["load model"]  # nothing is loaded here: that lap ends the join of the part before
        times = [laps["preprocess"], windows, laps["labels"], laps["confidence"], join, plan.seconds]
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        cells = [name, quality, str(plan.windows), f"{sum(watch.laps.values()):.2f}", *(f"{t:.2f}" for t in times)]
        cells += [
            f"{peak_gb(device):.1f}",
            f"{plan.device_bytes / 1e9:.1f}",
            f"{process:.1f}",
            run.estimates[-1].settings.describe(),
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
        for warning in run.warnings:
            print(f"{name}: {warning}", file=sys.stderr)


def forward(net: UNet, windows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    with torch.autocast(windows.device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False):
        return net(windows)


def captured(net: UNet, windows: torch.Tensor, dtype: torch.dtype):
    """The network as a CUDA graph: a call that copies the windows in and replays it."""
    static = windows.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # cuDNN and cuBLAS set themselves up outside of the capture
        for _ in range(3):
            forward(net, static, dtype)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = forward(net, static, dtype)

    def replay() -> torch.Tensor:
        static.copy_(windows)
        graph.replay()
        return logits

    return replay


def compared(logits: torch.Tensor, reference: torch.Tensor) -> tuple[float, float]:
    """Largest difference of one window's logits (C, Z, Y, X), and the share of voxels with the same label."""
    largest, equal = 0.0, 0
    for row in range(reference.shape[1]):  # row by row, to need no memory for it
        ours, theirs = logits[:, row].float(), reference[:, row].to(logits.device)
        largest = max(largest, float((ours - theirs).abs().max()))
        equal += int((ours.argmax(0) == theirs.argmax(0)).sum())
    return largest, equal / reference[0].numel()


def windows_alone(device: torch.device, size: Size) -> None:
    """Windows per second of the network alone, each batch waited for, as the engine does."""
    print("| precision | layout | batch | cuDNN | run | windows/s | peak GB | largest difference | same label |")
    print("|" + "---|" * 9)
    cuda = device.type == "cuda"
    net = lay_out(network(size, sum(size.classes) + 1), device)
    windows = torch.randn((4, 1, *[size.patch] * 3), generator=torch.Generator().manual_seed(0)).to(device)
    with reproducible():
        reference = forward(net, windows[:1], torch.float32)[0].float().cpu()
    kinds = list(
        product(PRECISIONS, ["channels last"], (1, 2, 4), ["rule", "search"][: 1 + cuda], [False, True][: 1 + cuda])
    )
    kinds += [(precision, "plain", 1, "rule", False) for precision in PRECISIONS]
    for precision, layout, batch, choice, graph in kinds:
        memory_format = torch.contiguous_format if layout == "plain" else torch.channels_last_3d
        net.to(memory_format=memory_format)
        inputs = windows[:batch].contiguous(memory_format=memory_format)
        cells = [precision, layout, str(batch), choice, "graph" if graph else "eager"]
        forget_peak(device)
        try:
            with reproducible():
                torch.backends.cudnn.benchmark = choice == "search"
                if precision == "tf32":
                    torch.backends.cudnn.allow_tf32 = True
                speed, logits = measured(net, inputs, PRECISIONS[precision], graph, size.seconds)
            difference, same = compared(logits[0], reference)
            cells += [f"{speed:.1f}", f"{peak_gb(device):.1f}", f"{difference:.2g}", f"{100 * same:.2f} %"]
            del logits
        except RuntimeError as error:  # out of memory, or what cannot be captured
            cells += [str(error).splitlines()[0][:80], "", "", ""]
        print("| " + " | ".join(cells) + " |", flush=True)


def measured(net: UNet, windows: torch.Tensor, dtype: torch.dtype, graph: bool, seconds: float):
    """Windows per second, and the logits."""
    call = captured(net, windows, dtype) if graph else lambda: forward(net, windows, dtype)
    for _ in range(2):
        logits = call()
    wait(windows.device)
    count, started = 0, time.perf_counter()
    while count < 3 or time.perf_counter() - started < seconds:
        logits = call()
        wait(windows.device)
        count += 1
    return count * len(windows) / (time.perf_counter() - started), logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--small", action="store_true", help="a small network and small volumes")
    options = parser.parse_args()
    device, size = torch.device(options.device), SMALL if options.small else FULL
    name, version = "CPU", ""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        version = f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    print(f"## {name}, {date.today()}, torch {torch.__version__}{version}\n")
    print(f"`python Testing/benchmarks/inference_gpu.py{' --small' if options.small else ''} --device {device}`\n")
    with torch.inference_mode():
        whole_volumes(device, size)
        print()
        windows_alone(device, size)


if __name__ == "__main__":
    main()
