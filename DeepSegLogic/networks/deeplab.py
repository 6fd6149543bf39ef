"""DeepLab v3+ in 3D: atrous convolutions instead of further strides, and a pyramid of them (ASPP).

Source: Chen et al., Encoder-decoder with atrous separable convolution, ECCV 2018, arXiv:1802.02611. The encoder is
residual, with an output stride of 8; its last stage is dilated. Convolutions are full ones, and rates are halved, as
patches are smaller than photographs.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from .unet import ConvBlock, ResidualStack

_CUBE, _ONE, _TWO = (3, 3, 3), (1, 1, 1), (2, 2, 2)
_RATES = (3, 6, 9)


class AtrousPyramid(nn.Module):
    """ASPP: convolutions of several rates and the mean of all voxels, side by side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.point = nn.Conv3d(inputs, outputs, 1)
        self.atrous = nn.ModuleList(nn.Conv3d(inputs, outputs, 3, padding=r, dilation=r) for r in _RATES)
        self.mean = nn.Conv3d(inputs, outputs, 1)
        self.joined = ConvBlock(outputs * (len(_RATES) + 2), outputs, _ONE, _ONE, False, 1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.mean(x.mean((2, 3, 4), keepdim=True)).expand(-1, -1, *x.shape[2:])
        y: torch.Tensor = self.joined(torch.cat([self.point(x), *(conv(x) for conv in self.atrous), mean], 1))
        return y


class DeepLab(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X); edges are multiples of 8.

    Args:
        classes: output channels.
        width: channels at the finest stage.
        inputs: channels of the image.
    """

    def __init__(self, classes: int, width: int, inputs: int = 1):
        super().__init__()
        self.stem = ConvBlock(inputs, width, _CUBE, _ONE, False, 1e-5)
        self.low = ResidualStack(1, width, 2 * width, _CUBE, _TWO, False, 1e-5)
        self.middle = ResidualStack(2, 2 * width, 4 * width, _CUBE, _TWO, False, 1e-5)
        self.high = ResidualStack(2, 4 * width, 8 * width, _CUBE, _TWO, False, 1e-5)
        self.dilated = ResidualStack(2, 8 * width, 8 * width, _CUBE, _ONE, False, 1e-5)
        for module in self.dilated.modules():
            if isinstance(module, nn.Conv3d) and module.kernel_size == _CUBE:
                module.dilation = module.padding = _TWO
        self.pyramid = AtrousPyramid(8 * width, 4 * width)
        self.skip = ConvBlock(2 * width, width, _ONE, _ONE, False, 1e-5)
        self.decoder = ConvBlock(5 * width, 4 * width, _CUBE, _ONE, False, 1e-5)
        self.head = nn.Conv3d(4 * width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = self.low(self.stem(x))
        y = self.pyramid(self.dilated(self.high(self.middle(low))))
        y = interpolate(y, low.shape[2:], mode="trilinear")
        y = self.head(self.decoder(torch.cat((y, self.skip(low)), 1)))
        return interpolate(y, x.shape[2:], mode="trilinear")
