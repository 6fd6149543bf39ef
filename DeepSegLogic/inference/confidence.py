"""What the network believed: probabilities gathered while the logits pass by."""

from __future__ import annotations

import numpy as np
import torch

from .plan import Plan
from .probabilities import TopProbabilities

KEPT = 3  # most probable labels kept per voxel
_CHUNK = 2**22  # probabilities computed at a time


class ConfidenceMeter:
    """Sums winning probabilities by label as rows of logits become complete.

    Args:
        plan: of the network.
        shape: (Z, Y, X) of its grid.
        grid_to_ras: 4×4 of that grid.
        keep: also keep the ``KEPT`` most probable labels of each voxel.

    Attributes:
        seen: rows taken so far.
    """

    def __init__(self, plan: Plan, shape, grid_to_ras: np.ndarray, keep: bool):
        self._plan, self._grid_to_ras = plan, grid_to_ras
        highest = max(plan.labels, default=0)
        self._sum, self._count = np.zeros(highest + 1), np.zeros(highest + 1)
        self.seen = 0
        self._kept = None
        if keep:
            n = min(KEPT, plan.channels + (plan.regions is not None))
            dtype = np.uint8 if highest < 256 else np.uint16
            self._kept = np.zeros((n, *shape), dtype), np.zeros((n, *shape), np.uint8)

    def add(self, logits: torch.Tensor, base: int, final: int) -> None:
        """Take the rows from the last one seen up to ``final`` out of logits (rows, Y, X, C) from row ``base``."""
        step = max(1, _CHUNK // logits[0].numel())
        for start in range(self.seen, final, step):
            stop = min(start + step, final)
            labels, values = self._probabilities(logits[start - base : stop - base])
            winner, best = labels[0].ravel(), values[0].ravel()
            self._sum += np.bincount(winner, best, len(self._sum))
            self._count += np.bincount(winner, minlength=len(self._count))
            if self._kept is not None:
                n = len(self._kept[0])
                self._kept[0][:, start:stop] = labels[:n]
                self._kept[1][:, start:stop] = np.rint(values[:n] * 255)
            self.seen = stop  # here, so that a repetition after running out of memory counts nothing twice

    def confidence(self) -> dict[str, float]:
        """Mean probability of each structure over the voxels that it won; structures without voxels are left out."""
        return {
            name: round(float(self._sum[value] / self._count[value]), 4)
            for value, name in self._plan.labels.items()
            if self._count[value]
        }

    def top(self) -> TopProbabilities | None:
        """The probabilities kept, if they were asked for."""
        if self._kept is None:
            return None
        return TopProbabilities(*self._kept, self._grid_to_ras)

    def _probabilities(self, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The most probable labels (n, rows, Y, X), and how probable they are."""
        n = KEPT if self._kept is not None else 1
        if self._plan.regions is not None:
            values, labels = self._region_probabilities(logits)
        else:
            n = min(n, logits.shape[-1])
            # `max` is several times faster than `topk`, which sorts.
            values, labels = logits.max(-1, keepdim=True) if n == 1 else logits.topk(n, -1)
            values = (values - logits.logsumexp(-1, keepdim=True)).exp_()
        return tuple(np.moveaxis(t.cpu().numpy(), -1, 0) for t in (labels, values))

    def _region_probabilities(self, logits: torch.Tensor):
        """A voxel's label is the last region written there; what a later region denies, an earlier one keeps."""
        left = torch.ones_like(logits[..., 0])
        shares = []
        for channel in reversed(logits.sigmoid().unbind(-1)):
            shares.append(channel * left)
            left = left * (1 - channel)
        shares = torch.stack([left, *reversed(shares)], -1)
        values, index = shares.topk(min(KEPT, shares.shape[-1]), -1)
        return values, torch.tensor([0, *self._plan.regions], device=logits.device)[index]
