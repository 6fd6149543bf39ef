"""``deepseg detect``: lesions as boxes; ``deepseg evaluate-boxes``: how well they were found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Console, Json, Quiet
from .models import obtain
from .segment import Device, Download, Input, split

if TYPE_CHECKING:
    from rich.table import Table

    from ..detection.finding import BoxFinding
    from ..detection.metrics import DetectionScores

_MOST_ROWS = 20


def detect(
    input: Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the findings.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Id or folder of a model for detection.")],
    min_score: Annotated[float, typer.Option(metavar="SCORE", help="Leave out findings with less, 0 to 1.")] = 0.3,
    device: Device = "auto",
    formats: Annotated[
        str,
        typer.Option("--format", "-f", help="csv, mrk.json (ROI boxes of 3D Slicer), sr (DICOM report)."),
    ] = "csv,mrk.json",
    force: Annotated[bool, typer.Option("--force", help="Search a volume that does not look like a CT.")] = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find lesions in a CT as boxes with scores. Centres and sizes are along R, A and S in mm."""
    from ..detection.detect import detect as run
    from ..detection.detect import require_detection
    from ..detection.output import check_formats, write_findings
    from ..results.folder import check_output_folder
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    require_detection()
    check_output_folder(output)
    card, wanted = obtain(console, model, yes), split(formats) or []
    with console.working():
        console.progress("read", 0.0, input.name)
        volume = read_volume(input, cancel=console.cancelled)
        console.progress("read", 1.0, input.name)
        check_formats(wanted, volume)
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
    found: Annotated[Path, typer.Argument(help="Folder with NAME.csv or NAME/findings.csv.", readable=False)],
    reference: Annotated[
        Path, typer.Argument(help="The same with the true boxes; an empty table for no lesion.", readable=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for scores.json, scores.csv and plots.")
    ] = None,
    iou: Annotated[float, typer.Option(help="IoU from which a finding is a hit for FROC: 0.1 to 0.5.")] = 0.1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare found boxes with true ones: FROC, and average precision at IoU 0.1 to 0.5."""
    from ..detection.metrics import score_detections
    from ..detection.score_files import read_tables, write_scores
    from ..results.folder import check_output_folder

    console = Console(quiet, as_json)
    if output is not None:
        check_output_folder(output)
    with console.working():
        scores = score_detections(read_tables(found), read_tables(reference), iou)
    if output is not None:
        write_scores(scores, output)
    console.show(_scores_table(scores))
    console.say(f"{scores.found} findings, {scores.lesions} lesions in {scores.scans} scans. Research use only.")
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
        center, size = (", ".join(f"{x:.1f}" for x in values) for values in (one.center_ras, one.size_mm))
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
