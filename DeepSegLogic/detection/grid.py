"""Our own detector as a model: a ``state_dict`` and a card, see :mod:`DeepSegLogic.models.backends.torchscript`.

Its card has ``"task": "detection"`` and the architecture ``{"name": "GridDetector", "arguments": {"features": […]}}``.
"""

from __future__ import annotations

from typing import Any

import torch

from ..models import ModelCard
from ..models.backends.torchscript import network_plan
from ..models.weights import read_checkpoint
from ..networks.grid_detector import GridDetector, boxes_of
from ..util.errors import ModelError
from .detector import Detector, WindowBoxes

NAME = "GridDetector"
_MOST = 1000  # boxes in a window
_SCALES, _CHANNELS = range(1, 7), range(1, 1025)


def load(card: ModelCard) -> Detector:
    """Load a grid detector, on the CPU; nothing in its folder is run.

    Raises:
        ModelError: the card or the weights cannot be used.
    """
    plan = network_plan(card)
    network = GridDetector(len(card.structures), _features(card))
    try:
        network.load_state_dict(read_checkpoint(card.installed_folder / "model.pt"))
    except RuntimeError as error:
        raise ModelError(
            f"The weights of {card.id} do not fit its architecture ({str(error).splitlines()[-1].strip()}).",
            "Import the model again.",
            code="model.corrupted",
        ) from error

    def find(window: torch.Tensor, min_score: float) -> WindowBoxes:
        boxes, scores, kinds = boxes_of(network(window)[0], network.classes, min_score, _MOST)
        return boxes, scores, kinds + 1

    edge = network.divisor
    return Detector(card, plan, network.eval(), (edge, edge, edge), find)


def _features(card: ModelCard) -> list[int]:
    architecture: Any = card.network.get("architecture") or {}
    features = (architecture.get("arguments") or {}).get("features")
    usable = isinstance(features, list) and len(features) in _SCALES and all(f in _CHANNELS for f in features)
    if architecture.get("name") != NAME or not usable:
        raise ModelError(
            f"The card of {card.id} does not describe a {NAME}: {architecture!r:.200}.",
            'Correct its "network".',
            code="model.card",
        )
    return [int(f) for f in features or ()]
