"""``deepseg surfaces``: organ models from any label map."""

from pathlib import Path
from typing import Annotated

import typer

from .console import Console, Json, Quiet
from .segment import Structures, split


def surfaces(
    labels: Annotated[Path, typer.Argument(help="Label map: NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the surfaces.")],
    structures: Structures = "",
    formats: Annotated[
        str, typer.Option("--format", "-f", help="stl, ply, obj, vtp, glb, 3mf; commas between.")
    ] = "stl",
    smoothing: Annotated[str, typer.Option(help="none, light, standard or strong.")] = "standard",
    max_error_mm: Annotated[
        float | None, typer.Option(help="Simplify, changing the surface by no more than this.")
    ] = None,
    triangles: Annotated[int | None, typer.Option(help="Simplify each surface to so many triangles.")] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="One file with all structures instead of one for each.")
    ] = False,
    coordinates: Annotated[str, typer.Option(help="LPS or RAS.")] = "LPS",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make closed, gap-free surfaces of a label map's structures, and say how true they are to it."""
    from ..errors import InputError, UsageError
    from ..io import read_label_map
    from ..io.atomic import atomic_folder
    from ..outputs import check_output_folder
    from ..surfaces import check_formats, export_surfaces, extract_surfaces
    from ..surfaces.export import write_quality
    from ..surfaces.quality import check_surface
    from ..surfaces.simplify import simplify_surfaces

    console = Console(quiet, as_json)
    kinds = split(formats) or []
    check_formats(kinds)
    if max_error_mm is not None and triangles is not None:
        raise UsageError(
            "Both a largest error and a number of triangles are given.", "Give one of them.", code="usage.simplify"
        )
    check_output_folder(output)
    with console.working():
        label_map = read_label_map(labels)
        if not label_map.array.any():
            raise InputError(f"{labels} is empty: it has no labelled voxel.", "Give another one.", code="input.empty")
        found = extract_surfaces(
            label_map, split(structures), smoothing=smoothing, progress=console.progress, cancel=console.cancelled
        )
        if max_error_mm is not None or triangles is not None:
            console.progress("simplify", 0.0, "")
            found = simplify_surfaces(found, max_error_mm=max_error_mm, triangles=triangles)
            console.progress("simplify", 1.0, "")
        qualities = {}
        for done, surface in enumerate(found):
            console.progress("check", done / len(found), surface.structure.title)
            qualities[surface.structure.name] = check_surface(surface, label_map)
        console.progress("check", 1.0, "")
        with atomic_folder(output) as temporary:
            names = [p.name for p in export_surfaces(found, temporary, kinds, coordinates.upper(), joint)]
            write_quality(qualities, temporary / "surfaces.json")
    for name, quality in qualities.items():
        if not quality.sound:
            console.warning(f"The surface of {name} is not a closed solid; see surfaces.json.")
    if max_error_mm is not None or triangles is not None:
        console.say("Simplified one by one: boundaries that structures share may gape by the error.")
    console.show(_table(found, qualities))
    console.say(f"\nWritten to {output}: surfaces.json and {len(names)} files. Research use only.")
    console.event(
        "result",
        output=str(output),
        files=[*names, "surfaces.json"],
        surfaces={n: q.as_json() for n, q in qualities.items()},
    )


def _table(found, qualities):
    from rich.table import Table

    table = Table("Structure", "Triangles", "Volume (ml)", "Drift (%)", "95 % within (mm)", "Solid")
    for surface in found:
        q = qualities[surface.structure.name]
        within = max(q.to_mask_mm[1], q.from_mask_mm[1])
        numbers = (f"{q.triangles}", f"{q.mesh_ml:.1f}", f"{q.drift_percent:+.2f}", f"{within:.2f}")
        table.add_row(surface.structure.title, *numbers, "yes" if q.sound else "no")
    for column in table.columns[1:]:
        column.justify = "right"
    return table
