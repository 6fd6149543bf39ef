"""``deepseg evaluate``: label maps against reference label maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import before_reading
from .console import Console
from .options import (
    ImageOfLabels,
    Json,
    LesionIou,
    Match,
    Quiet,
    Structures,
    given_path,
    output_folder,
    path_argument,
    split,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ..evaluation.evaluation import Evaluation
    from ..evaluation.statistics import Summary

_SHOWN = ("dice", "surface_dice", "hd95_mm", "assd_mm", "volume_error_percent")


def evaluate(
    prediction: Annotated[Path, path_argument("PREDICTION", "Label map, folder of results, or folder of several.")],
    reference: Annotated[Path, path_argument("REFERENCE", "Label map, or folder with the same names.")],
    image: ImageOfLabels = None,
    output: Annotated[Path | None, output_folder("For metrics.csv, summary.json and report.html.")] = None,
    structures: Structures = "",
    match: Match = "",
    by_value: Annotated[
        bool, typer.Option("--by-value", help="Match structures by label value instead of by name.")
    ] = False,
    tubular: Annotated[
        str, typer.Option(metavar="NAMES", help="Structures with clDice; without it vessels, airways, spinal cord.")
    ] = "",
    tolerance_mm: Annotated[float, typer.Option(metavar="MM", help="Tolerance of the surface Dice.")] = 3.0,
    lesion_iou: LesionIou = 0.1,
    groups: Annotated[
        Path | None, given_path("FILE", "CSV with the case in the first column and attributes such as sex.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare segmentations with reference segmentations: Dice, surface distances, volumes, detection, calibration."""
    from ..evaluation.evaluation import evaluate as run
    from ..evaluation.output import as_json as facts_of
    from ..evaluation.output import write_evaluation
    from ..evaluation.report import notes
    from ..evaluation.statistics import read_attributes, summarize
    from ..worker.isolated import read_label_map

    console = Console(quiet, as_json)
    before_reading(prediction, reference, image, groups, folder=output)
    attributes = read_attributes(groups) if groups else {}
    with console.working():
        found = run(
            prediction,
            reference,
            structures=split(structures),
            match=match,
            by_value=by_value,
            tubular=split(tubular),
            tolerance_mm=tolerance_mm,
            lesion_iou=lesion_iou,
            attributes=attributes,
            read=lambda path: read_label_map(path, image, cancel=console.cancelled),
            progress=console.progress,
            cancel=console.cancelled,
        )
        summary = summarize(found)
        files = write_evaluation(found, output, summary) if output is not None else []
    for sentence in notes(found):
        console.warning(sentence)
    console.show(_table(found, summary))
    for gap in summary.gaps[:1]:
        title = found.titles.get(gap.structure, gap.structure)
        console.say(f"Largest gap: {title} by {gap.attribute}, Dice {gap.difference:.3f} ({gap.better} − {gap.worse}).")
    if output is not None:
        console.say(f"\nWritten to {output}: {', '.join(path.name for path in files)}.")
    console.say("Research use only.")
    console.event("result", output=str(output or ""), files=[p.name for p in files], **facts_of(found, summary))
    if found.failed:
        raise typer.Exit(1)


def _table(found: Evaluation, summary: Summary) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.metrics import METRICS
    from ..evaluation.report import worded

    columns = [METRICS[name] for name in _SHOWN]
    table = Table("Structure", "Cases", *(m.title.replace(" ", "\n") for m in columns))
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for name, means in summary.means.items():
        cases = summary.counts[name].cases if name in summary.counts else len(found.cases)
        dice, *others = columns
        cells = [worded(means[dice.name], dice.digits)]
        cells += [f"{means[m.name].mean:.{m.digits}f}" if means[m.name].n else "" for m in others]
        table.add_row(escape(found.titles.get(name, name.capitalize())), str(cases), *cells)
    return table
