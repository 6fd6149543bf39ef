"""``deepseg train``: from labelled images to a model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..util.errors import Cancelled, UsageError
from ..util.words import counted
from .checks import before_reading, must_be_one_duration
from .console import Console, as_typed
from .federated import (
    Address,
    Certificate,
    Clip,
    Federated,
    Key,
    Noise,
    Proximal,
    Role,
    Rounds,
    Sites,
    WaitMinutes,
    run_server,
    run_site,
)
from .options import Batch, Device, Json, Minutes, Patch, Quiet, Spacing, Steps, output_folder, path_argument
from .train_views import PICTURES, cases_table, folds_table, held_out_line, pictures, plan_lines, plan_table

if TYPE_CHECKING:
    from ..training.checks import Report
    from ..training.folds import Fold
    from ..training.optimization import Outcome
    from ..training.regions import Regions

_MINUTES = 60.0
_LARGEST_WEIGHT = 1000


def train(
    data: Annotated[
        Path,
        path_argument(
            "DATA",
            "nnU-Net's raw folder, results of `deepseg segment`, a folder of image and label files, 3D Slicer's "
            "scenes (.mrb), or a CSV.",
        ),
    ],
    output: Annotated[Path, output_folder("For the model.")],
    network: Annotated[
        str, typer.Option(metavar="NETWORK", help="unet, resenc, …; docs/networks.md compares them.")
    ] = "",
    fusion: Annotated[
        str,
        typer.Option(
            metavar="FUSION",
            help="Of several images: early (as channels), middle (an encoder each), late (a network each, averaged) or "
            "vote (a network each, one vote each).",
        ),
    ] = "early",
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Id or folder of a model to begin with, or folder of `deepseg pretrain`; its network is kept.",
        ),
    ] = "",
    minutes: Minutes = None,
    steps: Steps = None,
    device: Device = "auto",
    loss: Annotated[
        str, typer.Option(metavar="LOSS", help="dice-ce, dice, ce, focal, dice-focal, tversky, cldice or boundary.")
    ] = "dice-ce",
    optimizer: Annotated[str, typer.Option(metavar="OPTIMIZER", help="adamw, or sgd for long trainings.")] = "adamw",
    spacing: Spacing = "",
    patch: Patch = "",
    batch: Batch = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FACTOR", help="How much a structure counts in the loss. Repeat for several."),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Cross-validate with this number of folds; the model is an ensemble of them."
        ),
    ] = 0,
    fold: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="With --folds: train only this one, from 0.")
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of the model, for its card.")] = "",
    citation: Annotated[str, typer.Option(metavar="TEXT", help="Whom to cite for the model, for its card.")] = "",
    federated: Role = "",
    address: Address = Federated.address,
    rounds: Rounds = Federated.rounds,
    sites: Sites = Federated.sites,
    wait_minutes: WaitMinutes = Federated.wait_minutes,
    proximal: Proximal = Federated.proximal,
    certificate: Certificate = None,
    key: Key = None,
    clip: Clip = None,
    noise: Noise = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the data and show the plan only.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled images. Run again with the same output to continue after any stop."""
    from ..inference.device import choose_device
    from ..models.find import find_model
    from ..training.beginnings import regions_in
    from ..training.encoder import is_encoder, read_encoder
    from ..training.folds import check_fold, check_folds, cross_validate
    from ..training.loop import CHECKPOINT
    from ..training.optimization import Options
    from ..training.parallel import Ranks, several
    from ..training.planning import DEFAULT_NETWORK, plan_training
    from ..training.recipe import Recipe
    from ..training.run import budget, check_output, check_recipe, rate_for, require_packages, train_recipe, work_folder
    from ..training.transfer import begin_with

    first = Ranks.of_torchrun().is_first
    console = Console(quiet or not first, as_json and first)
    must_be_one_duration(minutes, steps)
    _check_names(loss, optimizer, fusion)
    if begin and (network or spacing or patch or fusion != "early"):
        raise UsageError(
            "--from keeps the model's network, fusion, spacing and patch.",
            "Leave out --network, --fusion, --spacing and --patch.",
            code="usage.option",
        )
    if fold is not None and not folds:
        raise UsageError("--fold is given without --folds.", "Give the number of folds, too.", code="usage.option")
    check_fold(folds, fold)
    shared = Federated(
        federated, address, rounds, sites, wait_minutes, proximal, certificate, key, clip, noise, steps or 100
    )
    pretrained = bool(begin) and is_encoder(Path(begin))
    decided: dict[str, object] = {
        "--minutes": minutes,
        "--folds": folds,
        "--weight": weight,
        "--from": begin and not pretrained,
    }
    if federated == "client":
        decided |= {"--steps": steps, "--network": network, "--from": begin, "--spacing": spacing, "--patch": patch}
        decided |= {"--batch": batch, "--licence": licence, "--citation": citation}
    shared.check([name for name, value in decided.items() if value])
    chosen = choose_device(device)
    require_packages(network or DEFAULT_NETWORK)
    factors(weight or [])
    rights = _rights(licence=licence, citation=citation)
    before_reading(data)
    card = find_model(begin) if begin and not pretrained else None
    voxel, edges, given = numbers(spacing, "--spacing"), numbers(patch, "--patch"), budget(chosen)
    if (folds or federated) and Ranks.of_torchrun().size > 1:
        raise UsageError("torchrun is for one training.", "Leave it, or --folds and --federated.", code="usage.option")
    if first and not dry_run and federated != "client":  # others would see what it writes there for a try
        check_output(output, *work_folder(output).rglob(CHECKPOINT))
    with several(chosen) as (ranks, chosen), console.working():
        regions = regions_in(card) if card is not None else None
        report = check_data(console, data, work_folder(output), ranks.is_first, regions)
        console.show(cases_table(report))
        console.say(f"A picture of each case: {work_folder(output) / PICTURES}.")
        for sentence in report.warnings if first else ():
            console.warning(sentence)
        report.raise_first()
        if federated == "client":  # the plan is the server's
            return None if dry_run else run_site(console, shared, report, output, chosen)
        weights = factors(weight or [], report)
        origin = begin_with(card, report, batch or 2) if card is not None else None
        encoder = read_encoder(Path(begin), report, batch) if pretrained else None
        beginning = origin or encoder
        plan = (
            beginning.plan
            if beginning is not None
            else plan_training(
                report,
                network or DEFAULT_NETWORK,
                memory_gb=given.memory_gb,
                width=given.width,
                spacing=voxel,
                patch=edges,
                batch=batch,
                fusion=fusion,
            )
        )
        seconds = None if steps is not None else 60 * (minutes or _MINUTES)
        rate = rate_for(plan.network, optimizer)
        options = Options(steps=steps, seconds=seconds, optimizer=optimizer, rate=rate)
        recipe = Recipe(
            report, plan, options, origin, loss=loss, weights=weights, device=chosen, encoder=encoder, rights=rights
        )
        lines = plan_lines(plan, report)
        if not federated:
            lines.append(held_out_line(report.patients, check_folds(recipe, folds, fold) if folds else None))
        console.show(plan_table(lines))
        console.event("plan", **dict(lines))
        check_recipe(recipe)
        if dry_run:
            return
        if federated:
            return run_server(console, shared, recipe, output)
        progress, cancel = console.progress, console.cancelled
        if folds:
            done = cross_validate(recipe, output, folds, fold, progress=progress, cancel=cancel)
            outcomes = [part.outcome for part in done]
        else:
            done, outcomes = [], [train_recipe(recipe, output, progress=progress, cancel=cancel, ranks=ranks)]
    if first:
        _tell(console, output, report, outcomes, done)
    if outcomes[-1].stopped:
        raise Cancelled("Stopped. The best network so far was written; the same command continues the training.")


