"""``deepseg models``: find, download, import, export, verify, trust and remove models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..models.card import ModelCard
from ..util.errors import Cancelled, ModelError, UsageError
from ..util.json_text import json_of
from ..util.words import counted, size_text
from .checks import before_reading
from .console import Console, somebody_there
from .model_views import show_card, show_damaged, show_models
from .options import Json, ModelId, ModelIds, Quiet, Yes, given_path, path_argument

app = typer.Typer(help="Find, download, import, export, verify and remove models.", no_args_is_help=True)


@app.command("list")
def list_models(
    installed: Annotated[bool, typer.Option("--installed", help="Only those on this machine.")] = False,
    server: Annotated[str, typer.Option("--server", metavar="URL", help="Those of a saved server instead.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the models on this machine and those that can be downloaded."""
    from ..models.find import damaged_models
    from ..models.store import Store, disk_use

    console = Console(quiet, as_json)
    if server:
        from ..remote.known import KnownServers

        show_models(console, KnownServers().connect(server).models(), {})
        return
    here, catalogued = _known()
    damaged = damaged_models()
    others = [] if installed else [card for model, card in catalogued.items() if model not in (*here, *damaged)]
    show_models(console, [*here.values(), *others], here)
    show_damaged(console, damaged)
    root = Store().root
    console.say(f"\nInstalled models are in {root} ({size_text(disk_use(root))}). For research use only.")


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='e.g. "portal vein", or a question.')],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find models by what they mark."""
    from ..models.catalogue import search as find

    console = Console(quiet, as_json)
    here, catalogued = _known()
    matches = find(" ".join(words), (catalogued | here).values())
    if not matches:
        console.say("No model matches any of these words.")
    elif matches[0].missing:
        console.say("No model matches all of these words. The nearest ones:")
    show_models(console, [m.card for m in matches], here, {m.card.id: m.structures for m in matches})


@app.command()
def show(model: ModelId, quiet: Quiet = False, as_json: Json = False) -> None:
    """Show what a model is, where it comes from and what it may be used for."""
    from ..models.find import damaged_models, find_model

    here, catalogued = _known()
    if model in (damaged := damaged_models()):
        raise damaged[model]
    card = here.get(model) or catalogued.get(model) or find_model(model)
    show_card(Console(quiet, as_json), card, here)


@app.command()
def download(models: ModelIds, yes: Yes = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Download models. Size and licence are shown first."""
    console = Console(quiet, as_json)
    for model in models:
        _tell_installed(console, obtain(console, model, yes))


