"""``deepseg measure``: distances, contact and size of structures."""

from __future__ import annotations

from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console, Json, Quiet
from .segment import split

Segmentation = Annotated[
    Path, typer.Argument(help="Label map: NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd.", readable=False)
]


def measure(
    segmentation: Segmentation,
    distance: Annotated[
        str,
        typer.Option(metavar="A,B", help="Smallest distance of two structures: names, titles or label values."),
    ] = "",
    contact: Annotated[str, typer.Option(metavar="A,B", help="Area of A's surface that touches B.")] = "",
    encasement: Annotated[
        str, typer.Option(metavar="TUMOR,VESSEL", help="Largest angle of a vessel that a tumor touches.")
    ] = "",
    within_mm: Annotated[
        float, typer.Option(help="With --contact or --encasement: what counts as touching; 0 for a shared boundary.")
    ] = 0.0,
    distance_map: Annotated[
        str, typer.Option(metavar="A,B", help="Distance to B at each point of A's surface; in colors with --output.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --distance-map: a .vtp file.", readable=False)
    ] = None,
    diameters: Annotated[str, typer.Option(metavar="A", help="Longest diameter, and the longest across it.")] = "",
    thickness: Annotated[str, typer.Option(metavar="A", help="Thickness, as distributed over the surface.")] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure structures of a segmentation, on their closed surfaces. Points are RAS in mm."""
    from .. import planning
    from ..util.errors import UsageError
    from ..worker.isolated import read_label_map

    given = _given(distance=distance, contact=contact, encasement=encasement, distance_map=distance_map)
    pairs = {name: _two(text, name.replace("_", "-")) for name, text in given}
    if not pairs and not diameters and not thickness:
        options = "--distance, --contact, --encasement, --distance-map, --diameters or --thickness"
        raise UsageError("Nothing to measure.", f"Give {options}.")
    console = Console(quiet, as_json)
    found: list[Any] = []
    with console.working():
        label_map = read_label_map(segmentation, cancel=console.cancelled)
        for sentence in label_map.warnings:
            console.warning(sentence)
        if "distance" in pairs:
            found.append(planning.distance(label_map, *pairs["distance"]))
        if "contact" in pairs:
            found.append(planning.contact(label_map, *pairs["contact"], within_mm))
        if "encasement" in pairs:
            found.append(planning.encasement(label_map, *pairs["encasement"], within_mm))
        if "distance_map" in pairs:
            mapped = planning.distance_map(label_map, *pairs["distance_map"])
            if output is not None:
                planning.write_distance_map(mapped, output)
            found.append(mapped)
        if diameters:
            found.append(planning.diameters(label_map, diameters))
        if thickness:
            found.append(planning.thickness(label_map, thickness))
    for note in dict.fromkeys(note for one in found for note in one.notes):
        console.warning(note)
    for one in found:
        console.say(_sentence(one))
        console.event("result", measure=type(one).__name__.lower(), **_numbers(one))
    console.say("Research use only.")


def _numbers(found: Any) -> dict[str, Any]:
    from ..planning import DistanceMap

    if not isinstance(found, DistanceMap):
        return asdict(found)
    bands = [asdict(band) for band in found.bands]
    return {"one": found.one, "other": found.other, "bands": bands, "notes": list(found.notes)}


def _sentence(found: Any) -> str:
    from ..planning import Contact, Distance, DistanceMap, Encasement, Thickness

    if isinstance(found, Distance):
        a, b = (" ".join(f"{x:.1f}" for x in place) for place in found.points_ras)
        return f"{found.one} to {found.other}: {found.distance_mm:.1f} mm, from ({a}) to ({b})."
    if isinstance(found, Thickness):
        range_ = f"5 to 95 % of the surface: {found.thin_mm:.1f} to {found.thick_mm:.1f} mm"
        return f"{found.structure}: median thickness {found.median_mm:.1f} mm; {range_}."
    if isinstance(found, DistanceMap):
        shares = accumulate(band.percent for band in found.bands)
        parts = [f"{s:.1f} % within {b.to_mm:g} mm" for b, s in zip(found.bands, shares, strict=True) if b.to_mm]
        return f"{found.one} to {found.other}: {', '.join(parts)}."
    if isinstance(found, Contact):
        near = f"within {found.within_mm:g} mm of" if found.within_mm else "touching"
        return f"{found.one}: {found.area_mm2:.0f} mm² {near} {found.other}, {found.percent:.1f} % of its surface."
    if isinstance(found, Encasement):
        return f"{found.tumor} encases {found.degrees:.0f}° of {found.vessel}."
    return f"{found.structure}: {found.longest_mm:.1f} mm × {found.perpendicular_mm:.1f} mm."


def _given(**options: str) -> list[tuple[str, str]]:
    return [(name, text) for name, text in options.items() if text]


def _two(text: str, option: str) -> tuple[str, str]:
    from ..util.errors import UsageError

    names = split(text) or []
    if len(names) != 2:
        raise UsageError(
            f"--{option} {text!r} does not name two structures.", f"Write it as --{option} liver,portal_vein."
        )
    return names[0], names[1]
