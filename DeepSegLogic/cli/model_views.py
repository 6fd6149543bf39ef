"""How models are shown on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from ..models.card import ModelCard
from ..viewmodel.texts import size_text
from .console import Console


def show_models(
    console: Console, cards: Iterable[ModelCard], here: dict[str, ModelCard], found: dict[str, list[str]] | None = None
) -> None:
    """A table of models, or an event for each.

    Args:
        here: the models on this machine by id.
        found: for a search, the structures that were found by id.
    """
    from rich.table import Table

    from ..models.store import disk_use

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("model", "what it marks", "on", "here", "size", "licence"):
        table.add_column(column, no_wrap=column in ("model", "here", "size"))
    for card in cards:
        extra = {"found": found[card.id]} if found else {}
        console.event("model", **as_json(card, here), **extra)
        size = disk_use(here[card.id].folder) if card.id in here else card.download_bytes
        what = f"{card.title}: {_some(found[card.id])}".removesuffix(": ") if found else card.title
        is_here = "yes" if card.id in here else ""
        table.add_row(card.id, what, card.modality or "?", is_here, size_text(size), card.licence)
    if table.row_count:
        console.show(table)


def show_card(console: Console, card: ModelCard, here: dict[str, ModelCard]) -> None:
    """All that a card says."""
    from rich.table import Table

    console.event("model", **as_json(card, here))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _facts(card, here).items():
        table.add_row(f"[bold]{name}", value)
    console.show(table)


def as_json(card: ModelCard, here: dict[str, ModelCard]) -> dict:
    """A card with whether and where it is installed."""
    installed = here.get(card.id)
    return card.to_json() | {"installed": installed is not None, "folder": str(installed.folder) if installed else None}


def _facts(card: ModelCard, here: dict[str, ModelCard]) -> dict[str, str]:
    spacing = " × ".join(f"{s:g}" for s in card.spacing) + " mm" if card.spacing else "as its files say"
    facts = {
        "id": f"{card.id} (version {card.version})",
        "title": card.title,
        "good for": card.description,
        "marks": f"{len(card.structures)} structures: {', '.join(card.structures)}",
        "modality": card.modality or "not said",
        "voxel spacing": spacing,
        "networks": str(max(1, len(card.parts))),
        "memory": f"about {card.memory_gb:g} GB" if card.memory_gb else "not known",
        "size": size_text(card.size_bytes or card.download_bytes),
        "licence": card.licence,
        "to cite": card.citation or "not said",
        "source": card.source,
        "intended use": card.intended_use,
        "note": "\n".join(card.notes),
        "here": str(here[card.id].folder) if card.id in here else f"no; `deepseg models download {card.id}`",
    }
    return {name: value for name, value in facts.items() if value}


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