@app.command("import")
def import_(
    path: Annotated[Path, path_argument("PATH", "File or folder.")],
    model_id: Annotated[str, typer.Option("--id", metavar="ID", help="Id of the model.")] = "",
    title: Annotated[str, typer.Option(metavar="TEXT", help="Title in plain words.")] = "",
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the model.")] = "",
    card: Annotated[Path | None, given_path("FILE", "JSON file with card fields that the model's files lack.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an installed model of this id.")] = False,
    trusted: Annotated[bool, typer.Option("--trust", help="Let code in the model run.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Install a model from a file or folder.

    PATH is an export of `deepseg models export`; an nnU-Net v2 results folder, a MONAI bundle or an nnInteractive
    model, or a zip file of one; an archive of the catalogue downloaded elsewhere; or a TorchScript or state_dict file
    with a card.
    """
    from ..models.import_export import NO_LICENCE, import_model, lacks
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
        option = "--licence" if missing == [NO_LICENCE] else "--card"
        console.say(f"Its card does not say {' and '.join(missing)}. Import it again with --replace and {option}.")
    if not is_trusted(installed):
        console.say(f"It can contain code. Before you use it, run `deepseg models trust {installed.id}`.")


@app.command()
def export(
    model: ModelId,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Folder, or a .zip file.")] = Path(),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a model with card, licence and digests to one file, for a machine without internet."""
    from ..models.find import find_model
    from ..models.import_export import export_model

    console = Console(quiet, as_json)
    card = find_model(model)
    before_reading(folder=output if output.suffix.lower() != ".zip" else output.parent)
    with console.working():
        file = export_model(card, output, console.progress, console.cancelled)
    size = file.stat().st_size
    console.say(f"Written {file} ({size_text(size)}). On the other machine, run `deepseg models import {file.name}`.")
    console.event("exported", file=str(file), bytes=size)


@app.command()
def verify(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODELS", help="Ids of models; default: all installed models.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Check that the files of models are unchanged since their installation."""
    from ..models.find import find_model
    from ..models.store import Store
    from ..models.store import verify as check

    console = Console(quiet, as_json)
    cards = [(model, find_model(model)) for model in models] if models else Store().entries()
    if not cards:
        console.say("Nothing to verify: no model was downloaded or imported.")
    broken = []
    for name, card in cards:
        with console.working():
            wrong = [card.message] if isinstance(card, ModelError) else check(card, console.progress, console.cancelled)
        console.say(f"{name}: {' '.join(wrong) or 'all files are as installed.'}")
        console.event("verified", id=name, wrong=wrong)
        broken += [name] if wrong else []
    if broken:
        raise ModelError(
            f"Changed or damaged: {', '.join(broken)}.", "Remove and install again.", code="model.corrupted"
        )


@app.command()
def remove(models: ModelIds, yes: Yes = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Delete models from this machine."""
    from ..models.find import is_bundled
    from ..models.store import Store, disk_use

    console, store = Console(quiet, as_json), Store()
    for model in models:
        folder = store.folder(model)
        if folder is None and is_bundled(model):
            sentence = f"{model} comes with DeepSeg and cannot be removed."
            raise UsageError(sentence, "Name a model that was downloaded or imported.", code="usage.bundled")
        if folder is not None and not (yes or _asks(f"Delete {model} ({size_text(disk_use(folder))})?")):
            raise Cancelled(f"{model} was not deleted.")
        freed = store.remove(model)
        console.say(f"Deleted {model}, {size_text(freed)}.")
        console.event("removed", id=model, bytes=freed)


@app.command()
def trust(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id or folder.")],
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Trust a model that can contain code, with its present files, so that it can run on this machine."""
    from ..models.find import find_model
    from ..models.trust import needs_trust
    from ..models.trust import trust as trust_model

    console, card = Console(quiet, as_json), find_model(model)
    if not needs_trust(card):
        return console.say(f"{card.id} contains no code and needs no trust.")
    question = f"{card.title} ({card.folder}) can run any code with your rights. Do you know where it comes from?"
    if not (yes or _asks(question)):
        raise Cancelled(f"{card.id} is not trusted.")
    digest = trust_model(card)
    console.event("trusted", id=card.id, digest=digest)
    return console.say(f"{card.id} is trusted ({digest}).")


def obtain(
    console: Console, name: str, yes: bool, suits: Callable[[ModelCard], object] = lambda card: None
) -> ModelCard:
    """Find a model by its id or folder, and download what is missing of it and of the models that it needs, after size
    and licence were shown.

    Args:
        suits: raises if the model cannot do what is asked for; called before anything is downloaded.

    Raises:
        ModelError: there is no such model, or something must be downloaded and nobody can be asked.
        Cancelled: the user declined.
    """
    from ..models.find import check_helpers, find_model, missing_models
    from ..models.install import download_model, here_or_catalogued

    card = here_or_catalogued(name)
    suits(card)
    missing = missing_models(card)
    if missing and not (yes or somebody_there()):
        check_helpers(find_model(name))  # raises, with what to do
    for card in missing:
        _offer(console, card, name, yes)
    for card in missing:
        with console.working():
            download_model(card, progress=console.progress, cancel=console.cancelled)
    return find_model(name)


def _offer(console: Console, card: ModelCard, name: str, yes: bool) -> None:
    """Show what will be downloaded for the model of this name, and ask."""
    from ..models.totalsegmentator import is_here, results_folder

    copied = is_here(card)
    if not console.quiet:
        source = (
            f"Copied from TotalSegmentator's folder {results_folder()}; nothing is downloaded"
            if copied
            else f"Download: {size_text(card.download_bytes)} in {counted(len(card.parts), 'file')} from {card.source}"
        )
        why = "" if card.id == name else f" {name} needs it."
        print(
            f"{card.id} is not on this machine: {card.title}.{why}\n{source}\n"
            f"Licence: {card.licence}. {card.intended_use} {card.unstated_digests}".rstrip(),
            file=sys.stderr,
        )
    if not (yes or _asks("Copy it?" if copied else "Download it?")):
        raise Cancelled(f"{card.id} was not installed.")


def _asks(question: str) -> bool:
    """Whether a person at a terminal agrees."""
    return somebody_there() and typer.confirm(question, err=True)


def _tell_installed(console: Console, card: ModelCard) -> None:
    console.say(f"{card.id} is installed in {card.folder}. {card.unstated_digests}".rstrip())
    console.event("installed", id=card.id, folder=str(card.folder), licence=card.licence)


def _known() -> tuple[dict[str, ModelCard], dict[str, ModelCard]]:
    """The models on this machine and those of the catalogue, by id."""
    from ..models.catalogue import catalogue
    from ..models.find import models_here

    return models_here(), {card.id: card for card in catalogue()}


def _read_card(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return dict(json_of(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"The card {path} cannot be read: {error}.", "Correct it.", code="usage.card") from error
