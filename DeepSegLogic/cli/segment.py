"""``deepseg segment``: a CT in, a folder of results out."""

import math
from pathlib import Path
from typing import Annotated

import typer

from ..models.card import DEMO_MODEL
from .console import Console, Json, Quiet
from .models import obtain

Input = Annotated[
    Path,
    typer.Argument(help="NIfTI, NRRD or MetaImage file, or a folder of DICOM slices.", readable=False),  # we say it
]
Model = Annotated[str, typer.Option("--model", "-m", help="Id of an installed model, or a model folder.")]
Structures = Annotated[
    str, typer.Option("--structures", "-s", help="Names or titles with commas between; all if not given.")
]
Device = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
Quality = Annotated[str, typer.Option(help="draft, fast, standard or best.")]
Uncertainty = Annotated[bool, typer.Option("--uncertainty", help="Also write uncertainty.nii.gz (0 to 255).")]
Surfaces = Annotated[str, typer.Option(help="Formats with commas between; empty for none.")]
Force = Annotated[bool, typer.Option("--force", help="Go on with a volume that does not look like a CT.")]
Download = Annotated[bool, typer.Option("--yes", "-y", help="Download a missing model without asking.")]
Roi = Annotated[str, typer.Option(metavar="R1,A1,S1,R2,A2,S2", help="Only in this box: two corners in RAS mm.")]
RoiMask = Annotated[
    Path | None, typer.Option(help="Only where this label map, on the volume's grid, is not 0.", readable=False)
]


def segment(
    input: Input,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")],
    model: Model = DEMO_MODEL,
    structures: Structures = "",
    device: Device = "auto",
    quality: Quality = "standard",
    roi: Roi = "",
    roi_mask: RoiMask = None,
    uncertainty: Uncertainty = False,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write probabilities.npz, for `deepseg refine`.")
    ] = False,
    surfaces: Surfaces = "stl",
    force: Force = False,
    yes: Download = False,
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
        roi=roi,
        roi_mask=roi_mask,
        uncertainty=uncertainty,
        keep_probabilities=probabilities,
        force=force,
        yes=yes,
    )


def segment_to_folder(
    console: Console, source: Path, output: Path, *, model, formats, roi="", roi_mask=None, yes=False, **options
) -> None:
    """Read, segment, write, and tell; shared with ``deepseg demo``."""
    from ..io import read_volume
    from ..outputs import check_output_folder, write_outputs
    from ..pipeline import check_request
    from ..pipeline import segment as run
    from ..surfaces import check_formats

    check_formats(formats)
    check_output_folder(output)
    card = obtain(console, model, yes)
    check_request(card, options.get("structures"), options.get("quality", "standard"))
    with console.working():
        console.progress("read", 0.0, source.name)
        volume = read_volume(source)
        options["roi"] = region(volume, roi, roi_mask)
        console.progress("read", 1.0, source.name)
        result = run(volume, card, progress=console.progress, cancel=console.cancelled, **options)
        rows, files = write_outputs(
            output, volume, result, source=source, formats=formats, progress=console.progress, cancel=console.cancelled
        )
    for sentence in result.warnings:
        console.warning(sentence)
    console.show(_table(rows))
    console.say(f"\nWritten to {output}: {', '.join(files)}")
    if card.id == DEMO_MODEL:
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
        plan=result.plan,
    )


def region(volume, box: str, mask: Path | None):
    """What ``--roi`` and ``--roi-mask`` say, as :func:`DeepSegLogic.pipeline.segment` takes it."""
    from ..errors import InputError, UsageError
    from ..geometry import same_grid
    from ..io import read_label_map

    if box and mask:
        raise UsageError("Both --roi and --roi-mask are given.", "Give one of them.", code="usage.region")
    if mask is not None:
        marked = read_label_map(mask)
        if marked.array.shape != volume.shape or not same_grid(marked.ijk_to_ras, volume.ijk_to_ras, 1e-2):
            raise InputError(
                f"{mask} is not on the grid of {volume.name}.",
                "Draw the region on that volume, or resample the mask to it.",
                code="input.region",
            )
        return marked.array
    if not box:
        return None
    try:
        numbers = [float(number) for number in box.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--roi {box} is not six numbers.", "Give R1,A1,S1,R2,A2,S2 in mm.", code="usage.region")
    return numbers


def split(names: str) -> list[str] | None:
    """``"liver, spleen"`` as a list; None for an empty text."""
    return [n.strip() for n in names.split(",") if n.strip()] if names.strip() else None


def _table(rows):
    from rich.markup import escape
    from rich.table import Table

    table = Table("Structure", "Volume (ml)", "Mean HU", "Confidence")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        found = row.voxels > 0
        confidence = f"{row.confidence:.2f}" if row.confidence is not None else ""
        table.add_row(escape(row.title), f"{row.volume_ml:.1f}", f"{row.mean_hu:.0f}" if found else "", confidence)
    return table
