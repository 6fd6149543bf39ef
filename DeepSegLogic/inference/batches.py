"""How many windows a GPU runs at a time: the first one runs alone, and what it takes decides."""

from __future__ import annotations

from dataclasses import replace

import torch

from .memory import SPARE, RunSettings


class FirstWindow:
    """Measures the first window of a run. Only CUDA tells; elsewhere settings stay as they are.

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
        """``settings`` with the batch for the rest of the run: a power of two, at most the largest one wanted."""
        device = settings.device
        if device.type != "cuda":
            return settings
        window = torch.cuda.max_memory_allocated(device) - self._before
        torch.cuda.empty_cache()  # blocks of the size of one window are of no use to several
        fits = int(torch.cuda.mem_get_info(device)[0] * SPARE / max(window, 1))
        return replace(settings, batch_size=1 << (max(1, min(fits, self._largest)).bit_length() - 1))
