"""One HTML file that shows a result: rotatable 3D model, slices, table. It needs no network and no server."""

from __future__ import annotations

import base64
import csv
import json
import tempfile
from html import escape
from pathlib import Path
from string import Template

from ..errors import InputError
from ..io import read_label_map
from ..io.atomic import atomic_path
from ..labels import LabelMap
from ..measures import confidence_note

_HERE = Path(__file__).parent


def write_report(folder: Path, path: Path) -> None:
    """Write the report of a folder that ``deepseg segment`` made.

    Args:
        folder: holds ``segmentation.seg.nrrd``, ``measurements.csv``, ``provenance.json`` and, for the slices,
            ``preview.png``. ``surfaces/organs.glb`` is used if it is there.
        path: of the HTML file.

    Raises:
        InputError: the folder lacks something, or holds something damaged.
        OutputError: the file cannot be written.
    """
    try:
        page = _page(folder)
    except (ValueError, LookupError, TypeError) as error:  # JSON, CSV, and what should be in them
        raise InputError(
            f"measurements.csv or provenance.json in {folder} is damaged, or does not fit the segmentation.",
            "Run `deepseg segment` again.",
            code="input.report",
        ) from error
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(folder: Path) -> str:
    label_map = read_label_map(folder / "segmentation.seg.nrrd")
    rows = list(csv.DictReader(_text(folder / "measurements.csv").splitlines()))
    facts = json.loads(_text(folder / "provenance.json"))
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        name=escape(facts["input"]["name"]),
        facts=escape(f"{facts['model']['id']} · {facts['created'].replace('T', ' ')[:16]}"),
        rows="\n".join(_row(row, label_map) for row in rows if int(row["voxels"])),
        missing=escape(_missing([row["structure"] for row in rows if not int(row["voxels"])])),
        picture=_picture(folder / "preview.png"),
        provenance=escape(json.dumps(facts, indent=2, ensure_ascii=False)),
        glb=_base64(_glb(folder, label_map)),
        viewer=(_HERE / "viewer.js").read_text(encoding="utf-8"),
    )


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
    return f"{float(row['volume_ml']):.1f}", str(round(float(row["mean_hu"]))), confidence


def _note(row: dict[str, str]) -> str:
    return confidence_note(*(float(row[n]) if row.get(n) else None for n in ("confidence", "boundary_margin")))


def _missing(titles: list[str]) -> str:
    return f"Not found: {', '.join(titles)}." if titles else ""


def _picture(path: Path) -> str:
    if not path.exists():
        return ""
    source = f"data:image/png;base64,{_base64(path.read_bytes())}"
    return f'<h2>Slices</h2><img alt="Slices with outlined structures" src="{source}">'


def _glb(folder: Path, label_map: LabelMap) -> bytes:
    made = folder / "surfaces" / "organs.glb"
    if made.exists():
        return made.read_bytes()
    if not label_map.array.any():
        raise InputError(
            f"{folder} shows nothing: its label map is empty.",
            "Segment again, with other structures or another model.",
            code="input.empty",
        )
    from ..surfaces import extract_surfaces
    from ..surfaces.export import export_surfaces

    with tempfile.TemporaryDirectory() as temporary:
        files = export_surfaces(extract_surfaces(label_map), Path(temporary), ["glb"])
        return files[0].read_bytes()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}).",
            "Give a folder that `deepseg segment` made.",
            code="input.missing",
        ) from error


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
