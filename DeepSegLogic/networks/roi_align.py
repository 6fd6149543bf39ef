"""RoIAlign in 3D: the features in a box, on a grid of fixed size (He et al., Mask R-CNN, ICCV 2017, section 3)."""

from __future__ import annotations

import torch
from torch import nn


def roi_align(features: torch.Tensor, boxes: torch.Tensor, size: int, samples: int = 2) -> torch.Tensor:
    """The features of one image in each of some boxes.

    A box is divided into ``size`` bins along each axis. A bin is the mean of ``samples`` points along each axis, spread
    evenly in it, at which the features are interpolated linearly; outside of the image they go on as at its edge. For
    boxes in the image this is torchvision's ``roi_align(aligned=True)`` with one more axis.

    Args:
        features: (C, Z, Y, X) float.
        boxes: (N, 6) first and last corner in cells along (Z, Y, X); a cell's centre is at whole numbers.

    Returns:
        (N, C, size, size, size) float32.

    Example:
        >>> import torch
        >>> from DeepSegLogic.networks.roi_align import roi_align
        >>> ramp = torch.arange(8.0).expand(1, 8, 8, 8)  # along X
        >>> roi_align(ramp, torch.tensor([[1.0, 1, 1, 5, 5, 5]]), 2)[0, 0, 0, 0]
        tensor([2., 4.])
    """
    features, boxes = features.float(), boxes.float()
    n, count = len(boxes), size * samples
    last = torch.tensor([max(1, edge - 1) for edge in features.shape[1:]], device=features.device)[:, None]
    steps = (torch.arange(count, device=features.device) + 0.5) / count
    places = boxes[:, :3, None] + steps * (boxes[:, 3:] - boxes[:, :3])[..., None]  # (N, 3, count)
    z, y, x = (places / last * 2 - 1).unbind(1)  # as grid_sample counts
    z, y, x = z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]
    points = torch.stack(torch.broadcast_tensors(x, y, z), -1).flatten(0, 1)[None]
    values = nn.functional.grid_sample(features[None], points, padding_mode="border", align_corners=True)
    return nn.functional.avg_pool3d(values[0].unflatten(1, (n, count)).transpose(0, 1), samples)
