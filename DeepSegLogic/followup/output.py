"""The files of a follow-up: table, summary, transform, report."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..data.itk import itk_name
from ..util.atomic_write import atomic_folder
from ..util.progress import Cancel, never_cancel
from ..util.tables import write_table
from .change import Change
from .follow_up import FollowUp
from .report import page

_COLUMNS = {
    "before_ml": 4,
    "after_ml": 4,
    "change_ml": 4,
    "change_percent": 2,
    "uncertainty_ml": 4,
    "doubling_days": 1,
    "before_hu": 1,
    "after_hu": 1,
    "shift_mm": 2,
}
"""Numbers of a change in the table, and their digits after the point."""


def as_json(found: FollowUp) -> dict[str, Any]:
    """What ``summary.json`` holds, as JSON values."""
    one = found.registration
    return {
        "days": found.days,
        "changes": [{**asdict(c), "sentence": c.sentence} for c in found.changes],
        "registration": {
            "basis": one.basis,
            "deformable": one.deformable,
            "rigid_baseline_to_follow_up_ras_mm": one.rigid.tolist(),
            "rotation_deg": one.rotation_deg,
            "shift_mm": one.shift_mm(found.baseline).tolist(),
            "mean_dice": one.overlap,
        },
        "warnings": found.warnings,
        "intended_use": "Research use only.",
    }


def write_follow_up(found: FollowUp, folder: Path | str, cancel: Cancel = never_cancel) -> list[Path]:
    """Write ``changes.csv``, ``summary.json``, ``transform.tfm`` and ``report.html``.

    Returns:
        their paths.

    Raises:
        OutputError: the folder cannot be written.
        Cancelled: ``cancel`` returned True; nothing was written.

    Example:
        >>> from DeepSegLogic import TimePoint, follow_up, read_label_map, write_follow_up
        >>> organs = TimePoint(read_label_map("organs.seg.nrrd"))
        >>> [path.name for path in write_follow_up(follow_up(organs, organs), "compared")]
        ['changes.csv', 'report.html', 'summary.json', 'transform.tfm']
    """
    folder = Path(folder)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {"created": created, **as_json(found)}
    with atomic_folder(folder) as temporary:
        header = ["structure", "name", "lesion", "kind", *_COLUMNS, "cut_before", "cut_after", "sentence"]
        write_table(temporary / "changes.csv", header, map(_cells, found.changes))
        (temporary / "summary.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
        sitk.WriteTransform(found.registration.transform, itk_name(temporary / "transform.tfm"))
        (temporary / "report.html").write_text(page(found, created, cancel), "utf-8")
        written = sorted(path.name for path in temporary.iterdir())
    return [folder / name for name in written]


def _cells(one: Change) -> list[object]:
    numbers = [_number(getattr(one, name), digits) for name, digits in _COLUMNS.items()]
    cuts = ["yes" if cut else "" for cut in (one.cut_before, one.cut_after)]
    return [one.full_title, one.name, one.lesion or "", one.kind, *numbers, *cuts, one.sentence]


def _number(value: float | None, digits: int) -> float | str:
    return "" if value is None else round(value, digits)
