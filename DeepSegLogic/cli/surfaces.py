"""``deepseg surfaces``: organ models from a label map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..surfaces.formats import FORMATS
from ..util.words import counted
from .checks import before_reading
from .console import Console
from .on_server import connected
from .options import ImageOfLabels, Json, Labels, Quiet, Server, Structures, formats, output_folder, split

if TYPE_CHECKING:
    from rich.table import Table

    from ..surfaces.export import WrittenSurfaces


def surfaces(
    labels: Labels,
    output: Annotated[Path, output_folder("For the surfaces.")],
    image: ImageOfLabels = None,
    structures: Structures = "",
    kinds: Annotated[str, formats(", ".join(FORMATS))] = "stl",
    smoothing: Annotated[str, typer.Option(metavar="LEVEL", help="none, light, standard or strong.")] = "standard",
    max_error_mm: Annotated[
        float | None, typer.Option(metavar="MM", help="Simplify, within this distance from the surface.")
    ] = None,
    triangles: Annotated[
        int | None, typer.Option(metavar="N", help="Simplify each surface to about this number of triangles.")
    ] = None,
    joint: Annotated[
        bool, typer.Option("--joint", help="One file with all structures, simplified together with shared boundaries.")
    ] = False,
    printable: Annotated[
        bool, typer.Option("--printable", help="Fill cavities, remove small islands, repair self-intersections.")
    ] = False,
    min_piece_ml: Annotated[
        float,
        typer.Option(min=0, metavar="ML", help="With --printable: remove pieces of a structure up to this volume."),
    ] = 0.1,
    min_wall_mm: Annotated[
        float | None, typer.Option(metavar="MM", help="With --printable: thicken thinner walls, in whole voxels.")
    ] = None,
    coordinates: Annotated[str, typer.Option(metavar="SYSTEM", help="LPS or RAS.")] = "LPS",
    server: Server = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make closed surfaces without gaps between structures, and report how closely they match the label map."""
    from ..surfaces import check_formats, make_surfaces, write_surfaces
    from ..surfaces.extract import check_smoothing
    from ..surfaces.formats import check_coordinates
    from ..surfaces.printing import check_sizes
    from ..surfaces.simplify import check_goal
    from ..util.errors import InputError, UsageError
    from ..util.lazy import import_ahead
    from ..worker.isolated import read_label_map

    if min_wall_mm is not None and not printable:
        raise UsageError("--min-wall-mm needs --printable.", "Add --printable.", code="usage.print")
    console = Console(quiet, as_json)
    wanted = split(kinds) or []
    check_formats(wanted)
    check_smoothing(smoothing)
    check_coordinates(coordinates.upper())
    check_goal(max_error_mm, triangles)
    check_sizes(min_wall_mm, min_piece_ml)
    before_reading(labels, image, folder=output)
    make = connected(server).surfaces if server else make_surfaces
    if not server:
        import_ahead("scipy.sparse.csgraph", "scipy.ndimage")  # while another process reads the file
    with console.working():
        label_map = read_label_map(labels, image, cancel=console.cancelled)
        for sentence in label_map.warnings:
            console.warning(sentence)
        if not label_map.array.any():
            raise InputError(f"{labels} is empty: it has no labelled voxel.", "Choose another one.", code="input.empty")
        made = write_surfaces(
            label_map,
            output,
            wanted,
            structures=split(structures),
            smoothing=smoothing,
            max_error_mm=max_error_mm,
            triangles=triangles,
            joint=joint,
            printable=printable,
            min_wall_mm=min_wall_mm,
            min_piece_ml=min_piece_ml,
            coordinates=coordinates,
            make=make,
            progress=console.progress,
            cancel=console.cancelled,
        )
    qualities = made.qualities
    for name, quality in qualities.items():
        if not quality.sound:
            console.warning(f"The surface of {name} is not a closed solid; see surfaces.json.")
    if not joint and (max_error_mm is not None or triangles is not None):
        console.say("The surfaces were simplified one by one, so small gaps are possible. --joint avoids them.")
    console.show(_table(made))
    console.say(
        f"\nWritten to {output}: {counted(len(made.files), 'file')}, including surfaces.json. Research use only."
    )
    console.event(
        "result",
        output=str(output),
        files=[path.name for path in made.files],
        surfaces={n: q.as_json() for n, q in qualities.items()},
    )


def _table(made: WrittenSurfaces) -> Table:
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
