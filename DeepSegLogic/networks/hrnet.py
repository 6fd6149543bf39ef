"""HRNet in 3D: resolutions in parallel from end to end, which exchange their features again and again.

Source: Wang et al., Deep high-resolution representation learning, IEEE TPAMI 2021, doi:10.1109/TPAMI.2020.2983686
(HRNetV2: the head sees all resolutions). Three resolutions, of strides 2, 4 and 8, and instance norm.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import interpolate

from .unet import ConvBlock, ResidualStack

_CUBE, _ONE, _TWO = (3, 3, 3), (1, 1, 1), (2, 2, 2)


class Exchange(nn.Module):
    """Each resolution becomes the sum of all: finer ones by strided convolutions, coarser ones by interpolation."""

    def __init__(self, channels: list[int]):
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(self._path(channels, source, target) for source in range(len(channels)))
            for target in range(len(channels))
        )

    @staticmethod
    def _path(channels: list[int], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            return ConvBlock(channels[source], channels[target], _ONE, _ONE, False, 1e-5, activate=False)
        steps = range(source, target)
        return nn.Sequential(
            *(ConvBlock(channels[n], channels[n + 1], _CUBE, _TWO, False, 1e-5, activate=n + 1 < target) for n in steps)
        )

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        found = []
        for own, paths in zip(levels, self.paths, strict=True):
            assert isinstance(paths, nn.ModuleList)
            parts = [path(level) for path, level in zip(paths, levels, strict=True)]
            parts = [p if p.shape == own.shape else interpolate(p, own.shape[2:], mode="trilinear") for p in parts]
            found.append(torch.relu(torch.stack(parts).sum(0)))
        return found


class HRNet(nn.Module):
    """(N, inputs, Z, Y, X) float to logits (N, classes, Z, Y, X); edges are multiples of 8.

    Args:
        classes: output channels.
        width: channels at the finest resolution.
        inputs: channels of the image.
    """

    def __init__(self, classes: int, width: int, inputs: int = 1):
        super().__init__()
        channels = [width, 2 * width, 4 * width]
        self.stem = ConvBlock(inputs, width, _CUBE, _TWO, False, 1e-5)
        self.branches, self.exchanges, self.lower = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for count in (1, 2, 3):
            used = channels[:count]
            self.branches.append(nn.ModuleList(ResidualStack(2, c, c, _CUBE, _ONE, False, 1e-5) for c in used))
            self.exchanges.append(Exchange(used))
            if count < 3:
                self.lower.append(ConvBlock(used[-1], channels[count], _CUBE, _TWO, False, 1e-5))
        self.joined = ConvBlock(sum(channels), 2 * width, _ONE, _ONE, False, 1e-5)
        self.head = nn.Conv3d(2 * width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.stem(x)]
        for number, (branches, exchange) in enumerate(zip(self.branches, self.exchanges, strict=True)):
            assert isinstance(branches, nn.ModuleList)
            levels = exchange([branch(level) for branch, level in zip(branches, levels, strict=True)])
            if number < len(self.lower):
                levels.append(self.lower[number](levels[-1]))
        size = levels[0].shape[2:]
        y = torch.cat([levels[0], *(interpolate(level, size, mode="trilinear") for level in levels[1:])], 1)
        return interpolate(self.head(self.joined(y)), x.shape[2:], mode="trilinear")
