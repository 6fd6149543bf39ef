"""A result as one HTML file: rotatable 3D model, slices, table. It needs no network and no server."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from typing import Any, TypeVar

from ...data.boxes import boxes_by_label
from ...data.label_map import LabelMap
from ...io import read_label_map
from ...io.result_files import LABEL_MAP_FILES, label_map_in, was_changed
from ...planning import Plan
from ...review.field_of_view import CUT_LEGEND
from ...review.measurements import confidence_note, hu_text, volume_text
from ...util.atomic_write import atomic_path
from ...util.errors import InputError
from ...util.staging import sweep, temporary_folder
from ...util.tables import read_table
from ..draft import read_draft
from .draft import draft_section
from .plan import plan_section

log = logging.getLogger(__name__)
T = TypeVar("T")
_HERE = Path(__file__).parent
STYLE = _HERE / "style.css"
"""The look of all reports."""
_CORRECTED = "{} was corrected afterwards: the numbers of the table and the slices are those of before."


def write_report(
    folder: Path, path: Path, read: Callable[[Path], LabelMap] = read_label_map, plan: Plan | None = None
) -> None:
    """Write the report of a folder of results.

    Args:
        folder: contains a label map, ``measurements.csv``, ``provenance.json`` and, for the slices, ``preview.png``.
            ``surfaces/organs.glb`` is used if it exists, and the draft if there is one.
        path: of the HTML file.
        read: reads the segmentation; for untrusted folders, a reader in a process of its own.
        plan: of an operation on this segmentation, for a planning page; numbers that it lacks are computed.

    Raises:
        InputError: the folder lacks a file, or one is damaged.
        OutputError: the file cannot be written.
    """
    for sentence in sweep(folder):  # results of an interrupted run may have to be moved first
        log.warning(sentence)
    try:
        page = _page(folder, read, plan)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:  # of tampered files
        raise InputError(
            f"measurements.csv or provenance.json in {folder} is damaged, or does not fit the segmentation.",
            "Segment the volume again.",
            code="input.report",
            action="segment_again",
        ) from error
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(folder: Path, read: Callable[[Path], LabelMap], plan: Plan | None) -> str:
    header, cells = _read(read_table, folder / "measurements.csv")
    rows = [dict(zip(header, row, strict=True)) for row in cells]
    labels = label_map_in(folder) or folder / LABEL_MAP_FILES["seg.nrrd"]
    label_map, note = read(labels), ""
    facts = json.loads(_read(Path.read_text, folder / "provenance.json", encoding="utf-8"))
    if corrected := was_changed(labels, facts):
        rows, note = _without_removed(rows, label_map, labels.name)
    label_map = _named_as(rows, label_map)
    told = (facts.get("model", {}).get("id", ""), facts["created"].replace("T", " ")[:16])
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=STYLE.read_text(encoding="utf-8"),
        name=escape(facts["input"]["name"]),
        facts=escape(" · ".join(filter(None, told))),
        rows="\n".join(_row(row, label_map) for row in rows if int(row["voxels"])),
        missing=escape(_missing([row["structure"] for row in rows if not int(row["voxels"])])),
        legend=escape(f"{CUT_LEGEND} {note}".rstrip()),
        draft=draft_section(read_draft(folder)),
        picture=_picture(folder / "preview.png"),
        plan=plan_section(plan.checked(label_map), label_map) if plan is not None else "",
        provenance=escape(json.dumps({k: v for k, v in facts.items() if k != "files"}, indent=2, ensure_ascii=False)),
        glb=_base64(_glb(folder, label_map, corrected)),
        viewer=(_HERE / "viewer.js").read_text(encoding="utf-8"),
    )


def _without_removed(rows: list[dict[str, str]], label_map: LabelMap, file: str) -> tuple[list[dict[str, str]], str]:
    """The rows of structures that a correction neither removed nor added, and what the legend says of it."""
    values = {value for layer in label_map.layers or [label_map] for value in boxes_by_label(layer.array)}
    there = [s for s in label_map.structures if s.value in values]
    named = {s.name for s in there} | {s.title for s in there}
    measured = [row for row in rows if int(row["voxels"])]
    kept = [row for row in rows if bool(named & {row["name"], row["structure"]}) == (row in measured)]
    told = {text for row in measured for text in (row["name"], row["structure"])}
    groups = {
        "Removed": [row["structure"] for row in measured if row not in kept],
        "Added, and not measured": [s.title or s.name for s in there if not told & {s.name, s.title}],
    }
    words = [f"{what}: {', '.join(names)}." for what, names in groups.items() if names]
    return kept, " ".join([_CORRECTED.format(file), *words])


def _named_as(rows: list[dict[str, str]], label_map: LabelMap) -> LabelMap:
    """The label map with its structures named as in the table.

    Older segmentations, and those of other programs, hold the title of a structure, not its name.
    """
    named = {s.name: s.name for s in label_map.structures}
    titled = {s.title: s.name for s in label_map.structures}
    found = [row for row in rows if int(row["voxels"])]
    names = {(named.get(row["name"]) or titled[row["structure"]]): row["name"] for row in found}
    return replace(label_map, structures=[replace(s, name=names.get(s.name, s.name)) for s in label_map.structures])


def _row(row: dict[str, str], label_map: LabelMap) -> str:
    structure = {s.name: s for s in label_map.structures}[row["name"]]
    name, title = escape(row["name"], quote=True), escape(row["structure"], quote=True)
    *numbers, confidence = _numbers(row)
    cells = "".join(f'<td class="num">{escape(value)}</td>' for value in numbers)
    cells += f'<td class="num" title="{escape(_note(row), quote=True)}">{escape(confidence)}</td>'
    color = "#{:02x}{:02x}{:02x}".format(*structure.color)
    return (
        f'<tr><td><input type="checkbox" checked value="{name}" aria-label="Show {title}"></td>'
        f'<td><span class="dot" style="background:{color}"></span>{title}</td>{cells}</tr>'
    )


def _numbers(row: dict[str, str]) -> tuple[str, str, str]:
    confidence = f"{float(row['confidence']):.2f}" if row["confidence"] else ""
    volume = volume_text(float(row["volume_ml"]), row.get("cut") == "yes")
    return volume, hu_text(float(row["mean_hu"])), confidence


def _note(row: dict[str, str]) -> str:
    return confidence_note(*(float(row[n]) if row.get(n) else None for n in ("confidence", "boundary_margin")))


def _missing(titles: list[str]) -> str:
    return f"Not found: {', '.join(titles)}." if titles else ""


def _picture(path: Path) -> str:
    if not path.exists():
        return ""
    source = f"data:image/png;base64,{_base64(path.read_bytes())}"
    return f'<h2>Slices</h2><img alt="Slices with outlined structures" src="{source}">'


def _glb(folder: Path, label_map: LabelMap, corrected: bool) -> bytes:
    made = folder / "surfaces" / "organs.glb"
    if made.exists() and not corrected:
        return made.read_bytes()
    if not label_map.array.any():
        raise InputError(
            f"There is nothing to show in {folder}: its label map is empty.",
            "Segment again, with other structures or another model.",
            code="input.empty",
        )
    from ...surfaces import make_surfaces
    from ...surfaces.export import export_surfaces

    with temporary_folder() as temporary:
        files = export_surfaces(make_surfaces(label_map), temporary, ["glb"])
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
