"""``deepseg surfaces``: organ models from any label map."""

from pathlib import Path
from typing import Annotated

import typer

from .console import Console, Json, Quiet
from .segment import Structures, split


def surfaces(
    labels: Annotated[
        Path, typer.Argument(help="Label map: NIfTI, NRRD, MetaImage, or Slicer's .seg.nrrd.", readable=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the surfaces.")],
    structures: Structures = "",
    formats: Annotated[
        str, typer.Option("--format", "-f", help="stl, ply, obj, vtp, glb, 3mf; commas between.")
    ] = "stl",
    smoothing: Annotated[str, typer.Option(help="none, light, standard or strong.")] = "standard",
    max_error_mm: Annotated[
        float | None, typer.Option(help="Simplify, changing the surface by no more than this.")
    ] = None,
    triangles: Annotated[int | None, typer.Option(help="Simplify each surface to about so many triangles.")] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="One file with all structures, which share boundaries also when simplified.")
    ] = False,
    printable: Annotated[
        bool, typer.Option("--printable", help="Fill cavities, drop small loose pieces, mend crossing triangles.")
    ] = False,
    min_piece_ml: Annotated[float, typer.Option(help="With --printable: pieces under this are small.")] = 0.1,
    min_wall_mm: Annotated[
        float | None, typer.Option(help="With --printable: thicken what is thinner than this, in whole voxels.")
    ] = None,
    coordinates: Annotated[str, typer.Option(help="LPS or RAS.")] = "LPS",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make closed, gap-free surfaces of a label map's structures, and say how true they are to it."""
    from ..errors import InputError, UsageError
    from ..io import read_label_map
    from ..io.atomic import atomic_folder
    from ..outputs import check_output_folder
    from ..progress import check
    from ..surfaces import check_formats, write_surfaces

    if min_wall_mm is not None and not printable:
        raise UsageError("--min-wall-mm is for printing.", "Add --printable.", code="usage.print")
    console = Console(quiet, as_json)
    kinds = split(formats) or []
    check_formats(kinds)
    check_output_folder(output)
    with console.working():
        label_map = read_label_map(labels)
        for sentence in label_map.warnings:
            console.warning(sentence)
        if not label_map.array.any():
            raise InputError(f"{labels} is empty: it has no labelled voxel.", "Give another one.", code="input.empty")
        with atomic_folder(output) as temporary:
            made = write_surfaces(
                label_map,
                temporary,
                kinds,
                structures=split(structures),
                smoothing=smoothing,
                max_error_mm=max_error_mm,
                triangles=triangles,
                joint=joint,
                printable=printable,
                min_wall_mm=min_wall_mm,
                min_piece_ml=min_piece_ml,
                coordinates=coordinates,
                progress=console.progress,
                cancel=console.cancelled,
            )
            check(console.cancelled)
    qualities = made.qualities
    for name, quality in qualities.items():
        if not quality.sound:
            console.warning(f"The surface of {name} is not a closed solid; see surfaces.json.")
    if not joint and (max_error_mm is not None or triangles is not None):
        console.say("Simplified one by one: neighbours may gape by the error. With --joint they stay shared.")
    console.show(_table(made))
    console.say(f"\nWritten to {output}: {len(made.files)} files, surfaces.json among them. Research use only.")
    console.event(
        "result",
        output=str(output),
        files=[path.name for path in made.files],
        surfaces={n: q.as_json() for n, q in qualities.items()},
    )


def _table(made):
    from rich.markup import escape
    from rich.table import Table

    table = Table("Structure", "Triangles", "Volume (ml)", "Drift (%)", "95 % within (mm)", "Solid")
    for surface in made.surfaces:
        q = made.qualities[surface.structure.name]
        within = max(q.to_mask_mm[1], q.from_mask_mm[1])
        numbers = (f"{q.triangles}", f"{q.mesh_ml:.1f}", f"{q.drift_percent:+.2f}", f"{within:.2f}")
        table.add_row(escape(surface.structure.title), *numbers, "yes" if q.sound else "no")
    for column in table.columns[1:]:
        column.justify = "right"
    return table
