"""The tables of a cohort: how each case ended, and the measurements of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..review.measurements import measurement_table
from ..util.atomic_write import atomic_folder
from ..util.errors import OutputError
from ..util.tables import read_table, write_table
from .case import Outcome


def write_tables(folder: Path, outcomes: Sequence[Outcome], part: str = "") -> None:
    """Write ``cohort.csv`` and ``measurements.csv``, or ``measurements-partial.csv`` if cases were not finished.

    Only one of the latter stays, so that nobody takes the measurements of some cases for those of all.

    Args:
        part: appended to their names, for a part of a cohort.

    Raises:
        OutputError: they cannot be written, or results of a case are gone.
    """
    columns = ["case", "input", "status", "seconds", "warnings", "code", "message", "remedy"]
    told = [o.as_json() | {"warnings": " ".join(o.warnings)} for o in outcomes]
    header: list[str] = []
    rows: list[list[object]] = []
    gone: list[str] = []
    for outcome in (o for o in outcomes if o.status in ("done", "kept")):
        name, own = outcome.case.name, outcome.corrected
        try:
            found, cells = read_table(folder / name / "measurements.csv") if own is None else measurement_table(own)
            header = max(header, found, key=len)  # cases kept from earlier versions have fewer columns
            rows += [[name, *row] for row in cells]
        except (OSError, ValueError):
            gone.append(name)
    whole, partial = f"measurements{part}.csv", f"measurements{part}-partial.csv"
    name, other = (partial, whole) if any(o.status == "cancelled" for o in outcomes) else (whole, partial)
    with atomic_folder(folder, outdated=[other]) as made:
        write_table(made / f"cohort{part}.csv", columns, ([row[column] for column in columns] for row in told))
        write_table(made / name, ["case", *header], (row + [""] * (1 + len(header) - len(row)) for row in rows))
    if gone:
        raise OutputError(
            f"Results in {folder} were deleted or changed during the run: those of {', '.join(gone)}.",
            "Start the run again: complete cases are kept.",
            code="output.gone",
        )
