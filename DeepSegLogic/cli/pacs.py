"""``deepseg pacs``: find and fetch series of an archive (DICOMweb), and send results there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..util.words import counted
from .console import Console
from .options import Json, Quiet, output_folder, path_argument

app = typer.Typer(
    no_args_is_help=True,
    help="An archive (DICOMweb). Its address and login come from the environment: DEEPSEG_PACS_URL, "
    "DEEPSEG_PACS_TOKEN or DEEPSEG_PACS_USER and DEEPSEG_PACS_PASSWORD, DEEPSEG_PACS_CA_FILE.",
)


@app.command()
def find(
    patient: Annotated[str, typer.Option(metavar="ID", help="ID of the patient.")] = "",
    study: Annotated[str, typer.Option(metavar="UID", help="Study Instance UID.")] = "",
    modality: Annotated[str, typer.Option(metavar="MODALITY", help="e.g. CT; empty for all.")] = "CT",
    as_json: Json = False,
) -> None:
    """List the series of a patient or a study."""
    from dataclasses import asdict

    from rich.markup import escape
    from rich.table import Table

    from ..io.dicom.archive_settings import ArchiveSettings
    from ..io.dicom.web_archive import Archive

    console = Console(as_json=as_json)
    found = Archive(ArchiveSettings.from_environment()).find(patient=patient, study=study, modality=modality)
    table = Table("Date", "Modality", "Description", "Images", "Series", show_lines=True)
    for one in found:
        table.add_row(one.date, one.modality, escape(one.description), str(one.images or ""), one.series)
        console.event("series", **asdict(one))
    if found:
        console.show(table)
    else:
        console.say("No series found.")


@app.command()
def fetch(
    series: Annotated[str, typer.Argument(metavar="SERIES", help="Series Instance UID.")],
    output: Annotated[Path, output_folder("New or empty, for its files.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fetch a series: all of its files, or none."""
    from ..io.dicom.archive_settings import ArchiveSettings
    from ..io.dicom.web_archive import Archive

    console = Console(quiet, as_json)
    archive = Archive(ArchiveSettings.from_environment())
    with console.working():
        folder = archive.fetch(series, output, progress=console.progress, cancel=console.cancelled)
    console.say(f"Fetched to {folder}")
    console.event("result", output=str(folder))


@app.command()
def send(
    files: Annotated[list[Path], path_argument("FILES", "DICOM files, e.g. SEG, RTSTRUCT, SR.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Send DICOM files."""
    from ..io.dicom.archive_settings import ArchiveSettings
    from ..io.dicom.web_archive import Archive

    console = Console(quiet, as_json)
    archive = Archive(ArchiveSettings.from_environment())
    with console.working():
        count = archive.send(files, progress=console.progress, cancel=console.cancelled)
    console.say(f"Sent {counted(count, 'file')}")
    console.event("result", files=count)
