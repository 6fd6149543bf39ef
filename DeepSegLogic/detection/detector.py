"""Detectors: what they offer, and the table of their kinds. A new kind is a file and a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias

import torch
from torch import nn

from ..data.types import Shape
from ..models import ModelCard
from ..models.plan import Plan
from ..util.errors import ModelError

_TABLE = {"monai": "retinanet", "torchscript": "grid"}  # backend of the model, and the file that loads it

WindowBoxes: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Boxes (N, 6) as first and last corner, scores (N,), and label values (N,) from 1. Corners are voxel indices of the
window along its own axes; a voxel's centre is at whole numbers."""


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
    if not card.finds_boxes or card.backend not in _TABLE:
        raise ModelError(
            f"The model {card.id} finds no boxes.",
            "Choose a model for detection.",
            code="model.no_detection",
            action="choose_model",
        )
    loaded: Detector = import_module(f".{_TABLE[card.backend]}", __package__).load(card)
    return loaded
