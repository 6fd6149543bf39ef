"""``deepseg adapt``: let a model learn from corrected cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..adaptation.lineage import MINUTES
from ..util.errors import Cancelled, UsageError
from ..util.words import size_text
from .checks import before_reading, must_be_one_duration
from .console import Console, somebody_there
from .options import Device, Json, ModelId, Quiet, Steps, Structures, Yes, given_path, path_argument, split

if TYPE_CHECKING:
    from ..adaptation.cases import CorrectedCases
    from ..adaptation.offer import Offer

app = typer.Typer(help="Let a model learn from corrected cases.", no_args_is_help=True)


@app.command()
def add(
    result: Annotated[
        Path, path_argument("RESULT", "Folder of a corrected result of `deepseg segment`, or of several.")
    ],
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="MODEL", help="Id of the model. Default: the one of the result."),
    ] = "",
    image: Annotated[
        Path | None, given_path("IMAGE", "The CT that was segmented, if not in or beside the folder.", "--image", "-i")
    ] = None,
    structures: Structures = "",
    patient: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Whose image it is: any code. Cases of a patient are held out together. "
            "Default: that of patients.csv beside the results, or the DICOM PatientID.",
        ),
    ] = "",
    yes: Yes = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Keep a copy of corrected cases on this machine, for a model to learn from.

    Only the structures that were corrected are learnt, or those that --structures names as right.
    """
    from ..adaptation.cases import CorrectedCases
    from ..adaptation.result_folder import corrected_results
    from ..data.label_grid import SAME_GRID_MM, placed_on
    from ..session.texts import collect_question
    from ..worker.isolated import IsolatedReader

    console = Console(quiet, as_json)
    before_reading(result, image)
    for found in corrected_results(result, image, patient):
        if not (name := model or found.model):
            raise UsageError(f"{found.folder} does not say which model made it.", "Use --model.", code="usage.model")
        cases = CorrectedCases(name)
        with console.working(), IsolatedReader(console.cancelled) as read:
            volume = read.volume(found.image)
            found.check(volume)
            label_map = placed_on(volume, read.label_map(found.labels, found.image), SAME_GRID_MM)
        wanted = split(structures) or found.corrected(label_map, volume)
        names = [label_map.structure(n).name for n in wanted]
        if not (yes or (somebody_there() and typer.confirm(collect_question(str(cases.folder), volume.name, names)))):
            raise Cancelled(
                f"{volume.name} was not collected. It needs your consent: answer the question, or use --yes."
            )
        case = cases.add(volume, label_map, names, found.patient)
        console.say(f"Collected {case.name} ({case.digest[7:19]}) for {cases.model}: {', '.join(case.structures)}.")
        console.event("collected", model=cases.model, digest=case.digest, structures=list(case.structures))


@app.command("list")
def list_cases(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id of a model. Default: all.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the corrected cases on this machine, and new versions that wait for a decision."""
    from rich.markup import escape
    from rich.table import Table

    from ..adaptation.cases import CorrectedCases, collected_models
    from ..adaptation.offer import offered

    console = Console(quiet, as_json)
    table = Table("Model", "Case", "Digest", "Patient", "Collected", "Structures", "Size")
    for name in [model] if model else collected_models():
        cases = CorrectedCases(name)
        for case in cases.all():
            structures = case.damage or ", ".join(case.structures)
            patient = case.patient[7:13] or "not known"
            row = (cases.model, case.name, case.digest[7:19], patient, case.created[:10], structures)
            table.add_row(*map(escape, row), size_text(case.size_bytes))
            console.event(
                "case",
                model=cases.model,
                case=case.name,
                digest=case.digest,
                patient=case.patient,
                structures=list(case.structures),
                damage=case.damage,
                bytes=case.size_bytes,
            )
        if (offer := offered(cases)) is not None:
            _show(console, cases, offer)
    if table.rows:
        console.show(table)
    else:
        console.say("There are no corrected cases on this machine.")


@app.command()
def remove(
    model: ModelId,
    digests: Annotated[
        list[str],
        typer.Argument(metavar="DIGESTS", help="Digests of cases, or how they begin, see `deepseg adapt list`."),
    ],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Delete corrected cases from this machine."""
    from ..adaptation.cases import CorrectedCases

    console, cases = Console(quiet, as_json), CorrectedCases(model)
    for digest in digests:
        cases.remove(digest)
        console.say(f"Deleted {digest}.")
        console.event("removed", model=cases.model, digest=digest)


@app.command()
def run(
    model: ModelId,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, metavar="MINUTES", help=f"To learn. Default: {MINUTES}.")
    ] = None,
    steps: Steps = None,
    device: Device = "auto",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Accept the new version without asking.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Learn from the corrected cases, and compare the new version with the present one. Run again to continue."""
    from ..adaptation.cases import CorrectedCases
    from ..adaptation.fine_tune import adapt

    console, cases = Console(quiet, as_json), CorrectedCases(model)
    must_be_one_duration(minutes, steps)
    with console.working():
        offer = adapt(
            model,
            cases,
            minutes=minutes or MINUTES,
            steps=steps,
            device=device,
            progress=console.progress,
            cancel=console.cancelled,
        )
    _show(console, cases, offer)
    if yes or (somebody_there() and typer.confirm("Use the new version?")):
        _accept(console, offer)
    else:
        console.say(f"Decide with `deepseg adapt accept {model}` or `deepseg adapt discard {model}`.")


@app.command()
def accept(model: ModelId, quiet: Quiet = False, as_json: Json = False) -> None:
    """Install the new version of a model. The present one stays."""
    from ..adaptation.cases import CorrectedCases
    from ..adaptation.offer import the_offer

    _accept(Console(quiet, as_json), the_offer(CorrectedCases(model)))


@app.command()
def discard(model: ModelId, quiet: Quiet = False, as_json: Json = False) -> None:
    """Delete the new version of a model, and what an interrupted run left."""
    from ..adaptation import offer
    from ..adaptation.cases import CorrectedCases

    found = offer.discard(CorrectedCases(model))
    Console(quiet, as_json).say("Discarded." if found else f"{model} has nothing to discard.")


@app.command()
def back(
    model: ModelId,
    to: Annotated[str, typer.Option("--to", metavar="VERSION", help="Default: what the present one came from.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Use an earlier version of an adapted model again. The present one stays on this machine."""
    from ..adaptation.lineage import go_back

    console, card = Console(quiet, as_json), go_back(model, to)
    told = f"Use the model {card.id}" if card.id != model else f"{card.id} is now version {card.version}"
    console.say(f"{told} ({card.title}, version {card.version}).")
    console.event("version", id=card.id, version=card.version)


def _accept(console: Console, offer: Offer) -> None:
    card = offer.accept()
    console.say(f"Installed {card.id}, version {card.version}. Go back with `deepseg adapt back {card.id}`.")
    console.event("version", id=card.id, version=card.version)


def _show(console: Console, cases: CorrectedCases, offer: Offer) -> None:
    from rich.table import Table

    from ..session.texts import offer_rows

    table = Table("Dice", "Structure", "Cases", "Before", "After", title=f"New version of {cases.model}")
    for row in offer_rows(offer):
        table.add_row(*row)
    console.show(table)
    for note in offer.notes:
        console.say(note)
    console.event("offer", model=cases.model, rows=[row.as_json() for row in offer.rows], notes=list(offer.notes))
