"""``deepseg models``: find, fetch, check, carry and remove models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Cancelled, ModelError, UsageError
from ..models.card import ModelCard
from ..viewmodel.texts import size_text
from .console import Console, Json, Quiet, somebody_there
from .model_views import show_card, show_models

app = typer.Typer(help="Find, fetch, check, carry and remove models.", no_args_is_help=True)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Id = Annotated[str, typer.Argument(help="Id of a model, see `deepseg models list`.")]
Ids = Annotated[list[str], typer.Argument(help="Ids of models, see `deepseg models list`.")]


@app.command("list")
def list_models(
    installed: Annotated[bool, typer.Option("--installed", help="Only those on this machine.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show the models on this machine and those that can be downloaded."""
    from ..models.store import Store, disk_use

    console = Console(quiet, as_json)
    here, catalogued = _known()
    others = [] if installed else [card for model, card in catalogued.items() if model not in here]
    show_models(console, [*here.values(), *others], here)
    root = Store().root
    console.say(f"\nDownloaded models are kept in {root} ({size_text(disk_use(root))}). For research use only.")


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help='e.g. "portal vein", or a question.')],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find models by what they mark."""
    from ..models.catalogue import search as find

    console = Console(quiet, as_json)
    here, catalogued = _known()
    matches = find(" ".join(words), (catalogued | here).values())
    if not matches:
        console.say("No model has any of these.")
    elif matches[0].missing:
        console.say("No model has all of these. Nearest are:")
    show_models(console, [m.card for m in matches], here, {m.card.id: m.structures for m in matches})


@app.command()
def show(model: Id, quiet: Quiet = False, as_json: Json = False) -> None:
    """Show what a model is, where it comes from and what it may be used for."""
    from ..models.registry import find_model

    here, catalogued = _known()
    card = here.get(model) or catalogued.get(model) or find_model(model)
    show_card(Console(quiet, as_json), card, here)


@app.command()
def download(models: Ids, yes: Yes = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Download models; size and licence are shown first."""
    console = Console(quiet, as_json)
    for model in models:
        _tell_installed(console, obtain(console, model, yes))


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="File or folder.")],
    model_id: Annotated[str, typer.Option("--id", help="Name it.")] = "",
    title: Annotated[str, typer.Option(help="In plain words.")] = "",
    licence: Annotated[str, typer.Option(help="Under which it may be used.")] = "",
    card: Annotated[Path | None, typer.Option(help="JSON file with what the model's own files do not say.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an installed model of this id.")] = False,
    trusted: Annotated[bool, typer.Option("--trust", help="Let program code in the model run.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Install a model from a file or folder.

    Takes what `deepseg models export` wrote; an nnU-Net v2 results folder, a MONAI bundle or an nnInteractive model,
    or a zip file of one;
    an archive of the catalogue downloaded elsewhere; or a TorchScript or state_dict file with a card.
    """
    from ..models.importing import import_model, lacks
    from ..models.trust import is_trusted
    from ..models.trust import trust as trust_model

    console = Console(quiet, as_json)
    given = {"id": model_id, "title": title, "licence": licence}
    changes = {**_read_card(card), **{name: value for name, value in given.items() if value}}
    with console.working():
        installed = import_model(
            path, changes=changes, replace_installed=replace, progress=console.progress, cancel=console.cancelled
        )
    if trusted:
        trust_model(installed)
    _tell_installed(console, installed)
    if missing := lacks(installed):
        console.say(f"Its card does not say {', '.join(missing)}. Add it with --replace and --licence or --card.")
    if not is_trusted(installed):
        console.say(f"It can hold program code and runs only after `deepseg models trust {installed.id}`.")


@app.command()
def export(
    model: Id,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to, or a .zip file.")] = Path(),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a model with card, licence and digests to one file, for a machine without internet."""
    from ..models.importing import export_model
    from ..models.registry import find_model

    console = Console(quiet, as_json)
    with console.working():
        file = export_model(find_model(model), output, console.progress, console.cancelled)
    size = file.stat().st_size
    console.say(f"{file} ({size_text(size)}): run `deepseg models import {file.name}` on the other machine.")
    console.event("exported", file=str(file), bytes=size)


@app.command()
def verify(
    models: Annotated[list[str] | None, typer.Argument(help="Ids; all that are installed if none.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Check that models' files are those that were installed."""
    from ..models.registry import find_model
    from ..models.store import Store
    from ..models.store import verify as check

    console = Console(quiet, as_json)
    cards = [find_model(model) for model in models] if models else Store().installed()
    broken = []
    for card in cards:
        with console.working():
            wrong = check(card, console.progress, console.cancelled)
        console.say(f"{card.id}: {' '.join(wrong) or 'all files are as installed.'}")
        console.event("verified", id=card.id, wrong=wrong)
        broken += [card.id] if wrong else []
    if broken:
        raise ModelError(f"Not as installed: {', '.join(broken)}.", "Remove and install again.", code="model.corrupted")


@app.command()
def remove(models: Ids, yes: Yes = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Delete models from this machine."""
    from ..models.store import Store, disk_use

    console, store = Console(quiet, as_json), Store()
    for model in models:
        folder = store.folder(model)
        if folder is not None and not (yes or _asks(f"Delete {model} ({size_text(disk_use(folder))})?")):
            raise Cancelled(f"{model} was kept.")
        freed = store.remove(model)
        console.say(f"{model} is gone; {size_text(freed)} are free again.")
        console.event("removed", id=model, bytes=freed)


@app.command()
def trust(
    model: Annotated[str, typer.Argument(help="Id or folder.")],
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Let a model that can hold program code run on this machine, as its files are now."""
    from ..models.registry import find_model
    from ..models.trust import needs_trust
    from ..models.trust import trust as trust_model

    console, card = Console(quiet, as_json), find_model(model)
    if not needs_trust(card):
        return console.say(f"{card.id} holds no program code and needs no trust.")
    question = f"{card.title} ({card.folder}) can run any code with your rights. Do you know where it comes from?"
    if not (yes or _asks(question)):
        raise Cancelled(f"{card.id} is not trusted.")
    digest = trust_model(card)
    console.event("trusted", id=card.id, digest=digest)
    return console.say(f"{card.id} is trusted as {digest}.")


def obtain(console: Console, name: str, yes: bool) -> ModelCard:
    """The model of this id or folder; one that is missing is downloaded after size and licence were shown.

    Raises:
        ModelError: it is nowhere, or nobody can be asked; the remedy says which file to bring where.
        Cancelled: the user declined.
    """
    from ..models.catalogue import in_catalogue
    from ..models.fetch import download_model
    from ..models.registry import find_model

    try:
        return find_model(name)
    except ModelError as error:
        card = in_catalogue(name)
        if error.code != "model.not_installed" or card is None or not (yes or somebody_there()):
            raise
    if not console.quiet:
        print(
            f"{card.id} is not on this machine: {card.title}\n"
            f"Download: {size_text(card.download_bytes)} in {len(card.parts)} file(s) from {card.source}\n"
            f"Licence: {card.licence}. {card.intended_use}",
            file=sys.stderr,
        )
    if not (yes or _asks("Download it?")):
        raise Cancelled(f"{card.id} was not downloaded.")
    with console.working():
        return download_model(card, progress=console.progress, cancel=console.cancelled)


def _asks(question: str) -> bool:
    """Whether a person at a terminal agrees."""
    return somebody_there() and typer.confirm(question, err=True)


def _tell_installed(console: Console, card: ModelCard) -> None:
    console.say(f"{card.id} is in {card.folder}.")
    console.event("installed", id=card.id, folder=str(card.folder), licence=card.licence)


def _known() -> tuple[dict[str, ModelCard], dict[str, ModelCard]]:
    """Models on this machine and models of the catalogue, by id."""
    from ..models.catalogue import catalogue
    from ..models.registry import models_here

    return models_here(), {card.id: card for card in catalogue()}


def _read_card(path: Path | None) -> dict:
    if path is None:
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"The card {path} cannot be read: {error}.", "Correct it.", code="usage.card") from error
