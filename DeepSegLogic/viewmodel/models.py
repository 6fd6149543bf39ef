"""The list of models a user chooses from."""

from __future__ import annotations

from dataclasses import dataclass, replace

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


def model_entries() -> list[ModelEntry]:
    """Models that are here, then those that can be downloaded."""
    from ..models.catalogue import catalogue
    from ..models.registry import models_here
    from ..models.store import Store

    here, store = models_here(), Store()
    cards = [*here.values(), *(card for card in catalogue() if card.id not in here)]
    return [
        ModelEntry(
            card,
            card.id in here,
            store.folder(card.id) is not None,
            card.size_bytes if card.id in here else card.download_bytes,
        )
        for card in cards
    ]


def found_entries(entries: list[ModelEntry], words: str) -> list[ModelEntry]:
    """Those that a search finds, the installed ones first; all for no words."""
    from ..models.catalogue import search

    if not words.strip():
        return entries
    by_id = {entry.card.id: entry for entry in entries}
    matches = search(words, [entry.card for entry in entries])
    found = [replace(by_id[match.card.id], found=tuple(match.structures)) for match in matches]
    return sorted(found, key=lambda entry: not entry.installed)
