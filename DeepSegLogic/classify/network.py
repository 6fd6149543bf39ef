"""The small network that looks at a coarse copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .names import MODALITIES, REGIONS

_SLOPE = 0.05  # of the rectifiers, below 0


@dataclass(frozen=True)
class Logits:
    """What the network says of one volume.

    Attributes:
        regions: (slices, 6), of :data:`REGIONS`.
        modality: (3,), of :data:`MODALITIES`.
    """

    regions: torch.Tensor
    modality: torch.Tensor


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
            z, y, x = kernel
            layers += [nn.Conv3d(before, after, kernel, (1, 2, 2), (z // 2, y // 2, x // 2))]
            layers += [nn.GroupNorm(4, after)] if layers[:-1] else []  # the first one keeps HU as they are
            layers += [nn.LeakyReLU(_SLOPE)]
            before = after
        self.look = nn.Sequential(*layers)
        self.slice = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(4 * width * 49, features), nn.LayerNorm(features), nn.LeakyReLU(_SLOPE)
        )
        self.along = nn.ModuleList([nn.Conv1d(features, features, 5, padding=2 * d, dilation=d) for d in (1, 2)])
        self.heads = nn.Linear(features, len(REGIONS) + len(MODALITIES))
        for layer in (*self.look, *self.slice):
            if isinstance(layer, nn.Conv3d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, _SLOPE)

    def forward(self, hu: torch.Tensor) -> Logits:
        """The logits of a coarse copy.

        Args:
            hu: (slices, 56, 56) float32, see :class:`~DeepSegLogic.classify.coarse.Coarse`.
        """
        soft, all_ = (hu.clamp(-150, 250) - 50) / 150, hu.clamp(-1000, 1500) / 500
        x = self.look(torch.stack([soft, all_])[None])[0]  # (channels, slices, 7, 7)
        x = self.slice(x.permute(1, 0, 2, 3).flatten(1)).T[None]
        for convolution in self.along:
            x = x + nn.functional.leaky_relu(convolution(x), _SLOPE)
        regions, modality = self.heads(x[0].T).split([len(REGIONS), len(MODALITIES)], 1)
        return Logits(regions, modality.mean(0))
