"""Contrastive pre-training: two views of the same crop have similar features, views of different crops have not.

Source: SimCLR (Chen et al., ICML 2020, arXiv:2002.05709), beside masked reconstruction as in MONAI's self-supervised
examples; the loss is MONAI's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .covering import Covered
from .patches import Patch, changed

_WEIGHT, _TEMPERATURE, _FEATURES = 0.1, 0.5, 32


class TwoViews(Covered):
    """Patches with a second view as second channel: other blocks are covered, and intensities are changed again."""

    def __getitem__(self, n: int) -> Patch:
        image, labels, number = self.patches[n]
        shown, wanted = self.covered(image, labels, n, 1)
        other, _ = self.covered(changed(image, self.patches.seed + n), labels, n, 2)
        return torch.cat([shown, other]), wanted, number


class Contrasted(nn.Module):
    """A U-Net for the first of two views, and a projection of the features of both.

    Args:
        network: for one image; its ``encoder`` gives features per level, fine to coarse.
        width: channels of the coarsest level.
    """

    def __init__(self, network: nn.Module, width: int):
        super().__init__()
        self.network = network
        self.projection = nn.Conv3d(width, _FEATURES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.network(x[:, :1])
        return y

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Those of the U-Net for the first view."""
        found: list[torch.Tensor] = self.network.levels(x[:, :1])  # type: ignore[operator]
        return found

    def loss(self, images: torch.Tensor, logits: Any, labels: Any, cases: Sequence[int]) -> torch.Tensor:
        """A tenth of the contrastive loss; see :attr:`~.loop.Training.also`."""
        from monai.losses import ContrastiveLoss

        one, other = (self._projected(view) for view in images.split(1, 1))
        value: torch.Tensor = _WEIGHT * ContrastiveLoss(_TEMPERATURE)(one, other)
        return value

    def _projected(self, view: torch.Tensor) -> torch.Tensor:
        coarsest = self.network.encoder(view)[-1]  # type: ignore[operator]
        y: torch.Tensor = self.projection(coarsest).flatten(1)
        return y
