"""``deepseg cohort``: many CTs in, a folder of results for each out."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ..errors import Cancelled
from ..models.card import DEMO_MODEL
from .console import Console, Json, Quiet
from .models import obtain
from .segment import Device, Download, Force, Model, Quality, Structures, Surfaces, Uncertainty, split


def cohort(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Folders with volumes or DICOM series anywhere below, or files.", readable=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results, one folder per case.")],
    match: Annotated[str, typer.Option(metavar="PATTERN", help="Only volumes like this, e.g. '*/ct.nii.gz'.")] = "",
    model: Model = DEMO_MODEL,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    uncertainty: Uncertainty = False,
    surfaces: Surfaces = "stl",
    workers: Annotated[
        int, typer.Option(min=0, help="Cases at a time on this machine; 0 for one per GPU, or one.")
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a dask scheduler to use instead of this machine.")
    ] = "",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment many CTs. Cases that are done are kept, and one that fails stops no other: start it again to go on."""
    from ..cohort import Settings, find_cases, run_cohort
    from ..pipeline import check_request
    from ..surfaces import check_formats

    console, wanted, formats = Console(quiet, as_json), split(structures), split(surfaces) or []
    check_formats(formats)
    cases = find_cases(inputs, match, leave_out=output)
    card = obtain(console, model, yes)
    check_request(card, wanted, quality)
    name = model if model == card.id else str(Path(model).resolve())
    settings = Settings(output.resolve(), name, wanted, device, quality, formats, uncertainty, force)
    outcomes = []
    with console.working():
        console.progress("cohort", 0.0, f"{len(cases)} cases")
        for outcome in run_cohort(cases, settings, workers=workers, scheduler=scheduler, cancel=console.cancelled):
            outcomes.append(outcome)
            console.progress("cohort", len(outcomes) / len(cases), f"{outcome.case.name}: {outcome.status}")
            console.event("case", **outcome.as_json())
    for outcome in outcomes:
        for sentence in outcome.sentences:
            console.warning(f"{outcome.case.name}: {sentence}")
    counts = Counter(o.status for o in outcomes)
    console.say(f"{', '.join(f'{n} {status}' for status, n in counts.items())}; see {output / 'cohort.csv'}.")
    console.say("Research use only.")
    console.event("result", output=str(output), cases=dict(counts))
    if counts["cancelled"]:
        raise Cancelled(f"Cancelled. {counts['cancelled']} of {len(cases)} cases were not done.")
    if counts["failed"]:
        raise typer.Exit(1)
