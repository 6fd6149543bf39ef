"""``deepseg report``: a result as one HTML file, with a drafted text if a language model is set up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..util.errors import UsageError
from .checks import before_reading, must_end
from .console import Console
from .options import ImageOfLabels, Json, Quiet, given_path, output_file, path_argument

if TYPE_CHECKING:
    from ..data.volume import Volume
    from ..planning import Plan


def report(
    result: Annotated[Path, path_argument("RESULT", "Folder of results, from `deepseg segment`.")],
    image: ImageOfLabels = None,
    output: Annotated[Path, output_file("For the report: HTML.")] = Path("report.html"),
    plan: Annotated[Path | None, given_path("FILE", "Plan of an operation, for a planning page: JSON.")] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Let the language model of `deepseg drafting` word the findings.")
    ] = False,
    changes: Annotated[
        Path | None, given_path("FOLDER", "Folder of `deepseg compare`, whose changes the draft words, too.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write one HTML file with 3D model, slices and table, which any browser opens offline."""
    from ..planning import read_plan
    from ..results.report import write_report
    from ..worker.isolated import read_label_map, read_volume

    if changes is not None and not draft:
        raise UsageError("--changes is given without --draft.", "Give both.", code="usage.option")
    console = Console(quiet, as_json)
    must_end(output, ".html")
    planned = read_plan(plan) if plan is not None else None
    before_reading(result, image, plan, changes, file=output)
    volume = read_volume(image, cancel=console.cancelled) if image is not None else None
    if draft:
        _draft(console, result, image, volume, planned, changes)
    notes = write_report(result, output, lambda path: read_label_map(path, image), planned, volume)
    for note in notes:
        console.warning(note)
    if notes and image is None:
        console.warning("Give the CT with --image to have them.")
    size = output.stat().st_size
    console.say(f"Written to {output} ({size / 1e6:.1f} MB). Research use only.")
    console.event("result", output=str(output), bytes=size)


def _draft(
    console: Console,
    folder: Path,
    image: Path | None,
    volume: Volume | None,
    plan: Plan | None,
    changes: Path | None,
) -> None:
    from ..drafting.endpoint import the_endpoint
    from ..drafting.result_folder import draft_report
    from ..worker.isolated import read_label_map

    endpoint = the_endpoint()
    if endpoint.warning:
        console.warning(endpoint.warning)
    with console.working():
        made = draft_report(
            folder,
            endpoint,
            plan=plan,
            changes=changes,
            volume=volume,
            read=lambda path: read_label_map(path, image, cancel=console.cancelled),
            progress=console.progress,
            cancel=console.cancelled,
        )
    console.say(f"{made.mark}\n\n{made.text}\n")
    console.event("draft", mark=made.mark, text=made.text)
    for note in made.notes:
        console.warning(note)
