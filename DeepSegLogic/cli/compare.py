"""``deepseg compare``: two time points of a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .checks import before_reading
from .console import Console
from .options import Json, Quiet, given_path, output_folder, path_argument, split


def compare(
    baseline: Annotated[Path, path_argument("BASELINE", "The earlier scan: folder of results, or label map.")],
    followup: Annotated[Path, path_argument("FOLLOWUP", "The later scan, likewise.")],
    output: Annotated[Path, output_folder("For changes.csv, summary.json, transform.tfm, report.html.")],
    baseline_image: Annotated[
        Path | None, given_path("IMAGE", "The earlier CT, for HU, pictures and a better registration.")
    ] = None,
    followup_image: Annotated[Path | None, given_path("IMAGE", "The later CT, likewise.")] = None,
    days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Days between the scans; without it by the dates of DICOM series."),
    ] = None,
    deformable: Annotated[
        bool, typer.Option("--deformable", help="Also follow breathing and bending; takes longer.")
    ] = False,
    lesions: Annotated[
        str, typer.Option(metavar="NAMES", help="Structures whose pieces are lesions; without it by their names.")
    ] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare two scans of a patient: volumes, changes, doubling times, lesions, a registered difference picture."""
    from ..followup import follow_up as run
    from ..followup import read_time_point, write_follow_up
    from ..followup.output import as_json as facts_of
    from ..worker.isolated import read_label_map, read_volume

    console = Console(quiet, as_json)
    before_reading(baseline, followup, baseline_image, followup_image, folder=output)
    with console.working():
        points = [
            read_time_point(
                path,
                ct,
                read_labels=lambda file, scan: read_label_map(file, scan, cancel=console.cancelled),
                read_image=lambda file: read_volume(file, cancel=console.cancelled),
            )
            for path, ct in ((baseline, baseline_image), (followup, followup_image))
        ]
        found = run(
            *points,
            days=days,
            deformable=deformable,
            lesions=split(lesions),
            progress=console.progress,
            cancel=console.cancelled,
        )
        files = write_follow_up(found, output, console.cancelled)
    for sentence in found.warnings:
        console.warning(sentence)
    for one in found.changes:
        console.say(f"{'  ' if one.lesion else ''}{one.full_title}: {one.sentence}")
    if found.interval:
        console.say(found.interval)
    console.say(f"\nWritten to {output}: {', '.join(path.name for path in files)}.")
    console.say("Research use only.")
    console.event("result", output=str(output), files=[path.name for path in files], **facts_of(found))
