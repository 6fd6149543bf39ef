"""A two-stage detector in 3D that also outlines what it finds, in the manner of Mask R-CNN.

The first stage is the grid detector, whose boxes are the proposals. Of each, RoIAlign gives features of fixed size to
two small heads: one says what it is and refines the box, the other draws its mask (He et al., Mask R-CNN, ICCV 2017).
As the proposals have scores of their own, both stages' scores count (Zhou et al., Probabilistic two-stage detection,
arXiv:2103.07461).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from .grid_detector import STRIDE, GridDetector, boxes_of
from .roi_align import roi_align

MASK = 16
"""Voxels along each edge of a mask."""

_SEEN = 6  # bins along each edge of what the first head sees
_AROUND = 1.25  # what the heads see, relative to the box: its edges have to be inside
_WIDTH = 16  # channels of the heads
_LARGEST = 2.0  # logarithm of the factor by which a box may grow


class Instances(NamedTuple):
    """What was found in one image, best first.

    Attributes:
        boxes: (N, 6) first and last corner as voxel indices (Z, Y, X).
        scores, classes: (N,); classes count from 0.
        masks: (N, MASK, MASK, MASK) probabilities, in ``mask_boxes``.
        mask_boxes: (N, 6).
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    masks: torch.Tensor
    mask_boxes: torch.Tensor


class MaskDetector(nn.Module):
    """Image (N, inputs, Z, Y, X) float to the grid's output and its features, both at half the resolution.

    Args:
        classes, features, inputs: see :class:`~.grid_detector.GridDetector`.
    """

    def __init__(self, classes: int, features: Sequence[int] = (16, 32, 64), inputs: int = 1):
        super().__init__()
        self.classes = classes
        self.grid = GridDetector(classes, features, inputs)
        self.divisor = self.grid.divisor
        seen = features[0] + inputs
        self.judging = nn.Sequential(
            *(nn.Conv3d(seen, 2 * _WIDTH, 3), nn.LeakyReLU(), nn.Conv3d(2 * _WIDTH, 2 * _WIDTH, 3), nn.LeakyReLU()),
            *(nn.Flatten(), nn.Linear(2 * _WIDTH * (_SEEN - 4) ** 3, 4 * _WIDTH), nn.LeakyReLU()),
            nn.Linear(4 * _WIDTH, classes + 6),
        )
        self.coarse = nn.Sequential(
            *(nn.Conv3d(features[0], _WIDTH, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(_WIDTH, _WIDTH, 3, padding=1)),
            *(nn.LeakyReLU(), nn.Upsample(scale_factor=2.0, mode="trilinear")),
        )
        self.fine = nn.Sequential(
            *(nn.Conv3d(_WIDTH + inputs, _WIDTH, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(_WIDTH, classes, 1))
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.grid.features(x)
        return self.grid.head(features), features

    def judge(self, image: torch.Tensor, features: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What boxes (N, 6) in one image hold: logits (N, classes), and how to refine them (N, 6), see :func:`refined`.

        Args:
            image, features: (channels, Z, Y, X), of one image.
        """
        around = enlarged(boxes)
        seen = [roi_align(features, _in_cells(around), _SEEN), roi_align(image, around, _SEEN)]
        logits, change = self.judging(torch.cat(seen, 1)).split([self.classes, 6], 1)
        return logits, change

    def outline(self, image: torch.Tensor, features: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
        """The logits (N, classes, MASK, MASK, MASK) of the masks in boxes (N, 6) that are :func:`enlarged`."""
        coarse = self.coarse(roi_align(features, _in_cells(around), MASK // 2))
        masks: torch.Tensor = self.fine(torch.cat([coarse, roi_align(image, around, MASK, samples=1)], 1))
        return masks

    def instances(self, image: torch.Tensor, min_score: float, most: int) -> Instances:
        """What is found in one image (inputs, Z, Y, X).

        Args:
            min_score: of both stages together: the root of their scores' product, 0 to 1.
            most: proposals at most.
        """
        output, features = (y[0] for y in self(image[None]))
        boxes, proposed, _ = boxes_of(output, self.classes, min_score**2, most)
        logits, change = self.judge(image, features, boxes)
        judged, classes = logits.float().sigmoid().max(1)
        scores = (proposed * judged).sqrt()
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] >= min_score]
        boxes, classes = refined(boxes, change.float())[order], classes[order]
        around = enlarged(boxes)
        masks = self.outline(image, features, around).float().sigmoid()
        return Instances(boxes, scores[order], classes, masks[torch.arange(len(order)), classes], around)


def enlarged(boxes: torch.Tensor) -> torch.Tensor:
    """What the heads see of boxes (N, 6), and what masks lie in."""
    center, size = (boxes[:, :3] + boxes[:, 3:]) / 2, (boxes[:, 3:] - boxes[:, :3]) * _AROUND
    return torch.cat([center - size / 2, center + size / 2], 1)


def refined(boxes: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Boxes (N, 6), moved by the first three of ``change`` (N, 6), in box sizes, and grown by e to the others."""
    center, size = (boxes[:, :3] + boxes[:, 3:]) / 2, boxes[:, 3:] - boxes[:, :3]
    center, size = center + change[:, :3] * size, size * change[:, 3:].clamp(max=_LARGEST).exp()
    return torch.cat([center - size / 2, center + size / 2], 1)


def change_to(boxes: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The change (N, 6) that makes ``wanted`` (N, 6) of boxes: the inverse of :func:`refined`."""
    center, size = (boxes[:, :3] + boxes[:, 3:]) / 2, boxes[:, 3:] - boxes[:, :3]
    there, large = (wanted[:, :3] + wanted[:, 3:]) / 2, wanted[:, 3:] - wanted[:, :3]
    return torch.cat([(there - center) / size, (large / size).log()], 1)


def _in_cells(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes as voxel indices, as indices of the grid's cells."""
    return (boxes - (STRIDE - 1) / 2) / STRIDE
