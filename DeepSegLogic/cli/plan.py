"""``deepseg plan``: a plan file computed for a segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .checks import before_reading
from .console import Console
from .options import ImageOfLabels, Json, Labels, Quiet, Surfaces, given_path, output_folder, split
from .placed import placed_labels


def plan(
    labels: Labels,
    plan_file: Annotated[Path, given_path("FILE", "Plan: JSON, see Resources/Schemas/plan.schema.json.", "--plan")],
    output: Annotated[Path, output_folder("For numbers, parts and surfaces.")],
    image: ImageOfLabels = None,
    surfaces: Surfaces = "stl",
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also write pictures from all standard views, and a turntable (GIF).")
    ] = False,
    preset: Annotated[
        str,
        typer.Option(
            metavar="PRESET", help="With --pictures: how structures are shown: plan, vessels, remnant or solid."
        ),
    ] = "plan",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compute a plan: distances, margins, resections and approaches, with the parts as structures and surfaces."""
    from ..planning import evaluate_plan, read_plan, write_evaluated
    from ..results.plan_pictures import check_preset, write_pictures
    from ..surfaces import check_formats

    console = Console(quiet, as_json)
    kinds = split(surfaces) or []
    check_formats(kinds)
    check_preset(preset)
    wanted = read_plan(plan_file)
    before_reading(labels, image, folder=output)
    with console.working():
        label_map, _ = placed_labels(console, labels, image)
        before = wanted.checked(label_map).numbers
        if before is not None and before["stale"]:
            console.warning(f"The numbers in {plan_file} are stale: they were made for another segmentation.")
        done = evaluate_plan(wanted, label_map, console.progress, console.cancelled)

        def draw(folder: Path) -> None:
            write_pictures(done, folder / "pictures", preset, progress=console.progress, cancel=console.cancelled)

        told = console.progress, console.cancelled
        files = write_evaluated(done, output, kinds, *told, also=draw if pictures else None)
        if pictures:
            files.append(output / "pictures")
    for note in done.notes:
        console.warning(note)
    numbers = done.plan.numbers or {}
    for resection in numbers.get("resections", []):
        console.say(_sentence(resection, {s.name: s.title or s.name for s in label_map.structures}))
    console.say(f"\nWritten to {output}: {', '.join(path.name for path in files)}. Research use only.")
    console.event("result", output=str(output), files=[path.name for path in files], numbers=numbers)


def _sentence(resection: dict[str, Any], titles: dict[str, str]) -> str:
    from ..planning.texts import resected

    parts = "; ".join(
        f"part {number}{', removed' * part['removed']}: {resected(part['ml'], part['percent'], part['cut'])}"
        for number, part in enumerate(resection["parts"], start=1)
    )
    left = resected(resection["remnant_ml"], resection["remnant_percent"], resection["remnant_cut"])
    return f"{titles[resection['organ']]}, {parts}; remnant: {left}."
