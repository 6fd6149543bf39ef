"""From a card to networks that can run."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ModelError
from .card import PROMPTED, ModelCard, Part

if TYPE_CHECKING:
    from torch import nn

    from ..inference.plan import Plan


@dataclass
class Model:
    """A loaded model.

    Attributes:
        card: its description.
        plan: what its networks expect and what their outputs mean; None for a model of several parts.
        networks: from (N, 1, Z, Y, X) float32 to logits (N, C, Z, Y, X); several form an ensemble. None are
            held for a model of several parts: those are loaded one at a time, see :meth:`part`.
    """

    card: ModelCard
    plan: Plan | None
    networks: list[nn.Module]

    @property
    def labels(self) -> dict[int, str]:
        """Names of the structures by label value."""
        return self.plan.labels if self.plan is not None else dict(enumerate(self.card.structures, start=1))

    def cards_for(self, structures: Container[str]) -> list[ModelCard]:
        """The card of each part that marks one of these structures; the model's own if it has no parts."""
        if self.plan is not None:
            return [self.card]
        needed = [p for p in self.card.parts if any(s in structures for s in p.structures)]
        return [self._card_of(part) for part in needed]

    def part(self, card: ModelCard) -> Model:
        """The part of this card, loaded; keep no reference to it when the next one is wanted."""
        return self if card is self.card else load_model(card)

    def _card_of(self, part: Part) -> ModelCard:
        return replace(
            self.card,
            id=f"{self.card.id}/{part.name}",
            structures=list(part.structures),
            parts=[part],
            folder=self.card.folder / part.name,
        )


def segments_nothing(card: ModelCard) -> ModelError:
    """What to say when a model that takes prompts is to segment."""
    return ModelError(
        f"The model {card.id} answers prompts; by itself it segments nothing.",
        "Use it with `deepseg refine --model`.",
        code="model.prompts",
    )


def require_monai(card: ModelCard) -> None:
    """Raise :class:`ModelError` where MONAI, which a model's network is of, is not installed."""
    try:
        import monai  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"The model {card.id} needs MONAI, which is not installed.",
            "Install it with `pip install deepseg[monai]`.",
            code="model.backend",
        ) from error


def load_model(card: ModelCard) -> Model:
    """Load a model's weights, on the CPU.

    Raises:
        ModelError: files are missing, broken, not trusted, or would run code.
    """
    if len(card.parts) > 1:
        return Model(card, None, [])
    if card.backend == "nnunet":
        from .nnunet import load_nnunet as load
    elif card.backend == "monai":
        from .monai_bundle import load_bundle as load
    elif card.backend == "torchscript":
        from .torchscript import load_torchscript as load
    elif card.backend == PROMPTED:
        raise segments_nothing(card)
    else:
        raise ModelError(
            f"The model {card.id} needs the backend {card.backend!r}, which this version does not have.",
            "Update DeepSeg.",
            code="model.backend",
        )
    model = load(card)
    if card.parts and model.plan.regions is None:
        # The catalogue knows a published network's structures; its training may have named them otherwise.
        model.plan = replace(model.plan, labels=dict(enumerate(card.structures, start=1)))
    return model
