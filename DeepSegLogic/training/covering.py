"""Images of which blocks are covered, and the loss of a network that restores them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from .patches import Patch, Patches

_COVERED, _BLOCK = 0.6, 8  # share of blocks, and their edge in voxels


class Covered(Dataset[Patch]):
    """Patches of which blocks are covered by zeros, the mean; the label of a covered voxel is what was there, of any
    other NaN. Patch ``n`` is the same whenever it is asked for."""

    def __init__(self, patches: Patches):
        self.patches = patches

    def __getitem__(self, n: int) -> Patch:
        image, labels, number = self.patches[n]
        return *self.covered(image, labels, n, 1), number

    def covered(
        self, image: torch.Tensor, labels: torch.Tensor, n: int, view: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A view of patch ``n``, and what is wanted of it."""
        rng = np.random.default_rng((self.patches.seed, n, view))
        blocks = [-(-edge // _BLOCK) for edge in image.shape[1:]]
        hidden = torch.from_numpy(rng.random(blocks) < _COVERED)
        for axis in range(3):
            hidden = hidden.repeat_interleave(_BLOCK, axis).narrow(axis, 0, image.shape[axis + 1])
        hidden &= labels >= 0
        return torch.where(hidden, 0.0, image), torch.where(hidden, image[0], torch.nan)


def restoration_loss(outputs: torch.Tensor, wanted: torch.Tensor, cases: Sequence[int]) -> torch.Tensor:
    """The mean absolute difference over covered voxels, those that are not NaN in ``wanted`` (N, Z, Y, X)."""
    covered = torch.isfinite(wanted)
    difference = functional.l1_loss(outputs[:, 0].float(), wanted.nan_to_num(), reduction="none")
    return (difference * covered).sum() / covered.sum().clamp(min=1)
