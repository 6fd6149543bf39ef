"""Training of the mask detector: both stages together.

To the grid's loss come those of the heads, as in Mask R-CNN: cross entropy of what a region holds, smooth L1 of how its
box is refined, and cross entropy of its mask; the last two for regions that overlap a lesion. The regions are the
grid's own proposals, the true boxes, and true boxes that were moved at random, so that the heads learn from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ..networks.grid_detector import GridDetector, boxes_of
from ..networks.mask_detector import MASK, MaskDetector, change_to, enlarged
from ..networks.roi_align import roi_align
from .grid_training import Drawn, Recipe, Scan, grid_loss, train

_PROPOSALS = 16  # of the grid in a patch, at most
_LEAST_SCORE = 0.02  # of these
_MOVED = 2  # copies of each true box
_MOVE, _GROW = 0.15, 0.2  # standard deviation of the move, in box sizes, and of the logarithm of the growth
_HIT = 0.35  # intersection over union from which on a region is one of the lesion
_OUTLINED = 6  # regions in a patch of which the masks are compared, at most


def train_mask_detector(
    scans: Sequence[Scan],
    recipe: Recipe,
    share_done: Callable[[int], float],
    told: Callable[[int, float], None] = lambda step, loss: None,
    grid: GridDetector | None = None,
) -> MaskDetector:
    """Train a mask detector; see :func:`~.grid_training.train`.

    Args:
        grid: a trained one to begin with, of the recipe's features; None: it begins untrained, too.
    """
    torch.manual_seed(recipe.seed)
    network = MaskDetector(1, recipe.features)
    if grid is not None:
        network.grid.load_state_dict(grid.state_dict())

    def loss(drawn: Sequence[Drawn]) -> torch.Tensor:
        output, features = network(torch.stack([one.image for one in drawn]))
        heads = [heads_loss(network, *parts) for parts in zip(drawn, output.detach(), features, strict=True)]
        return grid_loss(output, [one.boxes for one in drawn]) + torch.stack(heads).mean()

    return train(network, loss, scans, recipe, share_done, told)


def heads_loss(network: MaskDetector, drawn: Drawn, output: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """The loss of both heads on one patch.

    Args:
        output, features: of the grid, (channels, Z / 2, Y / 2, X / 2).
    """
    regions = torch.cat([boxes_of(output, 1, _LEAST_SCORE, _PROPOSALS)[0], drawn.boxes, moved(drawn.boxes)])
    if not len(regions):
        return features.new_zeros(())
    logits, change = network.judge(drawn.image, features, regions)
    overlap, nearest = _overlaps(regions, drawn.boxes)
    hit = overlap >= _HIT
    loss = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], hit.float())
    if not hit.any():
        return loss
    wanted = change_to(regions[hit], drawn.boxes[nearest[hit]])
    some = hit.nonzero()[:, 0][torch.randperm(int(hit.sum()))[:_OUTLINED]]
    around = enlarged(regions[some])
    masks = network.outline(drawn.image, features, around)[:, 0]
    true = true_masks(drawn.instances, nearest[some], around)
    return (
        loss
        + 2 * nn.functional.smooth_l1_loss(change[hit], wanted, beta=0.1)
        + nn.functional.binary_cross_entropy_with_logits(masks, true)
    )


def true_masks(instances: torch.Tensor, numbers: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """What the masks (N, MASK, MASK, MASK) in boxes (N, 6) should be: the share of each voxel in the lesion.

    Args:
        instances: labels of the lesions, from 1, (Z, Y, X).
        numbers: (N,): which one is meant, from 0.
    """
    present, place = numbers.unique(return_inverse=True)
    apart = (instances[None] == present[:, None, None, None] + 1).float()
    return roi_align(apart, boxes, MASK)[torch.arange(len(boxes)), place]


def moved(boxes: torch.Tensor) -> torch.Tensor:
    """Copies of boxes (N, 6), each moved and grown at random."""
    copies = boxes.repeat(_MOVED, 1)
    center, size = (copies[:, :3] + copies[:, 3:]) / 2, copies[:, 3:] - copies[:, :3]
    center = center + _MOVE * size * torch.randn_like(center)
    size = size * (_GROW * torch.randn_like(size)).exp()
    return torch.cat([center - size / 2, center + size / 2], 1)


def _overlaps(regions: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest intersection over union of each region (N, 6) with a box, and that box's place; 0 without any."""
    from monai.data.box_utils import box_iou

    if not len(boxes):
        return regions.new_zeros(len(regions)), torch.zeros(len(regions), dtype=torch.long)
    best = torch.as_tensor(box_iou(regions, boxes)).max(1)
    return best.values, best.indices
