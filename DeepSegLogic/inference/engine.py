"""The one engine that runs every backend's network over a volume."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from ..errors import ModelError, ResourceError
from ..progress import Cancel, Progress, check
from .accumulator import Accumulator
from .allocator import large_blocks_kept
from .confidence import ConfidenceMeter
from .device import autocast, is_out_of_memory, lay_out, reproducible
from .labelling import Interpolator
from .memory import RunSettings, smaller_patch
from .plan import Plan
from .preprocessing import Prepared
from .windows import WindowGrid

log = logging.getLogger(__name__)
T = TypeVar("T")
_TILE = {
    "cpu": 12,
    "mps": 48,
    "cuda": 64,
}  # edge in network voxels: small ones save work, large ones launches


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
        step, mirror: see :class:`~DeepSegLogic.inference.quality.Quality`.
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
        keep_probabilities: bool = False,
    ):
        self.networks, self.plan, self.settings, self.step = list(networks), plan, settings, step
        axes = plan.mirror_axes if mirror else ()
        self._flips = list(chain.from_iterable(combinations(axes, n) for n in range(len(axes) + 1)))
        self._keep_probabilities = keep_probabilities
        self._full_precision = False
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
                    if not is_out_of_memory(error) or not self._shrink_patch():
                        raise explained(error, self.settings) from error

    def _run(self, prepared: Prepared, progress: Progress, cancel: Cancel) -> Prediction:
        image, before = _padded(prepared.image, self.settings.patch_size)
        asked = [slice(b + a.start, b + a.stop) for b, a in zip(before, prepared.asked, strict=True)]
        grid = WindowGrid(image.shape, self.settings.patch_size, self.step, asked)
        image = image[grid.hull]
        before = [a.start - h.start for a, h in zip(asked, grid.hull, strict=True)]
        shape = prepared.shape
        channels = self.plan.channels
        self.networks = [lay_out(n, self.settings.device) for n in self.networks]
        interpolator = Interpolator(
            shape,
            prepared.native_shape,
            [None if m is None else m.to(self.settings.logits_device) for m in prepared.back],
            _TILE[self.settings.logits_device.type],
            self.plan.regions,
        )
        dtype = np.uint8 if max(self.plan.labels, default=0) < 256 else np.uint16
        labels = np.zeros(prepared.native_shape, dtype)
        out = torch.from_numpy(labels)
        meter = ConfidenceMeter(self.plan, shape, prepared.grid_to_ras, self._keep_probabilities)
        # Padding, and what was not asked for, is cut off before anything is interpolated.
        accumulator = Accumulator(channels, image.shape[1:], self.settings.logits_device, self.settings.logits_on_disk)
        self._accumulator = accumulator
        done, total, started = 0, len(grid), time.monotonic()
        written = 0

        def fraction():  # labels take a small part of the time, and trail the windows
            return 0.95 * done / total + 0.05 * written / out.shape[0]

        try:
            levels = list(grid.levels())
            for index, (z, inner) in enumerate(levels):
                self._within_memory(partial(accumulator.cover, z + grid.patch[0]))
                at = 0
                while at < len(inner):
                    check(cancel)
                    batch = [(z, *yx) for yx in inner[at : at + self.settings.batch_size]]
                    logits = self._forward(image, batch)
                    if logits is None:  # one step down; the windows done so far stay
                        continue
                    for window, start in zip(logits, batch, strict=True):
                        accumulator.add(window, start, grid.share(start))
                    del logits, window  # else they would lie beside the next ones
                    at += len(batch)
                    done += len(batch)
                    left = (time.monotonic() - started) / done * (total - done)
                    progress("inference", fraction(), f"window {done} of {total}, {_duration(left)} left")
                final = levels[index + 1][0] if index + 1 < len(levels) else image.shape[0]
                finish = partial(self._finish, accumulator, interpolator, meter, before, final, shape, written, out)
                written = self._within_memory(finish)
                progress("inference", fraction(), "writing labels")
                check(cancel)
        finally:
            accumulator.close()
        return Prediction(labels, meter, self.warnings)

    def _finish(self, accumulator, interpolator, meter, before, final, shape, written, out) -> int:
        """Turn complete rows of logits into labels; returns how many native rows are written."""
        final = min(final - before[0], shape[0])
        base = accumulator.base - before[0]
        y, x = slice(before[1], before[1] + shape[1]), slice(before[2], before[2] + shape[2])
        skip = max(0, -base)  # rows before those asked for
        held = accumulator.logits[skip:, y, x]
        base += skip
        meter.add(held, base, final)
        ready = interpolator.ready_rows(final)
        if ready > written:
            interpolator.label(held[: final - base], base, range(written, ready), out)
        needed = min(interpolator.first_row_needed(ready), final)
        accumulator.drop(needed + before[0])
        return ready

    def _within_memory(self, action: Callable[[], T]) -> T:
        """What ``action`` returns; where memory does not suffice, it is repeated one step down the ladder."""
        while True:
            try:
                return action()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._step_down():
                    raise

    def _forward(self, image: torch.Tensor, starts: Sequence[Sequence[int]]) -> torch.Tensor | None:
        """Logits (N, C, Z, Y, X) of some windows; None after a step down the memory ladder."""
        dz, dy, dx = self.settings.patch_size
        windows = torch.stack([image[None, z : z + dz, y : y + dy, x : x + dx] for z, y, x in starts])
        windows = windows.to(self.settings.device).contiguous(memory_format=torch.channels_last_3d)
        try:
            logits = self._average(windows, self._full_precision)
            if not torch.isfinite(logits.sum()):  # cheaper than looking at each: what is not finite stays so
                logits = self._repeat_in_full_precision(windows, starts)
            return logits
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not self._step_down():
                raise
            return None

    def _average(self, windows: torch.Tensor, full_precision: bool) -> torch.Tensor:
        total = None
        with autocast(self.settings.device, full_precision):
            for network in self.networks:
                for axes in self._flips:
                    dims = [a + 2 for a in axes]
                    logits = network(windows.flip(dims) if dims else windows).float()
                    logits = logits.flip(dims) if dims else logits
                    total = logits if total is None else total.add_(logits)
        return total.div_(len(self.networks) * len(self._flips))

    def _repeat_in_full_precision(self, windows, starts):
        where = f"windows at {[tuple(s) for s in starts]}"
        logits = self._average(windows, full_precision=True)
        if not torch.isfinite(logits).all():
            raise ModelError(
                f"The network gives no finite numbers ({where}).",
                "Its weights are broken: verify or install the model again.",
                code="model.not_finite",
            )
        if not self._full_precision:
            self._full_precision = True
            self._warn("Half precision overflowed; the rest of the run uses full precision.")
        log.warning("non-finite logits in half precision, repeated in full precision: %s", where)
        return logits

    def _step_down(self) -> bool:
        """Free memory in the next named way; False when there is none left."""
        lower = self.settings.step_down()
        if lower is None:
            return False
        if lower.logits_device != self.settings.logits_device or lower.logits_on_disk != self.settings.logits_on_disk:
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


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def explained(error: BaseException, settings: RunSettings) -> BaseException:
    """An error of torch as one that says what to do, where the reason is known; else the error itself."""
    if is_out_of_memory(error):
        return ResourceError(
            f"Memory does not suffice, not even with {settings.describe()}.",
            "Close other programs, choose a coarser model, or crop the volume.",
            code="resource.memory",
        )
    if settings.device.type == "cuda" and isinstance(error, getattr(torch, "AcceleratorError", ())):
        return ResourceError(
            f"The GPU stopped working during the run ({str(error).splitlines()[0]}).",
            "Run again; if it happens again, use --device cpu and check the driver.",
            code="resource.device_lost",
        )
    return error
