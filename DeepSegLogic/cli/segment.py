"""``deepseg segment``: a CT in, a folder of results out."""

from pathlib import Path
from typing import Annotated

import typer

from .console import Console, Json, Quiet
from .models import obtain

Model = Annotated[str, typer.Option("--model", "-m", help="Id of an installed model, or a model folder.")]
Structures = Annotated[str, typer.Option("--structures", "-s", help="Names with commas between; all if not given.")]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
Quality = Annotated[str, typer.Option(help="fast, standard or best.")]


def segment(
    input: Annotated[Path, typer.Argument(help="NIfTI, NRRD or MetaImage file, or a folder of DICOM slices.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    model: Model = "ct_demo",
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    surfaces: Annotated[str, typer.Option(help="Formats with commas between; empty for none.")] = "stl",
    force: Annotated[bool, typer.Option("--force", help="Go on with a volume that does not look like a CT.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Download a missing model without asking.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Segment a CT and write label maps, organ surfaces, measurements and a preview."""
    console = Console(quiet, as_json)
    segment_to_folder(
        console,
        input,
        output,
        model=model,
        structures=split(structures),
        device=device,
        quality=quality,
        formats=split(surfaces) or [],
        force=force,
        yes=yes,
    )


def segment_to_folder(console: Console, source: Path, output: Path, *, model, formats, yes=False, **options) -> None:
    """Read, segment, write, and tell; shared with ``deepseg demo``."""
    from ..io import read_volume
    from ..outputs import check_output_folder, write_outputs
    from ..surfaces import check_formats

    check_formats(formats)
    check_output_folder(output)
    card = obtain(console, model, yes)
    with console.working():
        console.progress("read", 0.0, source.name)
        volume = read_volume(source)
        console.progress("read", 1.0, source.name)
        from ..pipeline import segment as run

        result = run(volume, card, progress=console.progress, cancel=console.cancelled, **options)
        rows, files = write_outputs(
            output, volume, result, source=source, formats=formats, progress=console.progress, cancel=console.cancelled
        )
    for sentence in result.warnings:
        console.warning(sentence)
    console.show(_table(rows))
    console.say(f"\nWritten to {output}: {', '.join(files)}")
    if card.id == "ct_demo":
        console.say(
            "The bundled model was trained on two subjects: it is a demonstration. Research use only.\n"
            "`deepseg models list` shows models for real work."
        )
    else:
        console.say("Research use only.")
    console.event(
        "result",
        output=str(output),
        files=files,
        structures=[row.as_json() for row in rows],
        warnings=result.warnings,
        timings=result.timings,
    )


def split(names: str) -> list[str] | None:
    """``"liver, spleen"`` as a list; None for nothing."""
    return [n.strip() for n in names.split(",") if n.strip()] or None


def _table(rows):
    from rich.table import Table

    table = Table("Structure", "Volume (ml)", "Mean HU", "Confidence")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        found = row.voxels > 0
        confidence = f"{row.confidence:.2f}" if row.confidence is not None else ""
        table.add_row(row.title, f"{row.volume_ml:.1f}", f"{row.mean_hu:.0f}" if found else "", confidence)
    return table
