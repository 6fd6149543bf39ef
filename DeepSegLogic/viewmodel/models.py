"""The list of models a user chooses from."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.card import ModelCard


@dataclass(frozen=True)
class ModelEntry:
    """One line of the list.

    Attributes:
        card: what the model is.
        installed: whether it is on this machine.
        removable: whether it was downloaded or imported, and so can be removed.
        size_bytes: of the download, or on disk; None when unknown.
        found: structures that the search words name.
    """

    card: ModelCard
    installed: bool
    removable: bool
    size_bytes: int | None
    found: tuple[str, ...] = ()


def model_entries(words: str = "") -> list[ModelEntry]:
    """Models that are here, then those that can be downloaded; with words only those that a search finds."""
    from ..models.catalogue import catalogue, search
    from ..models.registry import bundled_models
    from ..models.store import Store

    own = {card.id: card for card in Store().installed()}
    here = {card.id: card for card in bundled_models()} | own
    cards = [*here.values(), *(card for card in catalogue() if card.id not in here)]
    named: dict[str, tuple[str, ...]] = {}
    if words.strip():
        matches = search(words, cards)
        cards, named = [m.card for m in matches], {m.card.id: tuple(m.structures) for m in matches}
        cards.sort(key=lambda card: card.id not in here)
    return [
        ModelEntry(
            card,
            card.id in here,
            card.id in own,
            card.size_bytes if card.id in here else card.download_bytes,
            named.get(card.id, ()),
        )
        for card in cards
    ]
