"""``deepseg calibrate``: fit a model's probabilities to cases, and note what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import before_reading
from .console import Console
from .models import obtain
from .options import Device, Download, Json, Quiet, given_path

if TYPE_CHECKING:
    from rich.table import Table

    from ..evaluation.card_facts import Calibrated


def calibrate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Id of an installed model, or a model folder; its card is changed."),
    ],
    held_out: Annotated[
        Path | None, given_path("DATA", "Data set, as for `deepseg train`, of cases that it was not trained on.")
    ] = None,
    trained_on: Annotated[Path | None, given_path("DATA", "Data set that it was trained on.")] = None,
    device: Device = "auto",
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit the temperature of a model to held-out cases, and note the statistics of its training, in its card.

    Where its structures overlap, each has a temperature of its own.
    """
    from ..evaluation.card_facts import fit_to, noted, statistics_of
    from ..util.errors import UsageError

    if held_out is None and trained_on is None:
        raise UsageError("There is no data set.", "Give --held-out, --trained-on or both.", code="usage.data")
    console = Console(quiet, as_json)
    before_reading(held_out, trained_on, device=device)
    card = obtain(console, model, yes)
    found = None
    statistics = None
    with console.working():
        if held_out is not None:
            found = fit_to(card, held_out, device=device, progress=console.progress, cancel=console.cancelled)
        if trained_on is not None:
            statistics = statistics_of(card, trained_on, progress=console.progress, cancel=console.cancelled)
        noted(card, found.temperature if found is not None else None, statistics)
    if found is not None:
        console.show(_table(found))
        console.say(_temperature(found))
        for sentence in found.warnings:
            console.warning(sentence)
    console.say(f"Written to the card of {card.id}.")
    facts = found.as_json() if found is not None else {}
    console.event("result", model=card.id, training_statistics=statistics or {}, **facts)


def _temperature(found: Calibrated) -> str:
    if not isinstance(found.temperature, list):
        return f"Temperature: {found.temperature:g}."
    each = zip(found.structures, found.temperature, strict=True)
    return f"Temperatures: {', '.join(f'{name} {value:g}' for name, value in each)}."


def _table(found: Calibrated) -> Table:
    from rich.markup import escape
    from rich.table import Table

    named = ["Held-out case", *(["Structure"] if found.structures else [])]
    table = Table(*named, "ECE before", "ECE after", caption="After: fitted to the other cases.")
    for column in table.columns[len(named) :]:
        column.justify = "right"
    for row in found.cases:
        after = "" if row.after is None else f"{row.after:.3f}"
        name = [row.name, row.structure][: len(named)]
        table.add_row(*map(escape, name), f"{row.before:.3f}", after)
    return table
