"""SegNet in 3D: the decoder puts features back where max pooling took them from.

Source: Badrinarayanan et al., SegNet, IEEE TPAMI 2017, doi:10.1109/TPAMI.2016.2644615. Instance norm replaces its batch
norm, as batches are small.
"""

from __future__ import annotations

import torch
from torch import nn

from .unet import ConvStack

_CUBE, _ONE = (3, 3, 3), (1, 1, 1)


class SegNet(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X); edges are multiples of 16.

    Args:
        classes: output channels.
        width: channels at the finest stage.
        inputs: channels of the image.
    """

    def __init__(self, classes: int, width: int, inputs: int = 1):
        super().__init__()
        channels = [width * factor for factor in (1, 2, 4, 8)]
        below = [width, *channels[:-1]]
        self.encoder = nn.ModuleList(
            ConvStack(2, before, after, _CUBE, _ONE, False, 1e-5)
            for before, after in zip([inputs, *channels], channels, strict=False)
        )
        self.decoder = nn.ModuleList(
            ConvStack(2, before, after, _CUBE, _ONE, False, 1e-5)
            for before, after in zip(channels[::-1], below[::-1], strict=True)
        )
        self.pool, self.unpool = nn.MaxPool3d(2, return_indices=True), nn.MaxUnpool3d(2)
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = []
        for stage in self.encoder:
            x, indices = self.pool(stage(x))
            places.append(indices)
        for stage in self.decoder:
            x = stage(self.unpool(x, places.pop()))
        y: torch.Tensor = self.head(x)
        return y
