"""How much memory and time a run needs, and the settings that this machine allows."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.run_record import RunPlan
from ..data.types import Shape
from ..data.volume import Volume
from ..models.model import lacks_package
from ..models.plan import Plan
from ..util.free_memory import free_memory
from .device import layout, precision
from .grid_plan import Grids
from .label_writer import TILE, deferred_head, has_head
from .memory_ladder import CPU, SPARE, RunSettings
from .presets import Quality

_LARGEST_BATCH = 4  # Cancel waits for a batch
_NORMS = (nn.InstanceNorm3d, nn.GroupNorm)


@dataclass(frozen=True)
class RunEstimate:
    """What a run is expected to take.

    Attributes:
        windows: how many the network sees.
        settings: chosen for this machine.
        device_bytes, ram_bytes, disk_bytes: peak need of this run, in bytes.
        seconds: expected duration, from the speed of this machine and the arithmetic to do.
        at_most: whether the run may need less, since the region that the model sees is still to be found.
    """

    windows: int
    settings: RunSettings
    device_bytes: int
    ram_bytes: int
    disk_bytes: int
    seconds: float
    at_most: bool = False

    def as_json(self) -> RunPlan:
        """The estimate as plain JSON values."""
        return {
            "windows": self.windows,
            "device_bytes": self.device_bytes,
            "ram_bytes": self.ram_bytes,
            "disk_bytes": self.disk_bytes,
            "seconds": self.seconds,
            "at_most": self.at_most,
            "device": str(self.settings.device),
            "patch_size": list(self.settings.patch_size),
            "run": self.settings.describe(),
        }


def estimate_run(
    volume: Volume,
    networks: Sequence[nn.Module],
    plan: Plan,
    quality: Quality,
    device: torch.device,
    grids: Grids,
) -> RunEstimate:
    """Choose settings for this machine, and estimate what a run with them needs.

    Args:
        grids: of this volume; those that it will be prepared with.

    The largest activations are those of a forward pass without keeping any for training; they and the
    arithmetic are counted on a small window.
    """
    grid = grids.of(plan)
    windows = grid.windows(plan.patch_size, quality.step)
    plane = windows.shape[1] * windows.shape[2]
    head = deferred_head(networks, plan)
    channels = plan.channels if head is None else head.in_channels
    cost = network_cost(networks[0], plan.patch_size, plan.inputs, head is not None)
    dtype = precision(device, quality.halves(plan))
    window = cost.peak_bytes * dtype.itemsize // 4
    weights = sum(p.numel() * p.element_size() for n in networks for p in n.parameters())
    logits = 4 * channels * (plan.patch_size[0] + 2) * plane
    padded = np.maximum(grid.shape, plan.patch_size)
    image = 4 * int(padded.prod()) * plan.inputs + volume.array.nbytes
    # The image, further channels as float32, the labels, Python with torch.
    ram = image + 4 * volume.array.size * len(plan.further) + volume.array.size * 2 + 400 * 2**20

    settings = RunSettings(device, plan.patch_size)
    device_bytes = 0
    if device.type == "cuda":
        room = int(_free_bytes(device) * SPARE) - weights - 2 * window - image
        on_device = logits * 2 < room
        room -= logits * 2 if on_device else 0
        batch = int(np.clip(1 + room // max(window, 1), 1, _LARGEST_BATCH))
        # The run itself measures its batch, see `FirstWindow`; this one is for the estimate.
        settings = replace(settings, batch_size=_LARGEST_BATCH, logits_device=device if on_device else CPU)
        device_bytes = weights + window * (batch + 1) + image + (2 * logits if on_device else 0)
    else:
        ram += weights + window
    if settings.logits_device.type == "cpu":
        ram += 2 * logits + (0 if head is None else 4 * plan.channels * 2 * TILE["cpu"] * plane)
        if ram > _free_bytes(CPU) * SPARE:
            settings = replace(settings, logits_on_disk=True)
    disk = 2 * logits if settings.logits_on_disk else 0
    passes = len(networks) * (2 ** len(plan.mirror_axes) if quality.mirror else 1)
    seconds = len(windows) * passes * cost.operations / _operations_per_second(device.type, dtype)
    return RunEstimate(len(windows), settings, device_bytes, ram - disk, disk, seconds)


def joined_estimates(parts: Sequence[RunEstimate]) -> RunEstimate:
    """The estimate of networks that run one after the other."""
    largest = max(parts, key=lambda p: p.device_bytes + p.ram_bytes)
    return replace(largest, windows=sum(p.windows for p in parts), seconds=sum(p.seconds for p in parts))


def patch_multiple(network: nn.Module) -> Shape:
    """What the sides (Z, Y, X) of a patch must be multiples of: the product of the strides, down or up."""
    down, up = np.ones(3, int), np.ones(3, int)
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose3d):
            up *= layer.stride
        elif isinstance(layer, nn.Conv3d):
            down *= layer.stride
    z, y, x = np.maximum(down, up).tolist()
    return z, y, x


@dataclass(frozen=True)
class NetworkCost:
    """Of one window: multiply-adds times two, and the peak of its float32 activations in bytes."""

    operations: int
    peak_bytes: int


def network_cost(network: nn.Module, patch_size: Shape, inputs: int = 1, without_head: bool = False) -> NetworkCost:
    """Count what one window costs, layer by layer, on a window as small as the network takes.

    torch could count on shapes alone (its meta device), but imports its compiler for that, which takes longer.

    Args:
        inputs: channels that it takes.
        without_head: up to the features of which :func:`~.label_writer.deferred_head` makes logits later.
    """
    if any(isinstance(m, torch.jit.ScriptModule) for m in network.modules()):
        return _guessed_cost(network, patch_size)
    total, largest, kept = 0, 0, 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
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
    memo: dict[int, Any] = {id(t): t for t in (*network.parameters(), *network.buffers())}
    sketch = copy.deepcopy(network, memo)
    for module in list(sketch.modules()):
        for name, child in module.named_children():
            if isinstance(child, _NORMS):  # which refuse a single voxel
                setattr(module, name, nn.Identity())
        if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
            module.register_forward_hook(count)
    small = np.minimum(patch_multiple(network), patch_size).tolist()
    weight = next(network.parameters())
    try:
        with torch.inference_mode():
            run = sketch.features if without_head and has_head(sketch) else sketch
            run(torch.zeros((1, inputs, *small), device=weight.device, dtype=weight.dtype))
    except ImportError as error:  # the run would fail, too
        raise lacks_package(f"The network {type(network).__name__}", error) from error
    except Exception:  # a network's own code, on a window that it may not be made for
        return _guessed_cost(network, patch_size)
    scale = float(np.prod(patch_size) / np.prod(small))
    return NetworkCost(int(total * scale), int((3 * largest + kept) * scale))


def _guessed_cost(network: nn.Module, patch_size: Shape) -> NetworkCost:
    """For a network whose layers cannot be counted: as if half of its weights worked at a quarter of the resolution,
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
        layer = nn.Conv3d(32, 32, 3, padding=1, device=device, dtype=dtype)
        layer.weight.data = layer.weight.data.to(memory_format=layout(device))
        x = torch.zeros((1, 32, size, size, size), device=device, dtype=dtype).to(memory_format=layout(device))
        with torch.inference_mode():
            for _ in range(2):  # the first call sets things up
                started = time.perf_counter()
                layer(x)
                getattr(torch, device_type).synchronize()
                seconds = time.perf_counter() - started
    except RuntimeError:  # the device is full, or lacks the layer: the run will use the CPU
        if device_type == "cpu":
            raise
        return _operations_per_second("cpu", torch.float32)
    return 0.5 * 2 * 32 * 32 * 27 * size**3 / seconds  # half: norms and activations take their time too


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by earlier runs
        return torch.cuda.mem_get_info(device)[0] + cached
    return free_memory()
