"""``deepseg disagree``: where two models, or variants of one, differ, and what most of them say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..models.card import DEMO_MODEL
from ..util.words import place_text
from .checks import before_reading
from .console import Console
from .models import obtain
from .options import Device, Download, Force, Image, Json, Model, Quality, Quiet, Structures, output_folder, split

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.label_map import LabelMap
    from ..models import Model as LoadedModel
    from ..review.disagreement import Disagreement

FILES = ("disagreement.nii.gz", "disagreement.csv", "voted.seg.nrrd")


def disagree(
    image: Image,
    output: Annotated[Path, output_folder("For the map, the table and the vote.")],
    other: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="MODEL",
            help="Another model; or augmentation, dropout or folds: variants of the same model.",
        ),
    ] = "augmentation",
    model: Model = DEMO_MODEL,
    take: Annotated[
        list[str] | None,
        typer.Option(metavar="STRUCTURE=N", help="Take a structure from opinion N, e.g. liver=2. Repeat for several."),
    ] = None,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment a CT by two models, or by variants of one, and show where they differ."""
    from ..io.write import write_array, write_label_map
    from ..models import load_model
    from ..models.install import here_or_catalogued
    from ..review.disagreement import check_choice, disagreement_map, disagreements, voted, write_disagreements
    from ..review.members import VARIATIONS, members
    from ..segmentation import check_request, segment
    from ..util.atomic_write import atomic_folder
    from ..util.progress import share
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    choice, wanted = _choice(take or []), split(structures)
    before_reading(image, folder=output, device=device)
    variation = next((v for v in VARIATIONS if v == other), None)
    names = [model] if variation else [model, other]
    listed = [here_or_catalogued(name) for name in names]
    _check_known([*(wanted or []), *choice], [[*card.structures, *card.on_request] for card in listed])
    cards = [obtain(console, name, yes, lambda card: check_request(card, None, quality)) for name in names]
    if len(cards) == 2:
        _check_common(cards[0].structures, cards[1].structures)
    warnings: list[str] = []
    opinions: list[LabelMap] = []
    with console.working():
        models: Sequence[LoadedModel] = members(load_model(cards[0]), variation) if variation else []
        models = models or [load_model(card) for card in cards]
        _check_known([*(wanted or []), *choice], [list(one.labels.values()) for one in models])
        check_choice(choice.values(), len(models))
        volume = read_volume(image, cancel=console.cancelled)
        titles = [f"{cards[0].id} {n}" for n in range(1, len(models) + 1)] if variation else [c.id for c in cards]
        for number, (one, title) in enumerate(zip(models, titles, strict=True)):
            told = share(console.progress, number / len(models), (number + 1) / len(models), title)
            options: dict[str, Any] = {"structures": _known_to(wanted, one), "device": device, "quality": quality}
            result = segment(volume, one, force=force, progress=told, cancel=console.cancelled, **options)
            opinions.append(result.label_map)
            warnings += [w for w in result.warnings if w not in warnings]
        rows = disagreements(opinions)
        best = voted(opinions, choice)
        with atomic_folder(output) as temporary:
            write_array(disagreement_map(opinions), volume.ijk_to_ras, temporary / FILES[0])
            write_disagreements(rows, titles, temporary / FILES[1])
            write_label_map(best, temporary / FILES[2])
    for sentence in warnings:
        console.warning(sentence)
    console.show(_table(rows, titles))
    console.say(f"\nWritten to {output}: {', '.join(FILES)}.\nResearch use only.")
    facts = [row.as_json() for row in rows]
    console.event("result", output=str(output), opinions=titles, files=list(FILES), structures=facts)


def _choice(given: Sequence[str]) -> dict[str, int]:
    from ..util.errors import UsageError

    choice = {}
    for text in given:
        name, _, number = text.rpartition("=")
        if not name.strip() or not number.strip().isdecimal():
            raise UsageError(
                f"--take {text} does not name a structure and an opinion.",
                "Give both, e.g. --take liver=2.",
                code="usage.opinion",
            )
        choice[name.strip()] = int(number) - 1
    return choice


def _check_common(first: Sequence[str], second: Sequence[str]) -> None:
    """Refuse models without a common structure before they run; what a card does not name is found out later."""
    from ..util.errors import UsageError

    if first and second and not set(first) & set(second):
        raise UsageError(
            f"The models have no structure in common: one marks {first[0]}, the other {second[0]}.",
            "Choose two models of the same structures.",
            code="usage.structures",
        )


def _check_known(names: Sequence[str], listed: Sequence[Sequence[str]]) -> None:
    """Refuse structures that no model lists before a volume is read; a model that lists none may have any."""
    from ..data.terminology import known_names

    if all(listed):
        known_names(names, dict.fromkeys(chain(*listed)))


def _known_to(wanted: list[str] | None, model: LoadedModel) -> list[str] | None:
    """The structures asked for that a model has; all that were asked for if it has none, for its own error."""
    from ..data.label_map import structure_named
    from ..data.terminology import structure_for

    known = [structure_for(name, value) for value, name in model.labels.items()]
    return wanted and ([name for name in wanted if structure_named(name, known)] or wanted)


def _table(rows: Sequence[Disagreement], titles: Sequence[str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    few = len(titles) == 2
    volumes = [f"{escape(title)} (ml)" for title in titles] if few else ["Smallest (ml)", "Largest (ml)"]
    absent = ", ".join(row.title for row in rows if row.dice is None)
    caption = f"Found by none: {escape(absent)}" if absent else ""
    table = Table("Structure", "Dice", "Differs (ml)", *volumes, "Place (RAS)", caption=caption)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        if row.dice is not None:
            shown = row.volumes_ml if few else (min(row.volumes_ml), max(row.volumes_ml))
            place = "" if row.at is None else place_text(row.at)
            cells = [f"{row.dice:.3f}", f"{row.differing_ml:.1f}", *(f"{v:.1f}" for v in shown), place]
            table.add_row(escape(row.title), *cells)
    return table
