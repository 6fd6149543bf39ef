"""One box for each lesion, from the boxes of several windows that overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .detector import WindowBoxes

OVERLAP = 0.22
"""Intersection over union above which two boxes are one finding, as MONAI's bundle has it."""


def joined(found: Sequence[WindowBoxes]) -> WindowBoxes:
    """The boxes of several windows in one list."""
    masks = [one.masks for one in found if one.masks is not None]
    mask_boxes = [one.mask_boxes for one in found if one.mask_boxes is not None]
    return WindowBoxes(
        torch.cat([one.boxes for one in found]),
        torch.cat([one.scores for one in found]),
        torch.cat([one.kinds for one in found]),
        torch.cat(masks) if masks else None,
        torch.cat(mask_boxes) if mask_boxes else None,
    )


def suppressed(found: WindowBoxes) -> WindowBoxes:
    from monai.data.box_utils import batched_nms

    return found.at(torch.as_tensor(batched_nms(found.boxes, found.scores, found.kinds, OVERLAP)))


def fused(found: WindowBoxes, overlap: float = OVERLAP) -> WindowBoxes:
    """Weighted box fusion: boxes of one kind that overlap are one, their mean, weighted by their scores.

    In the order of their scores, each box joins the fused box that it overlaps most, if that is by more than
    ``overlap`` (intersection over union), and moves it; else it starts a new one. A fused box has the highest score of
    its boxes, and the mask of that one. Source: Solovyev et al., Weighted boxes fusion, Image Vis. Comput. 107 (2021)
    104117, with confidence "max".

    Returns:
        best first.
    """
    from monai.data.box_utils import box_iou

    found = found.at(found.scores.argsort(descending=True, stable=True))
    sums, weights, first = found.boxes.new_zeros((0, 6)), found.scores.new_zeros(0), []
    kinds = found.kinds.new_zeros(0)
    for place, (box, score, kind) in enumerate(zip(found.boxes, found.scores, found.kinds, strict=True)):
        ious = torch.as_tensor(box_iou(sums / weights[:, None], box[None]))[:, 0].where(kinds == kind, 0.0)
        if len(ious) and float(ious.max()) > overlap:
            at = int(ious.argmax())
            sums[at] += score * box
            weights[at] += score
        else:
            first.append(place)
            sums, weights = torch.cat([sums, score * box[None]]), torch.cat([weights, score[None]])
            kinds = torch.cat([kinds, kind[None]])
    return found.at(torch.tensor(first, dtype=torch.long))._replace(boxes=sums / weights[:, None])
