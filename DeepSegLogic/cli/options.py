"""Arguments and options of several commands: one thing has one name, one short flag and one metavar everywhere.

A metavar says what is wanted: IMAGE, LABELS, FOLDER, NAMES, MM. Flags have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..results.label_files import LABEL_FORMATS

_NNUNET = "Default: by nnU-Net's rules."


def given_path(metavar: str, help: str, *names: str) -> Any:
    """An option whose value is a path that is read; Typer leaves it to us to say what is wrong with it."""
    return typer.Option(*names, metavar=metavar, help=help, readable=False)


def path_argument(metavar: str, help: str) -> Any:
    """An argument that is a path to read, likewise."""
    return typer.Argument(metavar=metavar, help=help, readable=False)


def output_folder(help: str) -> Any:
    """``--output`` of a command that writes several files."""
    return typer.Option("--output", "-o", metavar="FOLDER", help=help)


def output_file(help: str) -> Any:
    """``--output`` of a command that writes one file."""
    return typer.Option("--output", "-o", metavar="FILE", help=help)


def formats(help: str) -> Any:
    """``--format``: of what a command writes above all."""
    return typer.Option("--format", "-f", metavar="FORMATS", help=f"{help}; separated by commas.")


def split(names: str) -> list[str] | None:
    """The names in ``"liver, spleen"``; None for an empty text."""
    return [n.strip() for n in names.split(",") if n.strip()] if names.strip() else None


Image = Annotated[Path, path_argument("IMAGE", "NIfTI, NRRD or MetaImage file, or DICOM: folder, DICOMDIR or file.")]
Labels = Annotated[
    Path,
    path_argument("LABELS", "Label map (NIfTI, NRRD, MetaImage, .seg.nrrd, DICOM SEG, RTSTRUCT) or folder of results."),
]
ImageOfLabels = Annotated[
    Path | None, given_path("IMAGE", "The CT that was segmented; RTSTRUCT needs it.", "--image", "-i")
]

Model = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="Id of an installed model, or a model folder.")
]
ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Id of a model, see `deepseg models list`.")]
ModelIds = Annotated[list[str], typer.Argument(metavar="MODELS", help="Ids of models, see `deepseg models list`.")]
Channel = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        metavar="NAME=IMAGE",
        help="Another image that the model sees, by the name or number of its channel. Repeat for several.",
    ),
]
Structures = Annotated[
    str,
    typer.Option("--structures", "-s", metavar="NAMES", help="Names or titles, separated by commas. Default: all."),
]
Roi = Annotated[str, typer.Option(metavar="R1,A1,S1,R2,A2,S2", help="Segment only this box: two corners in RAS mm.")]
RoiMask = Annotated[
    Path | None, given_path("LABELS", "Segment only where this label map, on the volume's grid, is not 0.")
]

Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cuda, mps or cpu.")]
Server = Annotated[
    str, typer.Option("--server", metavar="URL", help="Run on a server that `deepseg servers add` saved.")
]
Quality = Annotated[str, typer.Option(metavar="QUALITY", help="draft, fast, standard or best.")]
Force = Annotated[bool, typer.Option("--force", help="Use a volume that does not look like what the model needs.")]

Uncertainty = Annotated[bool, typer.Option("--uncertainty", help="Also write uncertainty.nii.gz (0 to 255).")]
MinPiece = Annotated[
    float,
    typer.Option(
        "--min-piece-ml",
        min=0,
        metavar="ML",
        help="Remove pieces of a structure up to this volume, e.g. 0.2; 0: none.",
    ),
]
LabelFormats = Annotated[str, formats(f"Label maps; sr: a DICOM report. {', '.join(LABEL_FORMATS)}")]
Surfaces = Annotated[
    str, typer.Option(metavar="FORMATS", help="Formats of surfaces, separated by commas; empty for none.")
]
Match = Annotated[str, typer.Option(metavar="PATTERN", help="Only files that match, e.g. '*/ct.nii.gz'.")]
LesionIou = Annotated[
    float, typer.Option("--lesion-iou", min=0, max=1, metavar="IOU", help="IoU from which a lesion counts as detected.")
]

Minutes = Annotated[float | None, typer.Option(min=0.01, metavar="MINUTES", help="Duration. Default: 60.")]
Steps = Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of steps, instead of a duration.")]
Spacing = Annotated[str, typer.Option(metavar="Z,Y,X", help=f"Voxel size in mm. {_NNUNET}")]
Patch = Annotated[str, typer.Option(metavar="Z,Y,X", help=f"Patch in voxels. {_NNUNET}")]
Batch = Annotated[int | None, typer.Option(min=1, metavar="N", help=f"Patches per step. {_NNUNET}")]

Port = Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 takes a free one.")]

Download = Annotated[bool, typer.Option("--yes", "-y", help="Download a missing model without asking.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON event per line.")]
