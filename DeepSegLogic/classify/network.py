"""The small network that looks at a coarse copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .names import FLIPS, MODALITIES, PHASES, REGIONS


@dataclass(frozen=True)
class Logits:
    """What the network says of one volume.

    Attributes:
        regions: (slices, 6), of :data:`REGIONS`.
        phase, modality: (3,), of :data:`PHASES` and :data:`MODALITIES`.
        flips: (3,), one for each of :data:`FLIPS`, for a sigmoid.
    """

    regions: torch.Tensor
    phase: torch.Tensor
    modality: torch.Tensor
    flips: torch.Tensor


class ScanNetwork(nn.Module):
    """3D convolutions that keep the slices, a few numbers per slice, convolutions along the slices.

    Args:
        width: channels of the first convolution.
        features: numbers per slice.
    """

    def __init__(self, width: int = 8, features: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2
        for after, kernel in ((width, (1, 5, 5)), (2 * width, (3, 3, 3)), (4 * width, (3, 3, 3))):
            padding = tuple(k // 2 for k in kernel)
            layers += [nn.Conv3d(before, after, kernel, (1, 2, 2), padding), nn.LeakyReLU(0.05)]
            before = after
        self.look = nn.Sequential(*layers)
        self.slice = nn.Sequential(nn.Dropout(0.3), nn.Linear(4 * width * 49, features), nn.LeakyReLU(0.05))
        self.along = nn.ModuleList([nn.Conv1d(features, features, 5, padding=2 * d, dilation=d) for d in (1, 2)])
        counts = (len(REGIONS), len(PHASES), len(MODALITIES), len(FLIPS), 3)  # the last: weights of the slices
        self.counts = list(counts)
        self.heads = nn.Linear(features, sum(counts))

    def forward(self, hu: torch.Tensor) -> Logits:
        """The logits of a coarse copy.

        Args:
            hu: (slices, 56, 56) float32, see :class:`~DeepSegLogic.classify.coarse.Coarse`.
        """
        soft, all_ = (hu.clamp(-150, 250) - 50) / 150, hu.clamp(-1000, 1500) / 500
        x = self.look(torch.stack([soft, all_])[None])[0]  # (channels, slices, 7, 7)
        x = self.slice(x.permute(1, 0, 2, 3).flatten(1)).T[None]
        for convolution in self.along:
            x = x + nn.functional.leaky_relu(convolution(x), 0.05)
        regions, phase, modality, flips, weights = self.heads(x[0].T).split(self.counts, 1)
        of_phase, of_modality, of_flips = weights.sigmoid().split(1, 1)
        return Logits(regions, _weighted(phase, of_phase), _weighted(modality, of_modality), _weighted(flips, of_flips))


def _weighted(logits: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean over the slices, drawn to 0 where few of them have a weight."""
    mean: torch.Tensor = (logits * weights).sum(0) / (weights.sum() + 1)
    return mean
