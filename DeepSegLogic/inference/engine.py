"""The one engine that runs every backend's network over a volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import NoReturn

import torch
from torch import nn

from ..data.types import LabelArray
from ..models.plan import Plan
from ..util.errors import ModelError, ResourceError, first_line
from ..util.progress import Cancel, Progress, check
from .accumulator import Accumulator
from .confidence import ConfidenceMeter
from .cpu_runtime import large_blocks_kept
from .device import is_out_of_memory, lay_out, layout, precision, reproducible
from .estimate import patch_multiple
from .label_writer import LabelWriter, deferred_head, has_head
from .memory_ladder import FirstWindow, MemoryLadder, RunSettings, repeatable
from .preprocessing import Prepared

log = logging.getLogger(__name__)

Starts = list[tuple[int, int, int]]


@dataclass
class Prediction:
    """Labels of the box ``Prepared.grid.crop`` of the volume.

    Attributes:
        labels: (Z, Y, X) uint8 or uint16.
        meter: probabilities by label, on the network's grid.
        warnings: what was given up for lack of memory or precision, one sentence each.
    """

    labels: LabelArray
    meter: ConfidenceMeter
    warnings: list[str] = field(default_factory=list)


class Engine:
    """One run of one network (or an ensemble of folds) over one prepared volume; it cannot run twice.

    Args:
        networks: from (N, C, Z, Y, X) to logits (N, C, Z, Y, X); several are averaged.
        plan: what they expect, and what their outputs mean.
        settings: those to begin with, see :class:`~.memory_ladder.RunSettings`.
        step, mirror, half_on_cpu: see :class:`~.presets.Quality`.
        keep_probabilities: keep the most probable labels of each voxel for corrections.
        meter: what takes the logits, see :class:`~.label_writer.LabelWriter`.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        plan: Plan,
        settings: RunSettings,
        *,
        step: float = 0.5,
        mirror: bool = False,
        half_on_cpu: bool = False,
        keep_probabilities: bool = False,
        meter: type[ConfidenceMeter] = ConfidenceMeter,
    ):
        self.networks, self.plan, self.step = list(networks), plan, step
        self.warnings: list[str] = []
        self._ladder = MemoryLadder(settings, patch_multiple(networks[0]), self._move, self._warn)
        axes = plan.mirror_axes if mirror else ()
        self._flips = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
        self._keep_probabilities, self._meter = keep_probabilities, meter
        self._half_on_cpu, self._full_precision = half_on_cpu, False
        self._deferred = deferred_head(self.networks, plan) is not None
        self._accumulator: Accumulator | None = None

    @property
    def settings(self) -> RunSettings:
        """The current settings; after a run those that it ended with."""
        return self._ladder.settings

    def run(self, prepared: Prepared, progress: Progress, cancel: Cancel) -> Prediction:
        """Segment. ``progress`` is called after every batch of windows.

        Raises:
            Cancelled, ResourceError, ModelError.
        """
        with torch.inference_mode(), reproducible(), large_blocks_kept():
            try:
                return self._ladder.run_whole(self._run, prepared, progress, cancel)
            except (RuntimeError, MemoryError) as error:
                raise_explained(error, self.settings)
            finally:
                self.networks = []  # the ladder refers back to the engine: freed at once, not by the garbage collector

    @repeatable
    def _run(self, prepared: Prepared, progress: Progress, cancel: Cancel) -> Prediction:
        ladder, settings = self._ladder, self.settings
        grid = prepared.grid.windows(settings.patch_size, self.step)
        image = grid.covered(prepared.image, self.plan.padding)
        self.networks = [lay_out(n, settings.device) for n in self.networks]
        head = deferred_head(self.networks, self.plan)
        if head is not None and not all(torch.isfinite(p).all() for p in head.parameters()):
            raise _not_finite("last layer")
        writer = LabelWriter(
            self.plan, prepared.grid, grid.first, settings.logits_device, head, self._keep_probabilities, self._meter
        )
        channels = self.plan.channels if head is None else head.in_channels
        accumulator = Accumulator(channels, grid.shape[1:], settings.logits_device, settings.logits_on_disk)
        self._accumulator = accumulator
        done, total, started = 0, len(grid), time.monotonic()
        first = FirstWindow(settings)
        ladder.settings = first.settings

        def fraction() -> float:  # labels take a small part of the time, and trail the windows
            return 0.95 * done / total + 0.05 * writer.written / len(writer.labels)

        try:
            levels = list(grid.levels())
            for index, (z, inner) in enumerate(levels):
                ladder.run(accumulator.cover, z + grid.patch[0])
                at = 0
                while at < len(inner):
                    check(cancel)
                    if done == 0:
                        first.starts(self.settings.device)
                    batch, outputs = ladder.run(self._forward, image, [(z, *yx) for yx in inner[at:]])
                    for window, start in zip(outputs, batch, strict=True):
                        accumulator.add(window, start, grid.share(start))
                    del outputs, window  # else they would lie beside the next ones
                    if done == 0:
                        ladder.settings = first.ended(self.settings)
                    at += len(batch)
                    done += len(batch)
                    left = (time.monotonic() - started) / done * (total - done)
                    progress("inference", fraction(), f"window {done} of {total}, {_duration(left)} left")
                final = levels[index + 1][0] if index + 1 < len(levels) else image.shape[1]
                for stop in writer.bands(final):
                    ladder.run(writer.write, accumulator, stop)
                    progress("inference", fraction(), "writing labels")
                    check(cancel)
                accumulator.drop(min(writer.first_row_needed(), final))
        finally:
            accumulator.close()
            self._accumulator = None
        return Prediction(writer.labels, writer.meter, self.warnings)

    @repeatable
    def _forward(self, image: torch.Tensor, starts: Starts) -> tuple[Starts, torch.Tensor]:
        """The first batch of the windows at ``starts``: where they lie, and what is accumulated, (N, C, Z, Y, X)."""
        batch = starts[: self.settings.batch_size]
        dz, dy, dx = self.settings.patch_size
        windows = torch.stack([image[:, z : z + dz, y : y + dy, x : x + dx] for z, y, x in batch])
        windows = windows.to(self.settings.device).contiguous(memory_format=layout(self.settings.device))
        outputs = self._average(windows, self._full_precision)
        if not torch.isfinite(outputs.sum()):  # cheaper than looking at each: what is not finite stays so
            outputs = self._repeat_in_full_precision(windows, batch)
        return batch, outputs

    def _average(self, windows: torch.Tensor, full_precision: bool) -> torch.Tensor:
        """The mean over networks and mirrorings."""
        outputs: list[torch.Tensor] = []  # their sum, once there is one
        dtype = torch.float32 if full_precision else precision(self.settings.device, self._half_on_cpu)
        with torch.autocast(self.settings.device.type, dtype, enabled=dtype != torch.float32):
            for network in self.networks:
                run = network.features if self._deferred and has_head(network) else network
                for axes in self._flips:
                    dims = [a + 2 for a in axes]
                    output = run(windows.flip(dims) if dims else windows).float()
                    output = output.flip(dims) if dims else output
                    outputs = [outputs[0].add_(output)] if outputs else [output]
        count = len(self.networks) * len(self._flips)
        return outputs[0] if count == 1 else outputs[0].div_(count)

    def _repeat_in_full_precision(self, windows: torch.Tensor, starts: Starts) -> torch.Tensor:
        where = f"windows at {starts}"
        outputs = self._average(windows, full_precision=True)
        if not torch.isfinite(outputs).all():
            raise _not_finite(where)
        if not self._full_precision:
            self._full_precision = True
            self._warn("Half precision overflowed; the rest of the run uses full precision.")
        log.warning("non-finite logits in half precision, repeated in full precision: %s", where)
        return outputs

    def _move(self, settings: RunSettings) -> None:
        """Move what lies in memory from where the current settings want it to where the next ones do."""
        before = self.settings
        moved = (settings.logits_device, settings.logits_on_disk) != (before.logits_device, before.logits_on_disk)
        if moved and self._accumulator is not None:
            self._accumulator.move(settings.logits_device, settings.logits_on_disk)
        if settings.device != before.device:
            self.networks = [lay_out(n, settings.device) for n in self.networks]

    def _warn(self, sentence: str) -> None:
        log.warning(sentence)
        self.warnings.append(sentence)


def _not_finite(where: str) -> ModelError:
    return ModelError(
        f"The network gives no finite numbers ({where}).",
        "Its weights are broken: verify or install the model again.",
        code="model.not_finite",
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def raise_explained(error: Exception, settings: RunSettings) -> NoReturn:
    """Raise an error of torch as one that says what to do, where the reason is known; else as it is."""
    if is_out_of_memory(error):
        raise ResourceError(
            f"Out of memory, even with {settings.describe()}.",
            "Close other programs, choose a coarser model, or crop the volume.",
            code="resource.memory",
            action="lower_quality",
        ) from error
    # The type is new in torch 2.8.
    lost = isinstance(error, getattr(torch, "AcceleratorError", ())) or "CUDA error" in str(error)
    if settings.device.type == "cuda" and lost:
        raise ResourceError(
            f"The GPU stopped working during the run ({first_line(error)}).",
            "Run again. If it happens again, update the GPU driver, or use the CPU.",
            code="resource.device_lost",
            action="choose_device",
            device="cpu",
        ) from error
    raise error
