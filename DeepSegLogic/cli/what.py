"""``deepseg what``: what a scan is, before anything is segmented."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ..util.words import number_text
from .checks import before_reading, must_end
from .console import Console
from .options import Image, Json, Quiet, given_path

if TYPE_CHECKING:
    from ..data.volume import Volume


def what(
    image: Image,
    labels: Annotated[
        Path | None, given_path("LABELS", "Its label map: the contrast phase by the HU of structures.")
    ] = None,
    picture: Annotated[
        Path | None, given_path("FILE", "Write a PNG of the field of view beside a body outline.")
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
    if picture is not None:
        must_end(picture, ".png")
    before_reading(image, labels, file=picture)
    with console.working():
        volume = read_volume(image, cancel=console.cancelled)
        scan = what_is(volume)
        phase = _phase_by_rule(console, volume, image, labels) if labels is not None else ""
    console.say(f"{scan.modality or 'Unknown modality'}: {shown(scan) or 'unknown region'}")
    for part in reversed(scan.parts):
        span = f"S {number_text(part.low_mm)} to {number_text(part.high_mm)} mm"
        console.say(f"  {part.region:<8} {span}, {part.probability:.0%} sure")
    if labels is not None:
        console.say(phase_text(phase))
    for text, remedy in doubts(scan):
        console.warning(f"{text} {remedy}")
    if picture is not None:
        with atomic_path(picture) as path:
            path.write_bytes(outline_png(scan))
        console.say(f"Written to {picture}.")
    rule = {"phase_by_structures": phase} if labels is not None else {}
    console.event("result", **scan.as_json(), **rule)
    console.say("Research use only.")


def _phase_by_rule(console: Console, volume: Volume, image: Path, labels: Path) -> str:
    from ..classify.phase_rule import median_hu, phase_from
    from ..data.label_grid import placed_on
    from ..worker.isolated import read_label_map

    label_map = placed_on(volume, read_label_map(labels, image, cancel=console.cancelled))
    return phase_from(median_hu(label_map, volume))
