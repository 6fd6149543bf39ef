"""Models as tables and lines on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..models.card import ModelCard
from ..util.errors import ModelError
from ..util.words import counted, size_text, some_of
from .console import Console, as_typed


def show_models(
    console: Console, cards: Iterable[ModelCard], here: dict[str, ModelCard], found: dict[str, list[str]] | None = None
) -> None:
    """Show a table of models, or an event for each.

    Args:
        here: the models on this machine by id.
        found: for a search, the structures that match, by id of the model.
    """
    from rich.markup import escape
    from rich.table import Table

    from ..models.store import disk_use

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("model", "what it marks", "on", "here", "size", "licence"):
        table.add_column(column, no_wrap=column in ("model", "here", "size"))
    for card in cards:
        if console.as_json:
            extra = {"found": found[card.id]} if found else {}
            console.event("model", **as_json(card, here), **extra)
        size = disk_use(here[card.id].installed_folder) if card.id in here else card.download_bytes
        what = f"{card.title}: {some_of(found[card.id], 4)}".removesuffix(": ") if found else card.title
        is_here = "yes" if card.id in here else ""
        cells = (card.id, what, card.modality or "?", is_here, size_text(size), card.licence)
        table.add_row(*map(escape, cells))
    if table.row_count:
        console.show(table)


def show_damaged(console: Console, damaged: dict[str, ModelError]) -> None:
    """Show a line for each model whose card cannot be used, or an event."""
    for name, error in damaged.items():
        console.event("model", id=name, installed=True, damaged=str(error))
        console.say(f"{name} is damaged. {error} To remove it, run `deepseg models remove {name}`.")


def show_card(console: Console, card: ModelCard, here: dict[str, ModelCard]) -> None:
    """Show everything that a card says."""
    from rich.markup import escape
    from rich.table import Table

    console.event("model", **as_json(card, here))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _facts(card, here).items():
        table.add_row(f"[bold]{name}", escape(value))
    console.show(table)


def as_json(card: ModelCard, here: dict[str, ModelCard]) -> dict[str, Any]:
    """A card, whether it is installed, and its folder."""
    installed = here.get(card.id)
    return card.to_json() | {"installed": installed is not None, "folder": str(installed.folder) if installed else None}


def _facts(card: ModelCard, here: dict[str, ModelCard]) -> dict[str, str]:
    spacing = " × ".join(f"{s:g}" for s in card.spacing) + " mm" if card.spacing else "see its files"
    facts = {
        "id": f"{card.id} (version {card.version})",
        "title": card.title,
        "description": card.description,
        "marks": f"{counted(len(card.structures), 'structure')}: {', '.join(card.structures)}",
        "on request": ", ".join(card.on_request),
        "modality": card.modality or "not stated",
        "channels": ", ".join(f"{name} ({number})" for number, name in enumerate(card.channels)) or "one volume",
        "voxel spacing": spacing,
        "sees": card.crop.describe() if card.crop else "",
        "networks": str(max(1, len(card.parts))),
        "memory": f"about {card.memory_gb:g} GB" if card.memory_gb else "unknown",
        "size": size_text(card.size_bytes or card.download_bytes),
        "licence": card.licence,
        "to cite": card.citation or "not stated",
        "source": card.source,
        "digests": card.unstated_digests,
        "intended use": card.intended_use,
        "note": "\n".join(card.notes),
        "installed": _installed(card, here.get(card.id)),
    }
    return {name: value for name, value in facts.items() if value}


def _installed(card: ModelCard, installed: ModelCard | None) -> str:
    folder, there = card.folder, installed.folder if installed is not None else None
    if there is not None and (folder is None or folder.resolve() == there.resolve()):
        return str(there)
    how = f"download {card.id}" if folder is None else f"import {as_typed(folder)}"
    return f"no; `deepseg models {how}`"
