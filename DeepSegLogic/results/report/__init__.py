"""A result as one HTML file: rotatable 3D model, slices, table. It needs no network and no server."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from html import escape
from pathlib import Path
from string import Template
from typing import Any, TypeVar

from ...classify import what_is
from ...data.label_map import LabelMap
from ...data.volume import Volume
from ...io import read_label_map
from ...io.result_files import PROVENANCE, is_unchanged, provenance_of
from ...planning import Plan
from ...review.field_of_view import CUT_LEGEND
from ...review.findings import Hidden, review, without
from ...review.measurements import Measurement, confidence_note, hu_text
from ...util.atomic_write import atomic_path
from ...util.errors import InputError
from ...util.staging import sweep, temporary_folder
from ...util.words import counted
from ..draft import read_draft
from ..measured import MeasuredResult, preview_of, read_measured
from .draft import draft_section
from .plan import plan_section

log = logging.getLogger(__name__)
T = TypeVar("T")
_HERE = Path(__file__).parent
_ORGANS = "surfaces/organs.glb"
STYLE = _HERE / "style.css"
"""The look of all reports."""


def write_report(
    folder: Path,
    path: Path,
    read: Callable[[Path], LabelMap] = read_label_map,
    plan: Plan | None = None,
    volume: Volume | None = None,
    hidden: Hidden = (),
) -> tuple[str, ...]:
    """Write the report of a folder of results.

    Args:
        folder: contains a label map, ``measurements.csv``, ``provenance.json`` and, for the slices, ``preview.png``.
            ``surfaces/organs.glb`` is used if it is as it was written with them, and the draft if there is one.
        path: of the HTML file.
        read: reads the segmentation; for untrusted folders, a reader in a process of its own.
        plan: of an operation on this segmentation, for a planning page; numbers that it lacks are computed.
        volume: that was segmented. A label map that was corrected is measured again; without the volume its mean HU and
            slices are left out, and so are findings of structures where it shows another part of the body.
        hidden: findings that are only counted, as those that were hidden in the label map's file.

    Returns:
        what the report says of a correction, one sentence each.

    Raises:
        InputError: the folder lacks a file, or one is damaged; the volume lies elsewhere.
        OutputError: the file cannot be written.
    """
    for sentence in sweep(folder):  # results of an interrupted run may have to be moved first
        log.warning(sentence)
    try:
        for name in ("measurements.csv", PROVENANCE):
            _read(Path.stat, folder / name)
        found = read_measured(folder, read, volume)
        page = _page(folder, found, plan, volume, hidden)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # of tampered files
        raise InputError(
            f"measurements.csv or provenance.json in {folder} is damaged, or does not fit the segmentation.",
            "Segment the volume again.",
            code="input.report",
            action="segment_again",
        ) from error
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return found.notes


def _page(folder: Path, found: MeasuredResult, plan: Plan | None, volume: Volume | None, hidden: Hidden) -> str:
    facts = json.loads(_read(Path.read_text, folder / PROVENANCE, encoding="utf-8"))
    told = (facts.get("model", {}).get("id", ""), facts["created"].replace("T", " ")[:16])
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=STYLE.read_text(encoding="utf-8"),
        name=escape(facts["input"]["name"]),
        facts=escape(" · ".join(filter(None, told))),
        rows="\n".join(_row(row, found.label_map) for row in found.rows if row.voxels),
        missing=escape(_missing([row.title for row in found.rows if not row.voxels])),
        legend=escape(CUT_LEGEND),
        findings=_findings(found, volume, {*found.hidden, *hidden}),
        corrected=f'<p class="stale">{escape(" ".join(found.notes))}</p>' if found.corrected else "",
        draft=draft_section(read_draft(folder)),
        picture=_picture(folder, found, volume),
        plan=plan_section(plan.checked(found.label_map), found.label_map) if plan is not None else "",
        provenance=escape(json.dumps({k: v for k, v in facts.items() if k != "files"}, indent=2, ensure_ascii=False)),
        glb=_base64(_glb(folder, found)),
        viewer=(_HERE / "viewer.js").read_text(encoding="utf-8"),
    )


def _row(row: Measurement, label_map: LabelMap) -> str:
    structure = {s.name: s for s in label_map.structures}[row.name]
    name, title = escape(row.name, quote=True), escape(row.title, quote=True)
    confidence = "" if row.confidence is None else f"{row.confidence:.2f}"
    note = confidence_note(row.confidence, row.boundary_margin)
    cells = "".join(f'<td class="num">{escape(value)}</td>' for value in (row.volume_text, hu_text(row.mean_hu)))
    cells += f'<td class="num" title="{escape(note, quote=True)}">{escape(confidence)}</td>'
    color = "#{:02x}{:02x}{:02x}".format(*structure.color)
    return (
        f'<tr><td><input type="checkbox" checked value="{name}" aria-label="Show {title}"></td>'
        f'<td><span class="dot" style="background:{color}"></span>{title}</td>{cells}</tr>'
    )


def _findings(found: MeasuredResult, volume: Volume | None, hidden: Hidden) -> str:
    """What to check first, as the panel and the page list it."""
    findings = review(found.label_map, found.confidence, what_is(volume) if volume is not None else None)
    listed = without(findings, hidden)
    reasons = "".join(f"<li>{escape(finding.reason)}</li>" for finding in listed)
    left = counted(len(findings) - len(listed), "finding")
    parts = [f"<ul>{reasons}</ul>"] if listed else []
    parts += [f'<p class="faint">{left} hidden by the reader.</p>'] if len(listed) < len(findings) else []
    return f"<h2>Check these first</h2>{''.join(parts)}" if parts else ""


def _missing(titles: list[str]) -> str:
    return f"Not found: {', '.join(titles)}." if titles else ""


def _picture(folder: Path, found: MeasuredResult, volume: Volume | None) -> str:
    with preview_of(folder, found, volume) as path:
        if path is None or not path.exists():
            return ""
        source = f"data:image/png;base64,{_base64(path.read_bytes())}"
    return f'<h2>Slices</h2><img alt="Slices with outlined structures" src="{source}">'


def _glb(folder: Path, found: MeasuredResult) -> bytes:
    if not found.corrected and is_unchanged(folder, _ORGANS, provenance_of(folder)):
        return (folder / _ORGANS).read_bytes()
    if not found.label_map.array.any():
        raise InputError(
            f"There is nothing to show in {folder}: its label map is empty.",
            "Segment again, with other structures or another model.",
            code="input.empty",
        )
    from ...surfaces import make_surfaces
    from ...surfaces.export import export_surfaces

    with temporary_folder() as temporary:
        files = export_surfaces(make_surfaces(found.label_map), temporary, ["glb"])
        return files[0].read_bytes()


def _read(read: Callable[..., T], path: Path, **options: Any) -> T:
    try:
        return read(path, **options)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}).",
            "Choose a folder of results.",
            code="input.missing",
        ) from error


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
