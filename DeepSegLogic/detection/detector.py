"""Detectors: what they offer, and the table of their kinds. A new kind is a file and a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

import torch
from torch import nn

from ..data.types import Shape
from ..models import ModelCard
from ..models.plan import Plan
from ..util.errors import ModelError

_TABLE = {"monai": "retinanet", "torchscript": "grid"}  # backend of the model, and the file that loads it


class WindowBoxes(NamedTuple):
    """What was found in a window, or in several. Corners are voxel indices along the network's axes (Z, Y, X); a
    voxel's centre is at whole numbers.

    Attributes:
        boxes: (N, 6), first and last corner.
        scores: (N,).
        kinds: (N,) label values, from 1.
        masks: (N, M, M, M) probabilities in ``mask_boxes`` (N, 6); both None if the network draws none.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    kinds: torch.Tensor
    masks: torch.Tensor | None = None
    mask_boxes: torch.Tensor | None = None

    def at(self, places: torch.Tensor) -> WindowBoxes:
        """Those at these places, or where a bool is True."""
        return self.each(lambda part: part[places])

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> WindowBoxes:
        """With each tensor changed alike."""
        masks, mask_boxes = (part if part is None else change(part) for part in self[3:])
        return WindowBoxes(change(self.boxes), change(self.scores), change(self.kinds), masks, mask_boxes)

    def moved(self, offset: Sequence[int]) -> WindowBoxes:
        """With other indices: a window's, which starts at ``offset``, as the image's."""
        step = torch.tensor([*offset, *offset], device=self.boxes.device)
        boxes = None if self.mask_boxes is None else self.mask_boxes + step
        return self._replace(boxes=self.boxes + step, mask_boxes=boxes)


@dataclass
class Detector:
    """A loaded detector.

    Attributes:
        card: of its model.
        plan: what the network expects; its labels are the kinds of lesions.
        network: runs on the device that it was moved to.
        divisor: edges of a window must be multiples of it, per axis.
        find: from a window (1, 1, Z, Y, X) on the network's device to boxes with at least a score.
    """

    card: ModelCard
    plan: Plan
    network: nn.Module
    divisor: Shape
    find: Callable[[torch.Tensor, float], WindowBoxes]


def load_detector(card: ModelCard) -> Detector:
    """Load a model that finds boxes, on the CPU.

    Raises:
        ModelError: it segments instead, or it is not installed, broken or not trusted.
    """
    must_find_boxes(card)
    loaded: Detector = import_module(f".{_TABLE[card.backend]}", __package__).load(card)
    return loaded


def must_find_boxes(card: ModelCard) -> None:
    """Raise :class:`ModelError` for a model that segments instead."""
    if not card.finds_boxes or card.backend not in _TABLE:
        raise ModelError(
            f"The model {card.id} finds no boxes.",
            "Choose a model for detection.",
            code="model.no_detection",
            action="choose_model",
        )
