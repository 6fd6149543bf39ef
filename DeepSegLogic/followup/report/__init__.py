"""A follow-up as one HTML file: sentences, table, registration, pictures. It needs no network and no server."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from ...data.boxes import box_of
from ...data.label_map import structure_named
from ...data.types import MaskArray
from ...evaluation.structures import pair_structures
from ...results.report import STYLE
from ...review.field_of_view import bounded
from ...util.progress import Cancel, check
from ..change import Change
from ..follow_up import FollowUp
from ..pictures import BRIGHTER, COLORS, DARKER, picture
from ..time_point import TimePoint

if TYPE_CHECKING:
    from PIL.Image import Image

_PICTURED = 6
_HEADER = ("Structure", "Before, ml", "After, ml", "Change, ml", "Change, %", "Uncertainty, ml", "HU before")
_STAGES = {"none": "before", "rigid": "after the rigid part", "deformable": "after the deformable part"}
_MORE = ("HU after", "Shift, mm", "Note")


def page(found: FollowUp, created: str, cancel: Cancel) -> str:
    """The report as HTML.

    Args:
        created: time in ISO 8601.
    """
    told = [found.span or "interval unknown", created.replace("T", " ")[:16]]
    return Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8")).substitute(
        style=STYLE.read_text(encoding="utf-8"),
        facts=escape(" · ".join(told)),
        warnings="".join(f'<p class="faint">{escape(sentence)}</p>' for sentence in found.warnings),
        sentences="".join(
            f"<li><b>{escape(c.full_title)}</b>: {escape(c.sentence)}</li>"
            for c in sorted(found.changes, key=lambda c: not c.clear)
        ),
        table=_table(found.changes),
        registration=_registration(found),
        pictures="\n".join(_pictures(found, cancel)),
    )


def _table(changes: Iterable[Change]) -> str:
    texts = ("Structure", "Note")
    head = "".join(f"<th{'' if t in texts else ' class=num'}>{escape(t)}</th>" for t in (*_HEADER, *_MORE))
    lines = []
    for one in changes:
        first, *numbers, last = cells(one)
        middle = "".join(f"<td class=num>{escape(cell)}</td>" for cell in numbers)
        lines.append(f"<tr><td>{escape(first)}</td>{middle}<td>{escape(last)}</td></tr>")
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(lines)}</tbody></table>"


def cells(one: Change) -> list[str]:
    """A row of the table as texts."""

    def short(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        one.full_title,
        bounded(f"{one.before_ml:.2f}", one.cut_before),
        bounded(f"{one.after_ml:.2f}", one.cut_after),
        short(one.change_ml, "+.2f"),
        short(one.change_percent, "+.1f"),
        f"±{one.uncertainty_ml:.2f}",
        short(one.before_hu, ".0f"),
        short(one.after_hu, ".0f"),
        short(one.shift_mm, ".1f"),
        one.note,
    ]


def _registration(found: FollowUp) -> str:
    one = found.registration
    matrix = "\n".join(" ".join(f"{x:10.4f}" for x in row) for row in one.rigid)
    stages = ", ".join(f"{value:.3f} {_STAGES[stage]}" for stage, value in one.overlap.items())
    kind = "rigid and deformable" if one.deformable else "rigid"
    shift = float(np.linalg.norm(one.shift_mm(found.baseline)))
    return (
        f"<p>Registered by the {one.basis}, {kind}: turned by {one.rotation_deg:.1f}°, moved by {shift:.1f} mm. Mean "
        f"Dice of the common structures: {stages}.</p>"
        f"<p class=faint>Rigid part, baseline to follow-up, RAS in mm. The whole transform is in transform.tfm.</p>"
        f"<pre>{matrix}</pre>"
    )


def _pictures(found: FollowUp, cancel: Cancel) -> Iterable[str]:
    points = (found.baseline, found.follow_up)
    colors = dict(COLORS)
    if all(point.volume is not None for point in points):
        colors |= {"brighter": BRIGHTER, "darker": DARKER}
    yield _figure(picture(points, found.registration, _all(points), None), "All structures of both", colors)
    structures = [c for c in found.changes if not c.lesion and c.before_ml and c.after_ml and c.change_percent]
    for one in sorted(structures, key=lambda c: -abs(c.change_percent or 0))[:_PICTURED]:
        check(cancel)
        masks = _one(points, one)
        box = box_of(masks[1])
        if box is not None:
            yield _figure(picture(points, found.registration, masks, box), f"{one.title}: {one.sentence}", colors)


def _all(points: tuple[TimePoint, TimePoint]) -> tuple[MaskArray, MaskArray]:
    """What both scans were segmented for."""
    pairs, _ = pair_structures(points[1].label_map, points[0].label_map)
    both = [(pair.reference.value, pair.prediction.value) for pair in pairs if pair.reference and pair.prediction]
    values = zip(*both, strict=True)
    before, after = (np.isin(p.label_map.array, found) for p, found in zip(points, values, strict=True))
    return before, after


def _one(points: tuple[TimePoint, TimePoint], one: Change) -> tuple[MaskArray, MaskArray]:
    masks = []
    for point in points:
        structures = point.label_map.structures
        structure = structure_named(one.name, structures) or structure_named(one.title, structures)
        shape = point.label_map.shape_kji
        masks.append(point.label_map.mask(structure.name) if structure is not None else np.zeros(shape, bool))
    return masks[0], masks[1]


def _figure(image: Image, caption: str, colors: dict[str, tuple[int, int, int]]) -> str:
    with io.BytesIO() as file:
        image.save(file, "PNG")
        source = base64.b64encode(file.getvalue()).decode("ascii")
    legend = " ".join(
        f'<span class="dot" style="background:rgb{color}"></span>{word}' for word, color in colors.items()
    )
    return (
        f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/png;base64,{source}">'
        f'<figcaption class="faint">{escape(caption)} · {legend}</figcaption></figure>'
    )
