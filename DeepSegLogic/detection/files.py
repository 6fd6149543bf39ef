"""Files of findings: a CSV table, and ROI markups that 3D Slicer opens as boxes."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..io.files import as_path, opened
from ..util.atomic_write import atomic_path
from ..util.errors import InputError
from ..util.tables import table_of, write_table
from .finding import STATES, BoxFinding, Position, State

CSV_FILE, MARKUPS_FILE, REPORT_FILE = "findings.csv", "findings.mrk.json", "findings.sr.dcm"
MASKS_FILE = "findings.seg.nrrd"
PROVENANCE_FILE = "findings.provenance.json"  # a segmentation in the same folder has its own
_COLUMNS = (
    *("number", "kind", "score", "state"),
    *("center_r_mm", "center_a_mm", "center_s_mm", "size_r_mm", "size_a_mm", "size_s_mm"),
    "segment",
)
_MOST_BYTES = 64 << 20
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
COLORS = {"open": [1.0, 0.75, 0.2], "accepted": [0.3, 0.85, 0.4], "rejected": [0.6, 0.6, 0.6]}
"""Of boxes by their state, RGB."""


def write_findings_csv(findings: Sequence[BoxFinding], path: Path | str) -> None:
    """Write findings as a table: number, kind, score, state, centre and size along R, A and S in mm, and the structure
    that is its mask.

    Raises:
        OutputError: the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from DeepSegLogic import BoxFinding, read_findings_csv, write_findings_csv
        >>> nodule = BoxFinding("lung_nodule", 0.9, (-60.0, 10.0, 100.0), (-50.0, 18.0, 106.0))
        >>> write_findings_csv([nodule], path := Path(mkdtemp(), "findings.csv"))
        >>> read_findings_csv(path) == [nodule]
        True
    """
    rows = [
        (number, one.kind, f"{one.score:.4f}", one.state, *_places(one), one.segment)
        for number, one in enumerate(findings, start=1)
    ]
    with atomic_path(path) as temporary:
        write_table(temporary, _COLUMNS, rows)


def _places(finding: BoxFinding) -> list[str]:
    return [f"{x:.2f}" for x in (*finding.center_ras, *finding.size_mm)]


def read_findings_csv(path: Path | str) -> list[BoxFinding]:
    """Read a table of :func:`write_findings_csv`. Columns ``number``, ``score``, ``state`` and ``segment`` may be
    missing.

    Raises:
        InputError: the file is missing, is no such table, or has a box without size; the message says in which line.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> from DeepSegLogic import read_findings_csv
        >>> path = Path(mkdtemp(), "boxes.csv")
        >>> columns = ["kind", *(f"{what}_{axis}_mm" for what in ("center", "size") for axis in "ras")]
        >>> _ = path.write_text(",".join(columns) + "\\nnodule,-55,14,103,10,8,6\\n")
        >>> read_findings_csv(path)[0].high
        (-50.0, 18.0, 106.0)
    """
    path = as_path(path)
    with opened(path) as file:
        content = file.read(_MOST_BYTES)
    try:
        header, rows = table_of(io.StringIO(content.decode("utf-8-sig"), newline="")) if content else ([], [])
    except ValueError as error:
        raise _bad(path, f"it is not a CSV table ({error})") from error
    findings = []
    for line, row in enumerate(filter(None, rows), start=2):
        try:
            findings.append(_finding(dict(zip(header, row, strict=False))))
        except (KeyError, ValueError, TypeError) as error:
            raise _bad(path, f"line {line} is not a box ({error})") from error
    return findings


def _finding(row: dict[str, str]) -> BoxFinding:
    center = [float(row[name]) for name in _COLUMNS[4:7]]
    size = [float(row[name]) for name in _COLUMNS[7:10]]
    score, state = float(row.get("score") or 1.0), row.get("state") or "open"
    if not all(map(math.isfinite, [*center, *size, score])) or min(size) <= 0:
        raise ValueError("its numbers are not finite, or a size is not above 0")
    known: State | None = next((s for s in STATES if s == state), None)
    if known is None:
        raise ValueError(f"unknown state {state!r}")
    ends = _end(center, size, -0.5), _end(center, size, 0.5)
    return BoxFinding(row["kind"], score, *ends, known, row.get("segment", ""))


def _end(center: Sequence[float], size: Sequence[float], side: float) -> Position:
    r, a, s = (round(c + side * n, 4) for c, n in zip(center, size, strict=True))
    return r, a, s


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} is not a table of findings: {what}.",
        "Give a findings.csv, as detection writes it.",
        code="input.findings",
    )


def write_roi_markups(findings: Sequence[BoxFinding], path: Path | str) -> None:
    """Write findings as ROI boxes for 3D Slicer (``.mrk.json``): one ROI each, coloured by its state.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {"@schema": _SCHEMA, "markups": [roi_json(one, n) for n, one in enumerate(findings, start=1)]}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), "utf-8")


def roi_json(finding: BoxFinding, number: int) -> dict[str, Any]:
    """A finding as a ROI of a markups file, in LPS mm as that format has it."""
    r, a, s = finding.center_ras
    center, color = [-r, -a, s], COLORS[finding.state]
    return {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": True,
        "roiType": "Box",
        "center": center,
        "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
        "size": list(finding.size_mm),
        "insideOut": False,
        "controlPoints": [
            {"id": "1", "label": roi_name(finding, number), "position": center, "positionStatus": "defined"}
        ],
        "display": {"color": color, "selectedColor": color, "propertiesLabelVisibility": False},
    }


def roi_name(finding: BoxFinding, number: int) -> str:
    """What a box is called in views: ``"3 lung nodule 0.91"``."""
    return f"{number} {finding.kind.replace('_', ' ')} {finding.score:.2f}"
