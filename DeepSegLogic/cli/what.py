"""``deepseg what``: what a scan is, before anything is segmented."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Console, Json, Quiet
from .segment import Input

if TYPE_CHECKING:
    from ..data.volume import Volume


def what(
    input: Input,
    segmentation: Annotated[
        Path | None,
        typer.Option(help="Its segmentation: the contrast phase by the HU of structures.", readable=False),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a PNG of the field of view beside a body outline.", readable=False)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tell the body regions, modality and orientation of a scan, and its contrast phase by a segmentation. Hints."""
    from ..classify import what_is
    from ..classify.outline import outline_png
    from ..session.scan_texts import doubts, phase_text, shown
    from ..util.atomic_write import atomic_path
    from ..worker.isolated import read_volume

    console = Console(quiet, as_json)
    with console.working():
        volume = read_volume(input, cancel=console.cancelled)
        scan = what_is(volume)
        phase = _phase_by_rule(console, volume, segmentation) if segmentation is not None else ""
    console.say(f"{scan.modality or 'Unknown modality'}: {shown(scan) or 'unknown region'}")
    for part in reversed(scan.parts):
        console.say(f"  {part.region:<8} S {part.low_mm:.0f} to {part.high_mm:.0f} mm, {part.probability:.0%} sure")
    if segmentation is not None:
        console.say(phase_text(phase))
    for text, remedy in doubts(scan):
        console.warning(f"{text} {remedy}")
    if picture is not None:
        with atomic_path(picture) as path:
            path.write_bytes(outline_png(scan))
        console.say(f"Written to {picture}.")
    rule = {"phase_by_structures": phase} if segmentation is not None else {}
    console.event("result", **scan.as_json(), **rule)
    console.say("Research use only.")


def _phase_by_rule(console: Console, volume: Volume, segmentation: Path) -> str:
    from ..classify.phase_rule import median_hu, phase_from
    from ..data.label_grid import placed_on
    from ..worker.isolated import read_label_map

    label_map = placed_on(volume, read_label_map(segmentation, cancel=console.cancelled))
    return phase_from(median_hu(label_map, volume))