def _rights(**given: str) -> dict[str, str]:
    """What is given for the card of the model.

    Raises:
        UsageError: a card cannot hold it.
    """
    from ..models.card import ModelCard

    rights = {name: text for name, text in given.items() if text}
    try:
        ModelCard.from_json({"id": "model", "title": "model", **rights})
    except ValueError as error:
        raise UsageError(
            f"The card of a model cannot hold the {error}.",
            "Give it as one short line, without tabs.",
            code="usage.option",
        ) from error
    return rights


def _check_names(loss: str, optimizer: str, fusion: str) -> None:
    from ..networks.fusion import FUSIONS
    from ..training.losses import LOSSES
    from ..training.optimization import OPTIMIZERS

    for value, known, what in (
        (loss, LOSSES, "loss"),
        (optimizer, OPTIMIZERS, "optimizer"),
        (fusion, FUSIONS, "fusion"),
    ):
        if value not in known:
            raise UsageError(
                f"There is no {what} {value!r}.", f"Choose one of {', '.join(known)}.", code="usage.option"
            )


def _tell(console: Console, output: Path, report: Report, outcomes: Sequence[Outcome], folds: Sequence[Fold]) -> None:
    """Say how a training ended."""
    from ..training.folds import SCORES
    from ..training.run import work_folder

    outcome, warnings = outcomes[-1], [sentence for one in outcomes for sentence in one.warnings]
    for sentence in warnings:
        console.warning(sentence)
    if folds:
        console.show(folds_table(folds))
        console.say(f"Dice of each case: {work_folder(output) / SCORES}.")
    else:
        dice = f", Dice {outcome.dice:.3f} on held-out patches" if outcome.dice is not None else ""
        console.say(f"\n{counted(outcome.step, 'step')}, loss {outcome.loss:.3f}{dice}.")
    console.say(f"Model: {output}. Use it with `deepseg segment IMAGE -o FOLDER -m {as_typed(output)}`.")
    console.say(f"Checkpoint, curves and prepared images (patients' data): {work_folder(output)}.")
    console.event(
        "result",
        output=str(output),
        steps=outcome.step,
        loss=outcome.loss,
        dice=outcome.dice,
        folds={part.number: part.means() for part in folds},
        warnings=[*report.warnings, *warnings],
    )


