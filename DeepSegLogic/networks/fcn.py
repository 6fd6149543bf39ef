"""A fully convolutional network in 3D, with the skips of FCN-8s.

Source: Long et al., Fully convolutional networks for semantic segmentation, CVPR 2015, arXiv:1411.4038. As there,
scores of the three coarsest levels are added after interpolation; instance norm replaces its pre-trained weights, and
the levels lie one step finer, for patches are smaller than photographs.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from .unet import ConvStack

_CUBE, _ONE = (3, 3, 3), (1, 1, 1)


class FCN(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X); edges are multiples of 16.

    Args:
        classes: output channels.
        width: channels at the finest stage.
        inputs: channels of the image.
    """

    def __init__(self, classes: int, width: int, inputs: int = 1):
        super().__init__()
        channels = [width * factor for factor in (1, 2, 4, 8, 8)]
        self.stages = nn.ModuleList(
            ConvStack(2, before, after, _CUBE, _ONE, False, 1e-5)
            for before, after in zip([inputs, *channels], channels, strict=False)
        )
        self.pool = nn.MaxPool3d(2)
        self.scores = nn.ModuleList(nn.Conv3d(c, classes, 1) for c in channels[2:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, levels = x.shape[2:], list[torch.Tensor]()
        for number, stage in enumerate(self.stages):
            x = stage(self.pool(x) if number else x)
            levels.append(x)
        y: torch.Tensor | None = None
        for score, level in zip(reversed(self.scores), reversed(levels[2:]), strict=True):
            own = score(level)
            y = own if y is None else own + interpolate(y, own.shape[2:], mode="trilinear")
        assert y is not None
        return interpolate(y, size, mode="trilinear")
