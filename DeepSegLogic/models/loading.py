"""From a card to networks that can run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ModelError
from .card import ModelCard

if TYPE_CHECKING:
    from torch import nn

    from ..inference.plan import Plan


@dataclass
class Model:
    """A loaded model.

    Attributes:
        card: its description.
        plan: what its networks expect and what their outputs mean.
        networks: from (N, 1, Z, Y, X) float32 to logits (N, C, Z, Y, X); several form an ensemble.
    """

    card: ModelCard
    plan: Plan
    networks: list[nn.Module]


def load_model(card: ModelCard) -> Model:
    """Load a model's weights, on the CPU.

    Raises:
        ModelError: files are missing, broken, or would run code.
    """
    if card.backend == "nnunet":
        from .nnunet import load_nnunet

        return load_nnunet(card)
    raise ModelError(
        f"The model {card.id} needs the backend {card.backend!r}, which this version does not have.",
        "Update DeepSeg.",
        code="model.backend",
    )
