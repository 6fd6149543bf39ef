"""The list of models that a user chooses from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..models.card import ModelCard
from ..util.errors import ModelError


@dataclass(frozen=True)
class ModelEntry:
    """One line of the list.

    Attributes:
        card: describes the model.
        installed: whether it is on the machine that runs it.
        removable: whether it was downloaded or imported, and so can be removed.
        size_bytes: of the download, or on disk; None when unknown.
        found: structures that the search words match.
        damage: why it cannot be used, in words; empty if it can. The card then says no more than its id.
        missing: what must be downloaded before it can run: itself, and the models that it needs.
    """

    card: ModelCard
    installed: bool
    removable: bool
    size_bytes: int | None
    found: tuple[str, ...] = ()
    damage: str = ""
    missing: tuple[ModelCard, ...] = ()


@dataclass(frozen=True)
class Models:
    """The list to choose from.

    Attributes:
        all: the installed models, then those that can be downloaded.
        shown: those that the search ``words`` find.
        chosen: the card of the chosen one.
    """

    all: tuple[ModelEntry, ...] = ()
    shown: tuple[ModelEntry, ...] = ()
    words: str = ""
    chosen: ModelCard | None = None

    @property
    def entry(self) -> ModelEntry | None:
        """The line of the chosen one."""
        return next((e for e in self.all if self.chosen is not None and e.card.id == self.chosen.id), None)

    @classmethod
    def search(cls, entries: list[ModelEntry], words: str) -> Models:
        """All models, and those that a search finds."""
        return cls(tuple(entries), tuple(found_entries(entries, words)), words)


def model_entries() -> list[ModelEntry]:
    """Models that are here, those that are damaged last, then those that can be downloaded."""
    from ..models.catalogue import catalogue
    from ..models.find import entries_here, missing_models
    from ..models.store import Store

    found, store = entries_here(), Store()
    here = {name: card for name, card in found.items() if isinstance(card, ModelCard)}
    broken = {name: error for name, error in found.items() if isinstance(error, ModelError)}
    cards = [*here.values(), *(card for card in catalogue() if card.id not in (*here, *broken))]
    damaged = [
        ModelEntry(
            ModelCard(name, f"{name} (damaged)", modality=None, description=str(error)),
            installed=True,
            removable=store.folder(name) is not None,
            size_bytes=None,
            damage=str(error),
        )
        for name, error in broken.items()
    ]
    known = {card.id: card for card in cards}

    def missing(card: ModelCard) -> list[ModelCard]:
        try:
            return missing_models(card, known.get)
        except ModelError:  # of no use to download anything: the run says why
            return []

    entries = [
        ModelEntry(
            card,
            card.id in here,
            store.folder(card.id) is not None,
            card.size_bytes if card.id in here else card.download_bytes,
            missing=tuple(missing(card)),
        )
        for card in cards
    ]
    return [*entries[: len(here)], *damaged, *entries[len(here) :]]


def entries_on_server(cards: list[ModelCard]) -> list[ModelEntry]:
    """The models of a server: all are installed, and none can be removed from here."""
    return [ModelEntry(card, installed=True, removable=False, size_bytes=card.size_bytes) for card in cards]


def found_entries(entries: list[ModelEntry], words: str) -> list[ModelEntry]:
    """Those that a search finds, installed ones first; all for no words."""
    from ..models.catalogue import search

    if not words.strip():
        return entries
    by_id = {entry.card.id: entry for entry in entries}
    matches = search(words, [entry.card for entry in entries])
    found = [replace(by_id[match.card.id], found=tuple(match.structures)) for match in matches]
    return sorted(found, key=lambda entry: not entry.installed)
