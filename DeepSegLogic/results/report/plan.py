"""The planning page of a report: pictures of the parts, the numbers, and what they assume."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape

import numpy as np

from ...data.affine import ras_to_ijk, reorient, spacing_kji
from ...data.boxes import box_of
from ...data.label_map import LabelMap
from ...data.types import FloatArray
from ...planning import Organ, Plan, evaluate_plan, joined
from ...planning.plan_file import cut_of, structures_of
from ...planning.texts import Line, lines
from ...util.errors import DeepSegError
from ..relief import pixel_mm, relief

ASSUMED = (
    "Distances, contact and diameters are measured on the closed surfaces of the segmentation.",
    "Volumes count whole voxels, and parts add up to the organ.",
    "Margins are measured between voxel centers.",
    "An organ is the voxels of its own structure: a tumor or a vessel with voxels of its own is no part of it.",
    "Positions are RAS in mm.",
)
STALE = "The segmentation was changed after these numbers were computed. They no longer hold."
_SIZE = 440
_BACKGROUND, _LINE = (21, 24, 28), (255, 217, 76)
# Directions of I, J and K, so that the third one is towards the viewer's top and the second one towards the viewer.
_VIEWS = {"From the front": "RAS", "From the right": "PRS", "From below": "RIA"}


def plan_section(plan: Plan, label_map: LabelMap) -> str:
    """HTML of a plan: empty without entries. Numbers that it lacks are computed.

    Args:
        label_map: the segmentation, maybe with the parts of the plan as structures.

    Raises:
        DeepSegError: an entry cannot be computed.
    """
    if not plan.entries:
        return ""
    whole = label_map
    for resection in plan.entries.get("resections", []):
        whole = joined(whole, resection["organ"])
    plan = evaluate_plan(plan, whole).plan if plan.numbers is None else plan
    titles = {s.name: s.title for s in whole.structures}
    numbers = plan.numbers or {}
    found = [lines(kind, one, titles) for kind in plan.entries for one in numbers[kind]]
    stale = f'<p class="stale">{escape(STALE)}</p>' if plan.stale else ""
    rows = "".join(row for line in found for row in _rows(line))
    notes = dict.fromkeys(note for line in found for note in line.notes)
    assumed = "".join(f"<li>{escape(sentence)}</li>" for sentence in (*notes, *ASSUMED))
    title = escape(f"Plan: {plan.title}" if plan.title else "Plan")
    return (
        f'<section class="plan"><h2>{title}</h2>{stale}<div class="views">{_pictures(plan, whole)}</div>'
        '<table aria-label="Plan"><thead><tr><th>Measured</th><th class="num">Value</th></tr></thead>'
        f"<tbody>{rows}</tbody></table><h2>What was assumed</h2><ul>{assumed}</ul></section>"
    )


def _rows(line: Line) -> Iterator[str]:
    for level, one in ((0, line), *((1, detail) for detail in line.details)):
        name = "detail" if level else "entry"
        yield f'<tr class="{name}"><td>{escape(one.title)}</td><td class="num">{escape(one.value)}</td></tr>'


def _pictures(plan: Plan, label_map: LabelMap) -> str:
    """The structures of the plan, organs in their parts, with the measured lines; from three sides."""
    from PIL import Image

    shown, names = _divided(plan, label_map), structures_of(plan, label_map)
    keep = [s for s in shown.structures if s.name in names or "_part_" in s.name]
    labels = np.where(np.isin(shown.array, [s.value for s in keep]), shown.array, 0)
    palette = np.zeros((max((s.value for s in keep), default=0) + 1, 3), np.uint8)
    for structure in keep:
        palette[structure.value] = structure.color
    found = []
    for name, axes in _VIEWS.items():
        turned, matrix = reorient(labels, label_map.ijk_to_ras, axes)
        picture = Image.fromarray(relief(turned, spacing_kji(matrix), palette, _BACKGROUND, _SIZE))
        _draw_lines(picture, plan, turned, matrix)
        content = io.BytesIO()
        picture.save(content, "PNG")
        source = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
        found.append(f'<figure><img alt="Plan, {name.lower()}" src="{source}"><figcaption>{name}</figcaption></figure>')
    dots = "".join(
        f'<span><span class="dot" style="background:#{bytes(s.color).hex()}"></span>{escape(s.title or s.name)}</span>'
        for s in keep
        if (labels == s.value).any()
    )
    return "".join(found) + f'<p class="faint legend">{dots}</p>'


def _divided(plan: Plan, label_map: LabelMap) -> LabelMap:
    for resection in plan.entries.get("resections", []):
        try:
            label_map = Organ(label_map, resection["organ"]).divided([cut_of(cut) for cut in resection["cuts"]])
        except DeepSegError:  # it was changed since: its numbers are marked
            continue
    return label_map


def _draw_lines(picture: object, plan: Plan, labels: np.ndarray, matrix: FloatArray) -> None:
    """Draw the measured distances, as seen in this view, each with its number."""
    from PIL import ImageDraw, ImageFont

    box = box_of(labels)
    if box is None:
        return
    middle = np.array([(part.start + part.stop - 1) / 2 for part in box][::-1])
    spacing = spacing_kji(matrix)
    pixel = pixel_mm([part.stop - part.start for part in box], spacing, _SIZE)
    draw = ImageDraw.Draw(picture)  # type: ignore[arg-type]
    for one in (plan.numbers or {}).get("distances", []):
        away = (ras_to_ijk(np.array(one["points_ras"]), matrix) - middle) * spacing[::-1]
        places = [(_SIZE / 2 - i / pixel, _SIZE / 2 - k / pixel) for i, _, k in away.tolist()]
        draw.line(places, fill=_LINE, width=3)
        for x, y in places:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_LINE)
        x, y = np.mean(places, 0)
        font, words = ImageFont.load_default(16), f"{one['distance_mm']:.1f} mm"
        draw.text((x + 8, y), words, fill=_LINE, font=font, stroke_width=1, stroke_fill=(0, 0, 0))
