"""What a run does when memory runs out: it steps down to settings that need less, and repeats the stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from ..data.types import Shape
from .device import is_out_of_memory

P = ParamSpec("P")
T = TypeVar("T")

SPARE = 0.85  # share of the free memory that a run may use: other programs need some too
CPU = torch.device("cpu")


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
    patch_size: Shape
    batch_size: int = 1
    logits_device: torch.device = CPU
    logits_on_disk: bool = False

    def step_down(self) -> RunSettings | None:
        """The next settings that need less memory and give the same labels; None when there are none."""
        if self.logits_device.type != "cpu":
            return replace(self, logits_device=CPU)
        if self.batch_size > 1:
            return replace(self, batch_size=self.batch_size // 2)
        if self.device.type != "cpu":
            return replace(self, device=CPU)
        if not self.logits_on_disk:
            return replace(self, logits_on_disk=True)
        return None

    def smaller_patch(self, multiple: Shape) -> RunSettings | None:
        """Settings with the longest side of the patch halved; None when the network does not allow it.

        Args:
            multiple: (Z, Y, X) numbers that the sides of a patch must be multiples of.
        """
        axis = int(np.argmax(self.patch_size))
        half = self.patch_size[axis] // 2 // multiple[axis] * multiple[axis]
        if half < max(2 * multiple[axis], 16):
            return None
        z, y, x = (half if a == axis else p for a, p in enumerate(self.patch_size))
        return replace(self, patch_size=(z, y, x))

    def describe(self) -> str:
        """e.g. ``"batches of 1 on the CPU, logits on disk"``."""
        place = "on disk" if self.logits_on_disk else f"in {_place(self.logits_device)} memory"
        return f"batches of {self.batch_size} on the {_place(self.device)}, logits {place}"

    def describe_step_from(self, before: RunSettings) -> str:
        """What differs from ``before``, for a warning."""
        if self.device != before.device:
            return "the rest of the run uses the CPU"
        if self.batch_size != before.batch_size:
            windows = "window" if self.batch_size == 1 else "windows"
            return f"{self.batch_size} {windows} at a time instead of {before.batch_size}"
        return "logits are kept on disk" if self.logits_on_disk else "logits are kept in main memory"


def repeatable(stage: Callable[P, T]) -> Callable[P, T]:
    """Declares that a stage may run out of memory and then be called again, as if it had not been called.

    Whatever it has done by then is harmless: it stores results only at its end, or stores the same again.
    """
    stage.repeatable = True  # type: ignore[attr-defined]  # functions take attributes; their type does not say so
    return stage


class MemoryLadder:
    """Runs stages; when one runs out of memory, steps down to settings that need less and runs it again.

    Args:
        settings: those to begin with.
        multiple: see :meth:`RunSettings.smaller_patch`.
        move: called with the next settings, to move there what the run holds in memory.
        warn: called with a sentence for the user at each step.

    Attributes:
        settings: the current ones.
    """

    def __init__(
        self,
        settings: RunSettings,
        multiple: Shape,
        move: Callable[[RunSettings], None],
        warn: Callable[[str], None],
    ):
        self.settings = settings
        self._multiple, self._move, self._warn = multiple, move, warn

    def run(self, stage: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a stage, which is :func:`repeatable`. Its labels do not depend on the steps taken.

        Raises:
            RuntimeError, MemoryError: as the stage does, when there is no step left.
        """
        return self._repeat(self._step_down, stage, *args, **kwargs)

    def run_whole(self, stage: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As :meth:`run`, for the run as a whole, which can start again with smaller windows: the last resort."""
        return self._repeat(lambda: self._step_down() or self._shrink_windows(), stage, *args, **kwargs)

    def _repeat(self, step: Callable[[], bool], stage: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not getattr(stage, "repeatable", False):
            raise TypeError(f"{stage!r} does not declare that it can be repeated")
        while True:
            try:
                return stage(*args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not step():
                    raise

    def _step_down(self) -> bool:
        """Free memory without a change of the labels; False when there is no such step left."""
        lower = self.settings.step_down()
        if lower is None:
            return False
        self._move(lower)
        self._warn(f"Memory ran short: {lower.describe_step_from(self.settings)}.")
        self.settings = lower
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _shrink_windows(self) -> bool:
        smaller = self.settings.smaller_patch(self._multiple)
        if smaller is None:
            return False
        size = "×".join(map(str, smaller.patch_size))
        self._warn(f"Memory ran short: windows of {size} voxels are used, which changes the labels a little.")
        self.settings = smaller
        return True


class FirstWindow:
    """Runs the first window alone, and measures what it takes; this decides the batch of the rest. CUDA only.

    Args:
        settings: with the largest batch that is wanted.

    Attributes:
        settings: those for the first window.
    """

    def __init__(self, settings: RunSettings):
        self._largest, self._before = settings.batch_size, 0
        self.settings = replace(settings, batch_size=1) if settings.device.type == "cuda" else settings

    def starts(self, device: torch.device) -> None:
        """To be called before the window is run."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)

    def ended(self, settings: RunSettings) -> RunSettings:
        """``settings`` with the batch for the rest of the run: a power of two, at most the largest wanted."""
        device = settings.device
        if device.type != "cuda":
            return settings
        window = torch.cuda.max_memory_allocated(device) - self._before
        torch.cuda.empty_cache()  # blocks of the size of one window are of no use to several
        fits = int(torch.cuda.mem_get_info(device)[0] * SPARE / max(window, 1))
        return replace(settings, batch_size=1 << (max(1, min(fits, self._largest)).bit_length() - 1))


def _place(device: torch.device) -> str:
    return {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}[device.type]
