"""The one engine that runs every backend's network over a volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations
from typing import NoReturn, TypeVar

import numpy as np
import torch
from torch import nn

from ..errors import ModelError, ResourceError
from ..progress import Cancel, Progress, check
from .accumulator import Accumulator
from .allocator import large_blocks_kept
from .batches import FirstWindow
from .confidence import ConfidenceMeter
from .device import is_out_of_memory, lay_out, layout, precision, reproducible
from .finishing import Finisher, deferred_head
from .memory import RunSettings, smaller_patch
from .plan import Plan
from .preprocessing import Prepared
from .windows import WindowGrid

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Prediction:
    """Labels on the box ``Prepared.crop`` of the volume, and what is known about them.

    Attributes:
        labels: (Z, Y, X) uint8 or uint16.
        meter: probabilities by label, gathered on the network's grid.
        warnings: what had to be given up to get here.
    """

    labels: np.ndarray
    meter: ConfidenceMeter
    warnings: list[str] = field(default_factory=list)


class Engine:
    """One run of one network (or an ensemble of folds) over one prepared volume.

    Args:
        networks: from (N, 1, Z, Y, X) to logits (N, C, Z, Y, X); several are averaged.
        plan: what they expect and mean.
        settings: device, batch size, where the logits lie; see :mod:`DeepSegLogic.inference.memory`.
        step, mirror, half_on_cpu: see :class:`~DeepSegLogic.inference.quality.Quality`.
        keep_probabilities: keep the most probable labels of each voxel for corrections.
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
    ):
        self.networks, self.plan, self.settings, self.step = list(networks), plan, settings, step
        axes = plan.mirror_axes if mirror else ()
        self._flips = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
        self._keep_probabilities = keep_probabilities
        self._half_on_cpu, self._full_precision = half_on_cpu, False
        self._accumulator: Accumulator | None = None
        self.warnings: list[str] = []

    def run(self, prepared: Prepared, progress: Progress, cancel: Cancel) -> Prediction:
        """Segment. ``progress`` is called after every batch of windows.

        Raises:
            Cancelled, ResourceError, ModelError.
        """
        with torch.inference_mode(), reproducible(), large_blocks_kept():
            while True:
                try:
                    return self._run(prepared, progress, cancel)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or not (self._step_down() or self._shrink_patch()):
                        raise_explained(error, self.settings)

    def _run(self, prepared: Prepared, progress: Progress, cancel: Cancel) -> Prediction:
        image, before = _padded(prepared.image, self.settings.patch_size)
        asked = [slice(b + a.start, b + a.stop) for b, a in zip(before, prepared.asked, strict=True)]
        grid = WindowGrid(image.shape, self.settings.patch_size, self.step, asked)
        image = image[grid.hull]
        before = [a.start - h.start for a, h in zip(asked, grid.hull, strict=True)]
        self.networks = [lay_out(n, self.settings.device) for n in self.networks]
        head = deferred_head(self.networks, self.plan)
        self._deferred = head is not None
        if head is not None and not all(torch.isfinite(p).all() for p in head.parameters()):
            raise _not_finite("last layer")
        finisher = Finisher(self.plan, prepared, before, self.settings.logits_device, head, self._keep_probabilities)
        channels = head.in_channels if self._deferred else self.plan.channels
        accumulator = Accumulator(channels, image.shape[1:], self.settings.logits_device, self.settings.logits_on_disk)
        self._accumulator = accumulator
        done, total, started = 0, len(grid), time.monotonic()
        first = FirstWindow(self.settings)
        self.settings = first.settings

        def fraction():  # labels take a small part of the time, and trail the windows
            return 0.95 * done / total + 0.05 * finisher.written / len(finisher.labels)

        try:
            levels = list(grid.levels())
            for index, (z, inner) in enumerate(levels):
                self._within_memory(partial(accumulator.cover, z + grid.patch[0]))
                at = 0
                while at < len(inner):
                    check(cancel)
                    if done == 0:
                        first.starts(self.settings.device)
                    batch = [(z, *yx) for yx in inner[at : at + self.settings.batch_size]]
                    outputs = self._forward(image, batch)
                    if outputs is None:  # one step down; the windows done so far stay
                        continue
                    for window, start in zip(outputs, batch, strict=True):
                        accumulator.add(window, start, grid.share(start))
                    del outputs, window  # else they would lie beside the next ones
                    if done == 0:
                        self.settings = first.ended(self.settings)
                    at += len(batch)
                    done += len(batch)
                    left = (time.monotonic() - started) / done * (total - done)
                    progress("inference", fraction(), f"window {done} of {total}, {_duration(left)} left")
                final = levels[index + 1][0] if index + 1 < len(levels) else image.shape[0]
                for stop in finisher.bands(final):
                    self._within_memory(partial(finisher.finish, accumulator, stop))
                    progress("inference", fraction(), "writing labels")
                    check(cancel)
                accumulator.drop(min(finisher.first_row_needed(), final))
        finally:
            accumulator.close()
            self._accumulator = None
        return Prediction(finisher.labels, finisher.meter, self.warnings)

    def _within_memory(self, action: Callable[[], T]) -> T:
        """What ``action`` returns; where memory does not suffice, it is repeated one step down the ladder."""
        while True:
            try:
                return action()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._step_down():
                    raise

    def _forward(self, image: torch.Tensor, starts: Sequence[Sequence[int]]) -> torch.Tensor | None:
        """What the accumulator takes of some windows, (N, C, Z, Y, X); None after a step down the memory ladder."""
        dz, dy, dx = self.settings.patch_size
        windows = torch.stack([image[None, z : z + dz, y : y + dy, x : x + dx] for z, y, x in starts])
        windows = windows.to(self.settings.device).contiguous(memory_format=layout(self.settings.device))
        try:
            outputs = self._average(windows, self._full_precision)
            if not torch.isfinite(outputs.sum()):  # cheaper than looking at each: what is not finite stays so
                outputs = self._repeat_in_full_precision(windows, starts)
            return outputs
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not self._step_down():
                raise
            return None

    def _average(self, windows: torch.Tensor, full_precision: bool) -> torch.Tensor:
        total = None
        dtype = torch.float32 if full_precision else precision(self.settings.device, self._half_on_cpu)
        with torch.autocast(self.settings.device.type, dtype, enabled=dtype != torch.float32):
            for network in self.networks:
                run = network.features if self._deferred else network
                for axes in self._flips:
                    dims = [a + 2 for a in axes]
                    outputs = run(windows.flip(dims) if dims else windows).float()
                    outputs = outputs.flip(dims) if dims else outputs
                    total = outputs if total is None else total.add_(outputs)
        count = len(self.networks) * len(self._flips)
        return total if count == 1 else total.div_(count)

    def _repeat_in_full_precision(self, windows, starts):
        where = f"windows at {[tuple(s) for s in starts]}"
        outputs = self._average(windows, full_precision=True)
        if not torch.isfinite(outputs).all():
            raise _not_finite(where)
        if not self._full_precision:
            self._full_precision = True
            self._warn("Half precision overflowed; the rest of the run uses full precision.")
        log.warning("non-finite logits in half precision, repeated in full precision: %s", where)
        return outputs

    def _step_down(self) -> bool:
        """Free memory in the next named way; False when there is none left."""
        lower = self.settings.step_down()
        if lower is None:
            return False
        moved = (lower.logits_device, lower.logits_on_disk) != (
            self.settings.logits_device,
            self.settings.logits_on_disk,
        )
        if moved and self._accumulator is not None:
            self._accumulator.move(lower.logits_device, lower.logits_on_disk)
        if lower.device != self.settings.device:
            self.networks = [lay_out(n, lower.device) for n in self.networks]
        self._warn(f"Memory ran short: {lower.describe_step_from(self.settings)}.")
        self.settings = lower
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _shrink_patch(self) -> bool:
        smaller = smaller_patch(self.settings, self.networks[0])
        if smaller is None:
            return False
        size = "×".join(map(str, smaller.patch_size))
        self._warn(f"Memory ran short: windows of {size} voxels are used, which changes the labels a little.")
        self.settings = smaller
        return True

    def _warn(self, sentence: str) -> None:
        log.warning(sentence)
        self.warnings.append(sentence)


def _padded(image: torch.Tensor, patch: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
    """Pad with zeros to at least a patch, on both sides; returns the voxels added before each axis."""
    missing = [max(0, p - n) for n, p in zip(image.shape, patch, strict=True)]
    before = [m // 2 for m in missing]
    pads = [side for m, b in zip(reversed(missing), reversed(before), strict=True) for side in (b, m - b)]
    return (torch.nn.functional.pad(image, pads) if any(missing) else image), before


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
            f"Memory does not suffice, not even with {settings.describe()}.",
            "Close other programs, choose a coarser model, or crop the volume.",
            code="resource.memory",
        ) from error
    # The type is new in torch 2.8.
    lost = isinstance(error, getattr(torch, "AcceleratorError", ())) or "CUDA error" in str(error)
    if settings.device.type == "cuda" and lost:
        raise ResourceError(
            f"The GPU stopped working during the run ({str(error).splitlines()[0]}).",
            "Run again; if it happens again, use --device cpu and check the driver.",
            code="resource.device_lost",
        ) from error
    raise error
