"""``deepseg report``: a result as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of results, from `deepseg segment`.", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file.")] = Path("report.html"),
    plan: Annotated[
        Path | None,
        typer.Option(help="Plan of an operation, for a planning page: JSON.", readable=False),
    ] = None,
) -> None:
    """Write one HTML file with 3D model, slices and table, which any browser opens offline."""
    from ..planning import read_plan
    from ..results.report import write_report
    from ..worker.isolated import read_label_map

    write_report(folder, output, read_label_map, read_plan(plan) if plan is not None else None)
    print(f"Written to {output} ({output.stat().st_size / 1e6:.1f} MB). Research use only.")
