"""A draft for a folder of results: reads the result, asks the model, keeps the draft beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..data.label_map import LabelMap
from ..followup.change import Change
from ..io.read import read_label_map
from ..io.result_files import LABEL_MAP_FILES, label_map_in, provenance_of, was_changed
from ..planning import Plan
from ..results.draft import Draft, write_draft
from ..results.preview import key_slices
from ..review.measurements import Measurement
from ..util.errors import InputError
from ..util.given import not_paths
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from ..util.tables import read_table
from .draft import word
from .endpoint import Endpoint
from .table import table_of

_LARGEST = 10_000_000  # bytes


@not_paths
def draft_report(
    folder: Path | str,
    endpoint: Endpoint,
    *,
    plan: Plan | None = None,
    changes: Path | str | None = None,
    read: Callable[[Path], LabelMap] = read_label_map,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Draft:
    """Let a language model word the findings of a result; the draft joins its folder, and so its report.

    What the model is told is a table of volumes, densities, changes, planned numbers and places to check. No name, date
    or file name is sent. What it writes and the table does not have is struck out and marked.

    Args:
        folder: of results.
        endpoint: where the model runs; ``endpoint.pictures`` sends the slices of the result's preview.
        plan: of an operation on this segmentation.
        changes: folder of a follow-up, as :func:`~DeepSegLogic.write_follow_up` writes it.
        read: reads the segmentation; for untrusted folders, a reader in a process of its own.

    Raises:
        InputError: a folder lacks a file, or one is damaged; the label map was corrected after it was measured.
        DeepSegError: see :func:`~DeepSegLogic.drafting.draft.word`.
        Cancelled: ``cancel`` returned True; nothing was written.

    Example:
        >>> from DeepSegLogic import Endpoint, draft_report
        >>> draft = draft_report("results", Endpoint("http://127.0.0.1:11434/v1", "medgemma"))  # doctest: +SKIP
        >>> draft.text  # doctest: +SKIP
        'The liver has a volume of 1503.4 ml and a mean density of 54 HU.'
    """
    folder = Path(folder)
    rows = _rows(folder / "measurements.csv")
    confidence = {row.name: row.confidence for row in rows if row.confidence is not None}
    changed = _changes(Path(changes) / "summary.json") if changes is not None else []
    labels = label_map_in(folder) or folder / LABEL_MAP_FILES["seg.nrrd"]
    if was_changed(labels, provenance_of(folder)):
        raise InputError(
            f"{labels.name} in {folder} was corrected afterwards: measurements.csv has the numbers of before.",
            "Open the segmentation in 3D Slicer and draft there: it is measured again.",
            code="input.changed",
        )
    label_map = read(labels)
    table = table_of(label_map, rows, confidence=confidence, plan=plan, changes=changed)
    picture = key_slices(folder / "preview.png") if endpoint.pictures else None
    draft = word(table, endpoint, picture, progress, cancel)
    write_draft(folder, draft)
    return draft


def _rows(path: Path) -> list[Measurement]:
    try:
        header, cells = read_table(path)
        rows = [dict(zip(header, row, strict=True)) for row in cells]
        return [
            Measurement(
                row["name"],
                row["structure"],
                int(row["voxels"]),
                float(row["volume_ml"]),
                float(row["mean_hu"]) if row["mean_hu"] else None,
                float(row["sd_hu"]) if row["sd_hu"] else None,
                None,
                None,
                float(row["confidence"]) if row.get("confidence") else None,
                cut=row.get("cut") == "yes",
            )
            for row in rows
        ]
    except (OSError, ValueError, LookupError) as error:
        raise _damaged(path) from error


def _changes(path: Path) -> list[Change]:
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        found = json.loads(path.read_text("utf-8"))["changes"]
        changes = [Change(**{field.name: one[field.name] for field in fields(Change)}) for one in found]
        for change in changes:
            _check_change(change)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    return changes


def _check_change(change: Change) -> None:
    """Only numbers may follow a name: anything else in a tampered file could be a text, which would be sent."""
    numbers: list[Any] = [getattr(change, field.name) for field in fields(change)[4:]]
    if (
        not isinstance(change.name, str)
        or not isinstance(change.lesion, int)
        or not all(isinstance(n, int | float | None) for n in numbers)
    ):
        raise TypeError("a number is a text")


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path} is missing or damaged.", "Choose a folder of results.", code="input.report", action="segment_again"
    )
