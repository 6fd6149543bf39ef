"""``deepseg stress``: how much a model loses when its image is perturbed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..models.card import DEMO_MODEL
from .checks import before_reading, must_end
from .console import Console
from .models import obtain
from .options import (
    Device,
    Download,
    Force,
    Image,
    Json,
    Model,
    Quality,
    Quiet,
    Structures,
    output_file,
    path_argument,
    split,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ..data.label_map import LabelMap
    from ..data.volume import Volume


def stress(
    image: Image,
    reference: Annotated[Path, path_argument("REFERENCE", "Label map of the volume, on its grid.")],
    output: Annotated[Path | None, output_file("For the Dice by structure: CSV.")] = None,
    model: Model = DEMO_MODEL,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment a CT with noise, blur, thick slices, metal and the like, and report the drop in Dice."""
    from ..evaluation.stress import mean_drops, stress_test, write_stress
    from ..models import load_model
    from ..segmentation import check_request, check_volume
    from ..segmentation import segment as run
    from ..worker.isolated import IsolatedReader

    console = Console(quiet, as_json)
    wanted = split(structures)
    if output is not None:
        must_end(output, ".csv")
    before_reading(image, reference, file=output, device=device)
    card = obtain(console, model, yes, lambda card: check_request(card, wanted, quality))
    with console.working():
        with IsolatedReader(console.cancelled) as read:
            volume, truth = read.volume(image), read.label_map(reference, image)
        check_volume(volume, card, force)
        loaded = load_model(card)

        def segmented(perturbed: Volume) -> LabelMap:
            options: dict[str, Any] = {"structures": wanted, "device": device, "quality": quality, "force": True}
            return run(perturbed, loaded, cancel=console.cancelled, **options).label_map

        scores = stress_test(volume, truth, segmented, progress=console.progress, cancel=console.cancelled)
        if output is not None:
            write_stress(scores, output)
    rows = mean_drops(scores)
    for sentence in [*volume.warnings, *truth.warnings]:
        console.warning(sentence)
    console.show(_table(rows))
    if output is not None:
        console.say(f"\nWritten to {output}.")
    console.say("Research use only.")
    console.event("result", output=str(output or ""), perturbations=rows)


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("Perturbation", "Level", "Dice", "Drop", "Largest drop")
    for column in table.columns[1:4]:
        column.justify = "right"
    for row in rows:
        level = f"{row['level']:g} {row['unit']}"
        worst = f"{row['worst_drop']:.3f} {row['worst']}"
        table.add_row(row["perturbation"], level, f"{row['dice']:.3f}", f"{row['drop']:.3f}", escape(worst))
    return table
