"""A one-stage, anchor-free detector in 3D: each cell of a grid says whether a lesion is centred there, and how large.

The heat map and the size at its peaks follow CenterNet (Zhou et al., Objects as Points, arXiv:1904.07850), the grid of
cells YOLO (Redmon et al., CVPR 2016) and the features from several scales an FPN (Lin et al., CVPR 2017). Batch norm
keeps a cell's answer the same in windows of any size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

STRIDE = 2
"""Voxels between two cells, along each axis."""

_PRIOR = -4.0  # logit of an untrained cell: lesions are rare


class GridDetector(nn.Module):
    """(N, inputs, Z, Y, X) float to (N, classes + 6, Z / 2, Y / 2, X / 2); edges are multiples of :attr:`divisor`.

    Per cell: the logit of each class; the centre's offset from the cell's own centre, in cells; the logarithm of the
    box's edges, in cells. Both along (Z, Y, X).

    Args:
        classes: kinds of lesions.
        features: channels per scale, finest first.
        inputs: channels of the image.
    """

    def __init__(self, classes: int, features: Sequence[int] = (16, 32, 64), inputs: int = 1):
        super().__init__()
        self.classes = classes
        self.divisor: int = STRIDE * 2 ** (len(features) - 1)
        steps = zip([inputs, *features], features, strict=False)
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, 2), _block(b, b)) for a, b in steps)
        self.across = nn.ModuleList(nn.Conv3d(width, features[0], 1) for width in features)
        self.joined = nn.Sequential(_block(features[0], features[0]), _block(features[0], features[0]))
        self.head = nn.Conv3d(features[0], classes + 6, 1)
        nn.init.constant_(self.head.bias[:classes], _PRIOR)  # type: ignore[index]
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.features(x))
        return y

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, features[0], Z / 2, Y / 2, X / 2): what the cells' answers are made from."""
        scales = []
        for step in self.down:
            x = step(x)
            scales.append(x)
        joined = self.across[-1](scales[-1])
        for scale, across in zip(scales[-2::-1], list(self.across)[-2::-1], strict=True):
            joined = nn.functional.interpolate(joined, scale_factor=2.0, mode="nearest") + across(scale)
        y: torch.Tensor = self.joined(joined)
        return y


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs), nn.LeakyReLU(inplace=True)
    )


def cell_centers(shape: Sequence[int], device: torch.device | None = None) -> torch.Tensor:
    """Centres (3, Z, Y, X) of a grid of cells of this shape, as voxel indices along (Z, Y, X)."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) * STRIDE + (STRIDE - 1) / 2 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def boxes_of(output: torch.Tensor, classes: int, min_score: float, most: int) -> tuple[torch.Tensor, ...]:
    """The peaks of one window's output (classes + 6, Z, Y, X) as boxes, best first.

    Args:
        min_score: of a peak, 0 to 1.
        most: boxes at most.

    Returns:
        boxes (N, 6), first corner and last corner as voxel indices (Z, Y, X); scores (N,); classes (N,) from 0.
    """
    heat = output[:classes].float().sigmoid()
    peaks = (nn.functional.max_pool3d(heat[None], 3, 1, 1)[0] == heat) & (heat >= min_score)
    kind, *cell = torch.nonzero(peaks, as_tuple=True)
    scores = heat[peaks]
    order = scores.argsort(descending=True, stable=True)[:most]
    z, y, x = (axis[order] for axis in cell)
    offset, size = output[classes:].float()[:, z, y, x].split(3)
    center = cell_centers(output.shape[1:], output.device)[:, z, y, x] + STRIDE * offset
    half = STRIDE * size.clamp(max=6).exp() / 2
    return torch.cat([center - half, center + half]).T, scores[order], kind[order]
