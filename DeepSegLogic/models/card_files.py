"""The cards in the folders of models."""

from __future__ import annotations

from pathlib import Path

from ..util.errors import ModelError
from .card import ModelCard
from .files import CARD_FILE


def read_cards(root: Path) -> list[tuple[str, ModelCard | ModelError]]:
    """The models in the subfolders of ``root``: name of the folder, and the card or its error."""
    found: list[tuple[str, ModelCard | ModelError]] = []
    for folder in sorted(path.parent for path in root.glob(f"[!.]*/{CARD_FILE}")):
        try:
            found.append((folder.name, read_card(folder)))
        except ModelError as error:
            found.append((folder.name, error))
    return found


def read_card(folder: Path) -> ModelCard:
    """The card of a model whose folder has its id as name.

    Raises:
        ModelError: there is none, it cannot be used, or it has another id.
    """
    card = ModelCard.read(folder)
    if card.id != folder.name:
        raise ModelError(
            f"The model card {folder / CARD_FILE} cannot be used: its id is {card.id}, not {folder.name}.",
            "Rename the folder to the id of its model, or import it.",
            code="model.card",
        )
    return card
