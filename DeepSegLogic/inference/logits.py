"""The logits of a run, for fitting a temperature to them. A run that only segments keeps none."""

from __future__ import annotations

from typing import Any

import torch

from .confidence import ConfidenceMeter


class LogitKeeper(ConfidenceMeter):
    """Also keeps the logits of all voxels of the network's grid, in half precision."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._rows: list[torch.Tensor] = []

    def add(self, logits: torch.Tensor, base: int, final: int) -> None:
        """See :meth:`~.confidence.ConfidenceMeter.add`."""
        before = self.seen
        super().add(logits, base, final)
        if self.seen > before:
            self._rows.append(logits[before - base : self.seen - base].half().cpu())

    def logits(self) -> torch.Tensor:
        """(Z, Y, X, channels) float16."""
        return torch.cat(self._rows)
