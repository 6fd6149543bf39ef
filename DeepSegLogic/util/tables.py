"""Tables as CSV files.

Spreadsheets run a text that begins with ``=``, ``+``, ``-`` or ``@`` as a formula, quoted or not. Such a text gets a
leading ``'``, which spreadsheets do not show.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

_FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠]|'*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table. Numbers stay numbers, also as texts from another table.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([_safe(cell) for cell in row] for row in rows)


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table by :func:`write_table`, with the original texts.

    A byte order mark and semicolons, as Excel writes them, are allowed.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a table.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        return table_of(file)


def table_of(lines: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """The same from the lines of a file, with their ends.

    Raises:
        ValueError: they are no table.
    """
    lines = list(lines)
    first = lines[0] if lines else ""
    try:
        header, *rows = csv.reader(lines, delimiter=";" if ";" in first and "," not in first else ",")
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return header, [[_plain(cell) for cell in row] for row in rows]


def _safe(cell: object) -> object:
    formula = isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if formula else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
