"""TransUNet in 3D: a U-Net whose bottleneck is a transformer.

Source: Chen et al., TransUNet, Medical Image Analysis 2024, doi:10.1016/j.media.2024.103280. The position embedding is
interpolated, so that patches of any size can be used.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from .unet import ConvStack

_CUBE, _ONE, _TWO = (3, 3, 3), (1, 1, 1), (2, 2, 2)
_GRID = (6, 6, 6)  # of learnt positions


class TransUNet(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X); edges are multiples of 16.

    Args:
        classes: output channels.
        width: channels at the finest stage; the transformer has sixteen times as many.
        inputs: channels of the image.
        depth: layers of the transformer.
    """

    def __init__(self, classes: int, width: int, depth: int = 4, inputs: int = 1):
        super().__init__()
        channels = [width * factor for factor in (1, 2, 4, 8, 16)]
        self.encoder = nn.ModuleList(
            ConvStack(2, before, after, _CUBE, _ONE if number == 0 else _TWO, False, 1e-5)
            for number, (before, after) in enumerate(zip([inputs, *channels], channels, strict=False))
        )
        self.positions = nn.Parameter(torch.randn(1, channels[-1], *_GRID) * 0.02)
        layer = nn.TransformerEncoderLayer(
            channels[-1], 8, 4 * channels[-1], dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for before, after in zip(channels[:0:-1], channels[-2::-1], strict=True):
            self.up.append(nn.ConvTranspose3d(before, after, 2, 2))
            self.decoder.append(ConvStack(2, 2 * after, after, _CUBE, _ONE, False, 1e-5))
        self.head = nn.Conv3d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        x = skips.pop()
        tokens = (x + interpolate(self.positions, x.shape[2:], mode="trilinear")).flatten(2).transpose(1, 2)
        x = self.transformer(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat((up(x), skips.pop()), 1))
        y: torch.Tensor = self.head(x)
        return y