def factors(given: list[str], report: Report | None = None) -> dict[str, float]:
    """Weights of structures from ``NAME=FACTOR``.

    Args:
        report: of the data with these structures; None if it is not read yet.

    Raises:
        UsageError: one is not of this form, or there is no such structure.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        known = [name] if report is None else report.structures
        if not 0 < found[name] <= _LARGEST_WEIGHT or name not in known:
            names = "" if report is None else f", of: {', '.join(known)}"
            raise UsageError(
                f"--weight {text} cannot be used.",
                f"Give NAME=FACTOR, a factor up to {_LARGEST_WEIGHT}{names}.",
                code="usage.weight",
            )
    return found


def check_data(console: Console, data: Path, work: Path, draw: bool = True, regions: Regions | None = None) -> Report:
    """Find and check the cases of a data set, and draw them in the folder of the training.

    Args:
        regions: structures of the model to begin with, if they overlap.
    """
    from ..training.checks import check_cases
    from ..training.dataset import find_cases, modality_of
    from ..training.dataset_json import channel_names

    cases = [replace(files, model=regions) for files in find_cases(data)]
    modality, channels = modality_of(data), channel_names(data)
    with pictures(work) if draw else nullcontext() as show:
        return check_cases(cases, modality, console.progress, console.cancelled, show, channels)


def numbers(text: str, option: str) -> list[float] | None:
    """The numbers in ``"3, 1.5, 1.5"``, one number for all three axes; None for an empty text.

    Raises:
        UsageError: these are not one or three numbers.
    """
    if not text.strip():
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 3):
        raise UsageError(f"{option} {text} is not one or three numbers.", "Give Z,Y,X.", code="usage.numbers")
    return values * 3 if len(values) == 1 else values
