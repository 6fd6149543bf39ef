"""``deepseg cohort``: segment many CTs, each into a folder of results."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ..models.card import DEMO_MODEL
from ..util.errors import Cancelled, UsageError
from .console import Console, Json, Quiet
from .models import obtain
from .remedies import WORDS
from .segment import Device, Download, Force, MinPiece, Model, Quality, Structures, Surfaces, Uncertainty, split


def cohort(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Folders, searched for volumes and DICOM series, or files.", readable=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results, with one folder per case.")],
    match: Annotated[str, typer.Option(metavar="PATTERN", help="Only volumes that match, e.g. '*/ct.nii.gz'.")] = "",
    model: Model = DEMO_MODEL,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    uncertainty: Uncertainty = False,
    min_piece: MinPiece = 0.0,
    surfaces: Surfaces = "stl",
    skip_elsewhere: Annotated[
        bool, typer.Option("--skip-elsewhere", help="Skip scans of other parts of the body than the structures'.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Cases at the same time on this machine; 0: one per GPU, or one.")
    ] = 0,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Dask scheduler to use instead of this machine.")
    ] = "",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment many CTs. A failed case does not stop the others. Run again to resume: finished cases are kept."""
    from ..cohort.case import Outcome, Settings
    from ..cohort.cases import find_cases
    from ..cohort.runner import run_cohort
    from ..segmentation import check_request
    from ..surfaces import check_formats

    console, wanted, formats = Console(quiet, as_json), split(structures), split(surfaces) or []
    check_formats(formats)
    cases = find_cases(inputs, match, leave_out=output)
    card = obtain(console, model, yes)
    check_request(card, wanted, quality)
    if card.channels:
        raise UsageError(
            f"The model {card.id} needs a volume for each of {', '.join(card.channels)}, but a case has one.",
            "Segment the cases one by one with `deepseg segment --channel`.",
            code="usage.channel",
        )
    name = model if model == card.id else str(Path(model).resolve())
    settings = Settings(
        output.resolve(), name, wanted, device, quality, formats, uncertainty, force, min_piece, skip_elsewhere
    )
    outcomes: list[Outcome] = []
    with console.working():
        console.progress("cohort", 0.0, f"{len(cases)} cases")
        for ended in run_cohort(cases, settings, workers=workers, scheduler=scheduler, cancel=console.cancelled):
            outcome = ended.in_words(WORDS)
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
        raise Cancelled(f"Cancelled. {counts['cancelled']} of {len(cases)} cases were not finished.")
    if counts["failed"]:
        raise typer.Exit(1)
