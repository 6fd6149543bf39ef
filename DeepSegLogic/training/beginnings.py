"""Which models a training can begin with, as far as their cards tell. No torch is loaded here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models.card import ModelCard
from ..util.errors import InputError, ModelError

if TYPE_CHECKING:
    from .regions import Regions


def check_trainable(card: ModelCard) -> None:
    """Check what is known of a model without loading it.

    Raises:
        ModelError: a training cannot begin with it.
    """
    for wrong, what in (
        (card.takes_prompts, "it corrects structures from prompts"),
        (card.finds_boxes, "it finds lesions as boxes"),
        (len(card.parts) > 1, "it has several parts"),
        (len(card.channels) > 1, "it sees several images together"),
        (card.backend != "nnunet" and not card.network.get("architecture"), "it is a program, not a known network"),
    ):
        if wrong:
            raise cannot_begin(card, what)


def regions_in(card: ModelCard) -> Regions | None:
    """The structures of a model, if they overlap.

    Raises:
        ModelError: its files do not say how.
    """
    from .dataset_json import label_names, regions_from
    from .regions import Regions

    try:
        if card.backend == "nnunet":
            return label_names(card.installed_folder)[1]
        if not card.network.get("sigmoid"):
            return None
        if (said := card.network.get("regions")) is not None:
            return regions_from(said, card.installed_folder)
    except InputError as error:
        raise cannot_begin(card, "its files do not say how its structures overlap") from error
    numbers = range(1, len(card.structures) + 1)
    return Regions({name: (n,) for n, name in zip(numbers, card.structures, strict=True)}, tuple(numbers))


def cannot_begin(card: ModelCard, why: str, remedy: str = "Begin with another model, or without one.") -> ModelError:
    """The error for a model that a training cannot begin with."""
    return ModelError(f"A training cannot begin with the model {card.id}: {why}.", remedy, code="model.unsupported")
