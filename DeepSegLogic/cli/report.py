"""``deepseg report``: a result as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that `deepseg segment` made.", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file.")] = Path("report.html"),
) -> None:
    """Write one HTML file with the 3D model, slices and the table; it opens offline with a double click."""
    from ..report import write_report

    write_report(folder, output)
    print(f"Written: {output} ({output.stat().st_size / 1e6:.1f} MB). Research use only.")
