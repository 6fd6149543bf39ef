"""``deepseg explain``: why a model marks a structure at a place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from ..models.card import DEMO_MODEL
from ..util.words import place_text
from .checks import before_reading
from .console import Console
from .models import obtain
from .options import Channel, Device, Download, Force, Image, Json, Model, Quiet, output_file
from .segment_inputs import channel_files


def explain(
    image: Image,
    output: Annotated[Path, output_file("For the map: .nii.gz, .nrrd or .mha, 0 to 255.")],
    structure: Annotated[str, typer.Option(metavar="NAME", help="Name or title of the structure.")],
    at: Annotated[
        str, typer.Option(metavar="R,A,S", help="The place, in RAS mm. Default: where the structure is thickest.")
    ] = "",
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="gradcam: one pass, coarse. occlusion: some two hundred passes.")
    ] = "gradcam",
    model: Model = DEMO_MODEL,
    channel: Channel = None,
    device: Device = "auto",
    force: Force = False,
    yes: Download = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Show which parts of a CT speak for a structure at a place."""
    from ..io.write import check_suffix, write_array
    from ..models import load_model
    from ..models.input_checks import check_volume
    from ..review.attribution import METHODS, place_in
    from ..review.attribution import explain as run
    from ..segmentation import check_request
    from ..segmentation import segment as segmented
    from ..util.errors import UsageError
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    chosen = next((m for m in METHODS if m == method), None)
    if chosen is None:
        raise UsageError(f"There is no method {method}.", f"Give --method {' or '.join(METHODS)}.", code="usage.method")
    place = _place(at)
    check_suffix(output)
    before_reading(image, file=output, device=device)
    card = obtain(console, model, yes, lambda card: check_request(card, [structure], "standard"))
    files = channel_files(channel or [], card)
    before_reading(*files.values(), file=output)
    with console.working():
        volume = read_volume(image, cancel=console.cancelled)
        channels = {name: read_volume(path, cancel=console.cancelled) for name, path in files.items()}
        warnings = check_volume(volume, card, force)
        told: dict[str, Any] = {
            "device": device,
            "channels": channels,
            "progress": console.progress,
            "cancel": console.cancelled,
        }
        if place is None:
            result = segmented(volume, card, structures=[structure], force=True, **told)
            place = place_in(result.label_map, structure)
        found = run(volume, load_model(card), structure, place, method=chosen, **told)
        write_array(found.array, found.ijk_to_ras, output)
    for sentence in [*volume.warnings, *warnings]:
        console.warning(sentence)
    where = place_text(found.at)
    console.say(f"{card.id} gives {found.structure} a probability of {found.probability:.3f} around {where} (RAS, mm).")
    console.say(f"The map is strongest {found.away_mm:.0f} mm from there.")
    if found.largest is not None:
        console.say(f"Without the part of the image that matters most, it falls by {found.largest:.3f}.")
    console.say(f"Written to {output}.\nResearch use only.")
    console.event(
        "result",
        output=str(output),
        structure=found.structure,
        method=found.method,
        at=list(found.at),
        probability=found.probability,
        largest=found.largest,
        away_mm=round(found.away_mm, 1),
    )


def _place(text: str) -> tuple[float, ...] | None:
    from ..util.errors import UsageError

    if not text:
        return None
    try:
        numbers = tuple(float(number) for number in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--at {text} is not a place.", "Give R,A,S in mm, e.g. --at 95,164,394.", code="usage.place")
    return numbers
