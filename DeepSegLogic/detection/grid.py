"""Our own detectors as models: a ``state_dict`` and a card, see :mod:`DeepSegLogic.models.backends.torchscript`.

Their cards have ``"task": "detection"`` and the architecture ``{"name": NAME, "arguments": {"features": […]}}``, where
NAME is ``GridDetector`` for boxes or ``MaskDetector`` for boxes and masks.
"""

from __future__ import annotations

from typing import Any

import torch

from ..models import ModelCard
from ..models.backends.torchscript import network_plan
from ..models.weights import read_checkpoint
from ..networks.grid_detector import GridDetector, boxes_of
from ..networks.mask_detector import MaskDetector
from ..util.errors import ModelError, last_line
from .detector import Detector, WindowBoxes

_MOST = 1000  # boxes in a window
_MOST_PROPOSALS = 200  # of which masks are drawn, as far as they are lesions
_SCALES, _CHANNELS = range(1, 7), range(1, 1025)


def load(card: ModelCard) -> Detector:
    """Load a grid or mask detector, on the CPU; nothing in its folder is run.

    Raises:
        ModelError: the card or the weights cannot be used.
    """
    plan = network_plan(card)
    name, features = _architecture(card)
    network = (MaskDetector if name == "MaskDetector" else GridDetector)(len(card.structures), features)
    try:
        network.load_state_dict(read_checkpoint(card.installed_folder / "model.pt"))
    except RuntimeError as error:
        raise ModelError(
            f"The weights of {card.id} do not fit its architecture ({last_line(error)}).",
            "Import the model again.",
            code="model.corrupted",
        ) from error

    def find(window: torch.Tensor, min_score: float) -> WindowBoxes:
        if isinstance(network, MaskDetector):
            found = network.instances(window[0], min_score, _MOST_PROPOSALS)
            return WindowBoxes(found.boxes, found.scores, found.classes + 1, found.masks, found.mask_boxes)
        boxes, scores, kinds = boxes_of(network(window)[0], network.classes, min_score, _MOST)
        return WindowBoxes(boxes, scores, kinds + 1)

    edge = network.divisor
    return Detector(card, plan, network.eval(), (edge, edge, edge), find)


def _architecture(card: ModelCard) -> tuple[str, list[int]]:
    """The name and the features."""
    architecture: Any = card.network.get("architecture") or {}
    name, features = architecture.get("name"), (architecture.get("arguments") or {}).get("features")
    usable = isinstance(features, list) and len(features) in _SCALES and all(f in _CHANNELS for f in features)
    if name not in ("GridDetector", "MaskDetector") or not usable:
        raise ModelError(
            f"The card of {card.id} does not describe a GridDetector or MaskDetector: {architecture!r:.200}.",
            'Correct its "network".',
            code="model.card",
        )
    return name, [int(f) for f in features or ()]
