"""A draft for a folder of results: reads the result, asks the model, keeps the draft beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..classify import what_is
from ..data.label_map import LabelMap
from ..data.volume import Volume
from ..followup.change import Change
from ..io.read import read_label_map
from ..planning import Plan
from ..results.draft import Draft, write_draft
from ..results.measured import MeasuredResult, preview_of, read_measured
from ..results.preview import key_slices
from ..util.errors import InputError
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .draft import word
from .endpoint import Endpoint
from .table import table_of

_LARGEST = 10_000_000  # bytes


@checks_arguments
def draft_report(
    folder: Path | str,
    endpoint: Endpoint,
    *,
    plan: Plan | None = None,
    changes: Path | str | None = None,
    volume: Volume | None = None,
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
        volume: that was segmented. A label map that was corrected is measured again; without the volume, no densities,
            and no findings of structures where it shows another part of the body.
        read: reads the segmentation; for untrusted folders, a reader in a process of its own.

    Raises:
        InputError: a folder lacks a file, or one is damaged; the volume lies elsewhere.
        DeepSegError: see :func:`~DeepSegLogic.drafting.draft.word`.
        Cancelled: ``cancel`` returned True; nothing was written.

    Example:
        >>> from DeepSegLogic import Endpoint, draft_report
        >>> draft = draft_report("results", Endpoint("http://127.0.0.1:11434/v1", "medgemma"))  # doctest: +SKIP
        >>> draft.text  # doctest: +SKIP
        'The liver has a volume of 1503.4 ml and a mean density of 54 HU.'
    """
    folder = Path(folder)
    changed = _changes(Path(changes) / "summary.json") if changes is not None else []
    try:
        found = read_measured(folder, read, volume)
    except (OSError, ValueError, LookupError) as error:
        raise _damaged(folder / "measurements.csv") from error
    scan = what_is(volume) if volume is not None else None
    table = table_of(
        found.label_map,
        found.rows,
        confidence=found.confidence,
        plan=plan,
        changes=changed,
        scan=scan,
        hidden=found.hidden,
    )
    picture = _slices(folder, found, volume) if endpoint.pictures else None
    draft = word(table, endpoint, picture, progress, cancel)
    write_draft(folder, draft)
    return draft


def _slices(folder: Path, found: MeasuredResult, volume: Volume | None) -> bytes:
    with preview_of(folder, found, volume) as path:
        if path is None:
            raise InputError(
                f"The slices in {folder} are those before its label map was corrected.",
                "Give the CT that was segmented, or set up the language model without pictures.",
                code="input.preview",
            )
        return key_slices(path)


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
