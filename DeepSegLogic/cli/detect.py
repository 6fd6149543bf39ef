"""``deepseg detect``: lesions as boxes; ``deepseg evaluate-boxes``: how well they were found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..util.words import counted, place_text
from .checks import before_reading
from .console import Console
from .models import obtain
from .options import (
    Device,
    Download,
    Force,
    Image,
    Json,
    LesionIou,
    Quiet,
    formats,
    output_folder,
    path_argument,
    split,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ..detection.finding import BoxFinding
    from ..detection.metrics import DetectionScores

_MOST_ROWS = 20


def detect(
    image: Image,
    output: Annotated[Path, output_folder("For the findings.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="MODEL", help="Id or folder of a model for detection.")
    ],
    min_score: Annotated[float, typer.Option(metavar="SCORE", help="Leave out findings with less, 0 to 1.")] = 0.3,
    device: Device = "auto",
    kinds: Annotated[str, formats("csv, mrk.json (ROI boxes of 3D Slicer), sr (DICOM report)")] = "csv,mrk.json",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find lesions in a CT as boxes with scores. Centres and sizes are along R, A and S in mm."""
    from ..detection.detect import check_score, require_detection
    from ..detection.detect import detect as run
    from ..detection.detector import must_find_boxes
    from ..detection.output import check_formats, check_source, write_findings
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    require_detection()
    check_score(min_score)
    wanted = split(kinds) or []
    check_formats(wanted)
    before_reading(image, folder=output, device=device)
    card = obtain(console, model, yes, must_find_boxes)
    with console.working():
        console.progress("read", 0.0, image.name)
        volume = read_volume(image, cancel=console.cancelled)
        console.progress("read", 1.0, image.name)
        check_source(wanted, volume)
        found = run(
            volume,
            card,
            min_score=min_score,
            device=device,
            force=force,
            progress=console.progress,
            cancel=console.cancelled,
        )
        if not found.findings and "sr" in wanted:
            wanted.remove("sr")
            found.warnings.append("There is nothing to report, so no DICOM report was written.")
        files = write_findings(found, output, wanted, volume=volume)
    for sentence in found.warnings:
        console.warning(sentence)
    if found.findings:
        console.show(_table(found.findings))
    else:
        console.say(f"No finding has a score of {min_score:g} or more.")
    console.say(f"\nWritten to {output}: {', '.join(path.name for path in files)}\nResearch use only.")
    console.event(
        "result",
        output=str(output),
        files=[path.name for path in files],
        findings=[
            {"kind": f.kind, "score": f.score, "center_ras": f.center_ras, "size_mm": f.size_mm} for f in found.findings
        ],
        warnings=found.warnings,
    )


def evaluate_boxes(
    prediction: Annotated[Path, path_argument("PREDICTION", "Folder with NAME.csv or NAME/findings.csv.")],
    reference: Annotated[
        Path, path_argument("REFERENCE", "The same with the true boxes; an empty table for no lesion.")
    ],
    output: Annotated[Path | None, output_folder("For scores.json, scores.csv and plots.")] = None,
    lesion_iou: LesionIou = 0.1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare found boxes with true ones: FROC, and average precision at IoU 0.1 to 0.5."""
    from ..detection.metrics import score_detections
    from ..detection.score_files import read_tables, write_scores

    console = Console(quiet, as_json)
    before_reading(prediction, reference, folder=output)
    with console.working():
        scores = score_detections(read_tables(prediction), read_tables(reference), lesion_iou)
    if output is not None:
        write_scores(scores, output)
    console.show(_scores_table(scores))
    console.say(
        f"{counted(scores.found, 'finding')}, {counted(scores.lesions, 'lesion')} in {counted(scores.scans, 'scan')}. "
        "Research use only."
    )
    console.event(
        "result",
        scans=scores.scans,
        lesions=scores.lesions,
        found=scores.found,
        average_precision={f"{t:g}": v for t, v in scores.average_precision.items()},
        sensitivity={f"{t:g}": v for t, v in scores.sensitivity.items()},
    )


def _table(findings: list[BoxFinding]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    hidden = len(findings) - _MOST_ROWS
    table = Table(
        *("", "Finding", "Score", "Center R, A, S (mm)", "Size R, A, S (mm)"),
        caption=f"and {hidden} more in findings.csv" if hidden > 0 else None,
    )
    for number, one in enumerate(findings[:_MOST_ROWS], start=1):
        center, size = (place_text(values, 1) for values in (one.center_ras, one.size_mm))
        table.add_row(str(number), escape(one.kind.replace("_", " ")), f"{one.score:.2f}", center, size)
    return table


def _scores_table(scores: DetectionScores) -> Table:
    from rich.table import Table

    table = Table("Measure", "At", "Value")
    for t, value in scores.average_precision.items():
        table.add_row("Average precision", f"IoU {t:g}", f"{value:.3f}")
    table.add_row("Mean average precision", "IoU 0.1 to 0.5", f"{scores.mean_average_precision:.3f}")
    for rate, value in scores.sensitivity.items():
        table.add_row("Lesions found", f"{rate:g} false per scan", f"{value:.3f}")
    return table
