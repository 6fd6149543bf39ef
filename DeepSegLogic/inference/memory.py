"""How much memory and time a run needs, and the named steps down when there is less."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from ..boxes import within
from ..free_memory import free_memory
from ..volume import Volume
from .device import layout, precision
from .finishing import TILE, deferred_head
from .plan import Plan
from .preprocessing import Boxes, network_view
from .quality import Quality
from .resampling import resampled_shape
from .windows import WindowGrid

SPARE = 0.85  # share of the free memory that a plan may use: other programs live here too
_LARGEST_BATCH = 4  # Cancel waits for a batch
_CPU = torch.device("cpu")
_NORMS = (nn.InstanceNorm3d, nn.GroupNorm)


@dataclass(frozen=True)
class RunSettings:
    """Where a run computes and where it keeps its logits.

    Attributes:
        device: runs the network.
        patch_size: (Z, Y, X) voxels of a window.
        batch_size: windows at a time.
        logits_device: holds the sum of the windows' logits.
        logits_on_disk: keep that sum in a temporary file.
    """

    device: torch.device
    patch_size: tuple[int, int, int]
    batch_size: int = 1
    logits_device: torch.device = _CPU
    logits_on_disk: bool = False

    def step_down(self) -> RunSettings | None:
        """The next settings that need less memory and give the same labels; None when there are none."""
        if self.logits_device.type != "cpu":
            return replace(self, logits_device=_CPU)
        if self.batch_size > 1:
            return replace(self, batch_size=self.batch_size // 2)
        if self.device.type != "cpu":
            return replace(self, device=_CPU)
        if not self.logits_on_disk:
            return replace(self, logits_on_disk=True)
        return None

    def describe(self) -> str:
        """e.g. ``"batches of 1 on the CPU, logits on disk"``."""
        place = "on disk" if self.logits_on_disk else f"in {_place(self.logits_device)} memory"
        return f"batches of {self.batch_size} on the {_place(self.device)}, logits {place}"

    def describe_step_from(self, before: RunSettings) -> str:
        """What differs from ``before``, for a warning."""
        if self.device != before.device:
            return "the rest of the run uses the CPU"
        if self.batch_size != before.batch_size:
            return f"{self.batch_size} windows at a time instead of {before.batch_size}"
        return "logits are kept on disk" if self.logits_on_disk else "logits are kept in main memory"


def smaller_patch(settings: RunSettings, network: nn.Module) -> RunSettings | None:
    """Settings with the longest side of the patch halved, or None when the network allows no less."""
    multiple = _divisor(network)
    axis = int(np.argmax(settings.patch_size))
    half = settings.patch_size[axis] // 2 // multiple[axis] * multiple[axis]
    if half < max(2 * multiple[axis], 16):
        return None
    patch = tuple(half if a == axis else p for a, p in enumerate(settings.patch_size))
    return replace(settings, patch_size=patch)


@dataclass(frozen=True)
class RunEstimate:
    """What a run will take, said before it starts.

    Attributes:
        windows: how many the network sees.
        settings: chosen for this machine.
        device_bytes, ram_bytes, disk_bytes: peak need of this run, in bytes.
        seconds: expected duration; a measurement of this machine scaled by the arithmetic to do.
    """

    windows: int
    settings: RunSettings
    device_bytes: int
    ram_bytes: int
    disk_bytes: int
    seconds: float

    def as_json(self) -> dict:
        """The numbers, the ``device``, the ``patch_size`` and the ``run`` in words, as plain JSON values."""
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        where = {"device": str(self.settings.device), "patch_size": list(self.settings.patch_size)}
        return numbers | where | {"run": self.settings.describe()}


def estimate_run(
    volume: Volume,
    networks: Sequence[nn.Module],
    plan: Plan,
    quality: Quality,
    device: torch.device,
    boxes: Boxes | None = None,
) -> RunEstimate:
    """Choose settings for this machine and say what they will need.

    ``boxes`` are those that the volume is prepared with; None for labels everywhere.

    The largest activations are those of a forward pass without keeping any for training; they and the
    arithmetic are counted on a small window.
    """
    _, matrix = network_view(volume.array, volume.ijk_to_ras, plan)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)[::-1]
    crop, box = (boxes or Boxes(volume, quality.air)).of(plan)
    seen = [s.stop - s.start for s in crop]
    shape = [max(1, n) for n in resampled_shape(seen, spacing, plan.spacing)]
    padded = [max(n, p) for n, p in zip(shape, plan.patch_size, strict=True)]
    asked = None
    if box is not None:
        scales = [n / s for n, s in zip(shape, seen, strict=True)]
        before = [(p - n) // 2 for p, n in zip(padded, shape, strict=True)]
        asked = [
            slice(int(b.start * s) + pad, int(b.stop * s) + pad + 1)
            for b, s, pad in zip(within(box, crop), scales, before, strict=True)
        ]
    grid = WindowGrid(padded, plan.patch_size, quality.step, asked)
    plane = [s.stop - s.start for s in grid.hull[1:]]
    deferred = deferred_head(networks, plan)
    kept = plan.channels if deferred is None else deferred.in_channels
    cost = network_cost(networks[0], plan.patch_size, deferred is not None)
    dtype = precision(device, quality.half_on_cpu)
    window = cost.peak_bytes * dtype.itemsize // 4
    weights = sum(p.numel() * p.element_size() for n in networks for p in n.parameters())
    logits = 4 * kept * (plan.patch_size[0] + 2) * plane[0] * plane[1]
    image = 4 * int(np.prod(padded)) + volume.array.nbytes
    ram = image + volume.array.size * 2 + 400 * 2**20  # the volume, its labels, Python with torch

    settings = RunSettings(device, tuple(plan.patch_size))
    free = _free_bytes(device) * SPARE
    if device.type == "cuda":
        room = free - weights - 2 * window - image
        on_device = logits * 2 < room
        room -= logits * 2 if on_device else 0
        batch = int(np.clip(1 + room // max(window, 1), 1, _LARGEST_BATCH))
        # The batch of the run itself is measured, see `batches`; the one here is for what is said beforehand.
        settings = replace(settings, batch_size=_LARGEST_BATCH, logits_device=device if on_device else _CPU)
        device_bytes = weights + window * (batch + 1) + image + (2 * logits if on_device else 0)
    else:
        device_bytes = 0
        ram += weights + window
    if settings.logits_device.type == "cpu":
        ram += 2 * logits + (0 if deferred is None else 4 * plan.channels * 2 * TILE["cpu"] * plane[0] * plane[1])
        if ram > _free_bytes(_CPU) * SPARE:
            settings = replace(settings, logits_on_disk=True)
    disk = 2 * logits if settings.logits_on_disk else 0
    passes = len(networks) * (2 ** len(plan.mirror_axes) if quality.mirror else 1)
    seconds = len(grid) * passes * cost.operations / _operations_per_second(device.type, dtype)
    return RunEstimate(len(grid), settings, device_bytes, ram - disk, disk, seconds)


def joined_estimates(parts: Sequence[RunEstimate]) -> RunEstimate:
    """Of networks that run one after the other."""
    hungriest = max(parts, key=lambda p: p.device_bytes + p.ram_bytes)
    return replace(hungriest, windows=sum(p.windows for p in parts), seconds=sum(p.seconds for p in parts))


@dataclass(frozen=True)
class NetworkCost:
    """Of one window: multiply-adds times two, and the peak of its float32 activations in bytes."""

    operations: int
    peak_bytes: int


def network_cost(network: nn.Module, patch_size: Sequence[int], without_head: bool = False) -> NetworkCost:
    """Count what one window costs, layer by layer, on a window as small as the network takes.

    ``without_head``: up to the features of which :func:`~.finishing.deferred_head` makes logits later.

    Torch could count on shapes alone (its meta device), but imports its compiler for that, which takes longer.
    """
    if any(isinstance(m, torch.jit.ScriptModule) for m in network.modules()):
        return _guessed_cost(network, patch_size)
    total, largest, kept = 0, 0, 0

    def count(layer, inputs, output):
        nonlocal total, largest, kept
        bytes_out = 4 * output.numel()
        if isinstance(layer, nn.Conv3d):
            taps = layer.in_channels // layer.groups * int(np.prod(layer.kernel_size))
            total += 2 * output.numel() * taps
            kept += bytes_out if any(s > 1 for s in layer.stride) else 0  # skip connections stay until the end
        elif isinstance(layer, nn.ConvTranspose3d):
            total += 2 * output.numel() * layer.in_channels
        else:
            return
        largest = max(largest, bytes_out + 4 * inputs[0].numel())

    # A copy that shares the weights: the network itself may be running in another thread.
    sketch = copy.deepcopy(network, {id(t): t for t in (*network.parameters(), *network.buffers())})
    for module in list(sketch.modules()):
        for name, child in module.named_children():
            if isinstance(child, _NORMS):  # which refuse a single voxel
                setattr(module, name, nn.Identity())
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(count)
    small = np.minimum(_divisor(network), patch_size)
    weight = next(network.parameters())
    try:
        with torch.inference_mode():
            run = sketch.features if without_head else sketch
            run(torch.zeros((1, 1, *small), device=weight.device, dtype=weight.dtype))
    except (RuntimeError, ValueError, TypeError):
        return _guessed_cost(network, patch_size)
    scale = np.prod(patch_size) / np.prod(small)
    return NetworkCost(int(total * scale), int((3 * largest + kept) * scale))


def _guessed_cost(network: nn.Module, patch_size: Sequence[int]) -> NetworkCost:
    """For a network that cannot be looked into: as if half of its weights worked at a quarter of the resolution,
    and 64 maps at the full one were in memory at once."""
    voxels = int(np.prod(patch_size))
    weights = sum(p.numel() for p in network.parameters())
    return NetworkCost(weights * voxels // 64, 64 * 4 * voxels)


@lru_cache(maxsize=4)
def _operations_per_second(device_type: str, dtype: torch.dtype) -> float:
    """Speed of a typical layer on this machine, measured once per process; takes some hundredths of a second."""
    device = torch.device(device_type)
    size = 96 if device_type == "cuda" else 32
    try:
        conv = nn.Conv3d(32, 32, 3, padding=1).to(device, dtype)
        x = torch.zeros((1, 32, size, size, size), device=device, dtype=dtype)
        conv, x = (t.to(memory_format=layout(device)) for t in (conv, x))
        with torch.inference_mode():
            for _ in range(2):  # the first call sets things up
                started = time.perf_counter()
                conv(x)
                getattr(torch, device_type).synchronize()
                seconds = time.perf_counter() - started
    except RuntimeError:  # the device is full, or lacks the layer: the run will use the CPU
        if device_type == "cpu":
            raise
        return _operations_per_second("cpu", torch.float32)
    return 0.5 * 2 * 32 * 32 * 27 * size**3 / seconds  # half: norms and activations take their time too


def _divisor(network: nn.Module) -> np.ndarray:
    """What each side of a patch must be a multiple of: the product of the strides, down or up."""
    down, up = np.ones(3, int), np.ones(3, int)
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose3d):
            up *= layer.stride
        elif isinstance(layer, nn.Conv3d):
            down *= layer.stride
    return np.maximum(down, up)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by earlier runs
        return torch.cuda.mem_get_info(device)[0] + cached
    return free_memory()


def _place(device: torch.device) -> str:
    return {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}[device.type]
