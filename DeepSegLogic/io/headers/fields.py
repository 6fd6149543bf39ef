"""What the header checks of all formats share: numbers in text, voxel sizes, and the errors for damaged headers."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...data.types import FloatArray
from ...util.errors import InputError
from ..files import truncated

_MM = {"", "?", "???", "mm", "millimeter", "millimeters", "millimetre", "millimetres"}
NO_ORIENTATION = "The file does not state the patient's orientation: left and right may be swapped."
LONGEST_AXIS = 2**31 - 1
_ROUNDED = 3e-5  # difference of a direction's cosine: below, headers are only rounded


def damaged(path: Path, what: str = "") -> InputError:
    """The error for a header that no sound program writes."""
    return InputError(
        f"{path} has a damaged header{f': {what}' if what else ''}.", "Copy or export it again.", code="input.format"
    )


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn errors of parsers into :class:`InputError`: a file that ends too early, a number that is none."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise truncated(path) from error
    except (ValueError, OverflowError) as error:
        raise damaged(path) from error


def reject_controls(path: Path, line: bytes) -> None:
    """Raise :class:`InputError` for control characters, which some parser may take for the end of the line."""
    if re.search(rb"[\0-\x08\x0b-\x1f]", line.rstrip(b"\r\n")):
        raise damaged(path, "it contains control characters")


def whole(fields: Mapping[str, str], name: str, low: int, high: int, path: Path, default: int | None = None) -> int:
    """The whole number in a field of a header; the default if there is no such field.

    Raises:
        InputError: the field is not a whole number from ``low`` to ``high``.
    """
    if name not in fields and default is not None:
        return default
    return number(fields.get(name, ""), low, high, path, name)


def number(text: str, low: int, high: int, path: Path, name: str) -> int:
    """As :func:`whole`, for the text itself."""
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
        raise damaged(path, f"{name} is {text[:20]!r}")
    return int(text)


def check_spacing(path: Path, spacing: Iterable[float]) -> None:
    """Raise :class:`InputError` for a voxel size that is not positive."""
    sizes = list(spacing)
    if not all(np.isfinite(s) and s > 0 for s in sizes):
        shown = ", ".join(f"{s:g}" for s in sizes)
        raise InputError(
            f"{path} has no usable voxel size: its header says {shown} mm.", "Correct its header.", code="input.spacing"
        )


def check_length_units(path: Path, units: Iterable[str]) -> None:
    """Raise :class:`InputError` for units of length other than mm."""
    others = {unit.strip().lower() for unit in units} - _MM
    if others:
        raise InputError(
            f"{path} states its voxel size in {', '.join(sorted(others))}.", "Save it in mm.", code="input.spacing"
        )


def check_columns(path: Path, matrix: FloatArray) -> None:
    """Raise :class:`InputError` for a grid that is not rectangular.

    Args:
        matrix: 3×3; its columns are voxel directions times spacing.
    """
    lengths = np.linalg.norm(matrix, axis=0)
    check_spacing(path, lengths)
    directions = matrix / lengths
    skew = np.abs(directions.T @ directions - np.eye(3)).max()
    if skew > 1e-2:  # headers are rounded; a gantry tilt is several degrees (0.05 and more)
        angle = np.degrees(np.arcsin(min(1.0, skew)))
        raise InputError(
            f"{path} has a sheared grid: two axes differ by {angle:.1f}° from a right angle.",
            "Resample it onto a rectangular grid, for example in 3D Slicer by hardening its transform.",
            code="input.geometry",
        )


def rectangular(path: Path, matrix: FloatArray) -> tuple[FloatArray, list[str]]:
    """The nearest grid with right angles to one that :func:`check_columns` accepts; and a doubt if it differs.

    Args:
        matrix: as for :func:`check_columns`, which is called.
    """
    check_columns(path, matrix)
    lengths = np.linalg.norm(matrix, axis=0)
    directions = matrix / lengths
    skew = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if skew < _ROUNDED:
        return matrix, []
    left, _, right = np.linalg.svd(directions)
    angle = np.degrees(skew)
    doubt = f"The axes differ by {angle:.2g}° from right angles; the nearest rectangular grid is used."
    return left @ right * lengths, [doubt]


def check_unit(path: Path, directions: FloatArray) -> None:
    """Raise :class:`InputError` for directions (3×N columns) that are not of length 1: they hide another voxel size."""
    lengths = np.linalg.norm(directions, axis=0)
    if not (np.abs(lengths - 1) < 1e-2).all():  # true for NaN, too
        raise InputError(
            f"{path} has directions of length {', '.join(f'{n:.4g}' for n in lengths)} instead of 1: its voxel size is "
            "not certain.",
            "Correct its header.",
            code="input.geometry",
        )


def left_open(spacing: str | None, orientation: str | bool | None) -> list[str]:
    """What a header does not say, one sentence each."""
    doubts = [] if spacing else ["The file states no voxel size; 1 mm is assumed."]
    return doubts if orientation else [*doubts, NO_ORIENTATION]
