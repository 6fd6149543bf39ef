"""A loaded model: networks and the plan that they need."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..util.errors import ModelError, first_line
from ..util.packages import lacks_extra
from ..util.words import counted
from .backends import backend_for
from .card import ModelCard, Part

if TYPE_CHECKING:
    from torch import nn

    from .plan import Plan


@dataclass
class Model:
    """A loaded model.

    Attributes:
        card: its description.
        plan: what its networks expect and what their outputs mean; None for a model of several parts.
        networks: map (N, C, Z, Y, X) float32 to logits (N, C, Z, Y, X); several are an ensemble. Empty for a model of
            several parts, which are loaded one at a time, see :meth:`part`.
        previous: for a cascade, its first stage, whose labels the networks see beside the image.
    """

    card: ModelCard
    plan: Plan | None
    networks: list[nn.Module]
    previous: Model | None = None

    @property
    def stages(self) -> list[Model]:
        """The model after the first stage of its cascade; the model alone if it has none."""
        return [self] if self.previous is None else [self.previous, self]

    @property
    def labels(self) -> dict[int, str]:
        """Names of the structures by label value, those on request last."""
        marked = self.plan.labels if self.plan is not None else dict(enumerate(self.card.structures, start=1))
        return marked | dict(enumerate(self.card.on_request, start=max(marked, default=0) + 1))

    def cards_for(self, structures: Container[str]) -> list[ModelCard]:
        """The cards of the parts that mark any of these structures; the model's own card if it has no parts."""
        if self.plan is not None:
            return [self.card]
        needed = [p for p in self.card.parts if any(s in structures for s in p.structures)]
        return [self._card_of(part) for part in needed]

    def part(self, card: ModelCard) -> Model:
        """Load the part of this card. Drop it before the next one is loaded: both may not fit in memory."""
        return self if card is self.card else load_model(card)

    def _card_of(self, part: Part) -> ModelCard:
        return replace(
            self.card,
            id=f"{self.card.id}/{part.name}",
            structures=list(part.structures),
            parts=[part],
            folder=self.card.part_folder(part),
        )


def segments_nothing(card: ModelCard) -> ModelError:
    """The error for a model that takes prompts and is asked to segment."""
    return ModelError(
        f"The model {card.id} only corrects structures from prompts; it segments nothing by itself.",
        "Use it to correct a segmentation.",
        code="model.prompts",
        action="correct_with_model",
        model=card.id,
    )


def only_finds_boxes(card: ModelCard) -> ModelError:
    """The error for a detector that is asked to segment."""
    return ModelError(
        f"The model {card.id} finds lesions as boxes; it segments nothing.",
        "Use it for detection, or choose a model that segments.",
        code="model.detection",
    )


def require_monai(card: ModelCard) -> None:
    """Raise :class:`ModelError` if MONAI, whose network a model uses, is not installed."""
    try:
        import monai  # noqa: F401
    except ImportError as error:
        raise lacks_extra(
            ModelError, f"The model {card.id} needs MONAI, which is not installed.", "monai", code="model.backend"
        ) from error


def lacks_package(what: str, error: ImportError) -> ModelError:
    """The error for a network, called ``what``, that needs a package which is not installed."""
    return ModelError(
        f"{what} needs a Python package that is not installed ({first_line(error).strip('. ')}).",
        "Install the package into the Python that runs DeepSeg.",
        code="model.backend",
    )


def load_model(card: ModelCard) -> Model:
    """Load a model, on the CPU.

    The files in its folder decide which backend loads it and whether it must be trusted first; its card does not.

    Raises:
        ModelError: it is not installed, broken or not trusted, it would run code, it takes prompts, or it finds boxes.

    Example:
        >>> from DeepSegLogic import find_model, load_model
        >>> load_model(find_model("ct_demo")).labels[4]
        'liver'
    """
    if card.finds_boxes:
        raise only_finds_boxes(card)
    if len(card.parts) > 1:
        return Model(card, None, [])
    model = backend_for(card, card.installed_folder).load(card)
    _check_channels(model)
    if model.plan is not None and card.temperature != 1:
        model.plan = replace(model.plan, temperature=_temperature(card, model.plan))
    if card.parts and model.plan is not None and model.plan.regions is None:
        # The catalogue has the names of the structures; the training may have other names for them.
        labels = dict(enumerate(card.structures, start=1))
        model.plan = replace(model.plan, labels=labels, auxiliary=max(0, model.plan.highest - len(labels)))
    return model


def _temperature(card: ModelCard, plan: Plan) -> float | tuple[float, ...]:
    if not isinstance(card.temperature, list):
        return card.temperature
    if plan.regions is None or len(card.temperature) != plan.channels:
        raise ModelError(
            f"The card of {card.id} has {len(card.temperature)} temperatures, which do not fit its network.",
            "Calibrate the model again.",
            code="model.card",
        )
    return tuple(card.temperature)


def _check_channels(model: Model) -> None:
    named, expected = len(model.card.channels) or 1, model.plan.images if model.plan is not None else 1
    if named != expected:
        raise ModelError(
            f"The card of {model.card.id} names {counted(named, 'input channel')}, but its network takes {expected}.",
            'Correct "channels" in its card, or import the model again.',
            code="model.card",
        )
