"""What is written into the picture of a plan: names with lines, distances with their numbers, a scale bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.types import PointsRas
from ..planning.looks import RGB, spread
from .rendering import Frame

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_TEXT, _FAINT, _LINE = (232, 236, 240), (150, 158, 168), (255, 217, 76)
_FONT, _MARGIN = 15, 14  # px at 1×
_MOST = 24  # names in a picture
_BARS_MM = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Caption:
    """A name in a picture.

    Attributes:
        text: the name.
        color: of the dot beside it.
        points: (N, 3) RAS mm, of the surface that it names.
    """

    text: str
    color: RGB
    points: PointsRas


@dataclass(frozen=True)
class Measured:
    """A distance in a picture.

    Attributes:
        points: (2, 3) RAS mm.
        text: the number with its unit.
    """

    points: PointsRas
    text: str


def annotated(
    image: Image, frame: Frame, captions: Sequence[Caption], measured: Sequence[Measured], scale: int = 1
) -> Image:
    """A picture with names at its sides, distances, and a scale bar.

    Args:
        frame: that the picture was drawn in.
        scale: of text and lines.
    """
    from PIL import ImageDraw

    image = image.copy()
    draw = ImageDraw.Draw(image)
    anchors = [(caption, *_anchor(frame, caption)) for caption in captions[:_MOST]]
    middle = frame.size[0] / 2
    for left in (True, False):
        side = sorted((a for a in anchors if (a[1] < middle) == left), key=lambda a: a[2])
        _names(draw, frame, side, left, scale)
    for one in measured:
        _distance(draw, frame, one, scale)
    _scale_bar(draw, frame, scale)
    return image


def _anchor(frame: Frame, caption: Caption) -> tuple[float, float]:
    """The point of the surface that is nearest to its middle, as seen."""
    flat = frame.pixels(caption.points)
    x, y = flat[np.linalg.norm(flat - flat.mean(0), axis=1).argmin()].tolist()
    return x, y


def _names(draw: ImageDraw, frame: Frame, side: Sequence[tuple[Caption, float, float]], left: bool, scale: int) -> None:
    """Names in a column, from top to bottom, each with a line to its structure; lines of a side do not cross."""
    font, margin, step = _font(scale), _MARGIN * scale, 1.5 * _FONT * scale
    heights = spread([y for _, _, y in side], [step] * len(side), 0, frame.size[1] - 3.5 * step)
    for (caption, x, y), at in zip(side, heights.tolist(), strict=True):
        long = draw.textlength(caption.text, font=font)
        start = margin if left else frame.size[0] - margin - long
        end = start + long + 6 * scale if left else start - 6 * scale
        draw.line([(end, at), (x, y)], fill=_FAINT, width=scale)
        r = 3 * scale
        draw.ellipse((x - r, y - r, x + r, y + r), fill=caption.color, outline=_TEXT, width=scale)
        draw.text(
            (start, at), caption.text, fill=_TEXT, font=font, anchor="lm", stroke_width=scale, stroke_fill=(0, 0, 0)
        )


def _distance(draw: ImageDraw, frame: Frame, one: Measured, scale: int) -> None:
    ends = [(x, y) for x, y in frame.pixels(one.points).tolist()]
    draw.line(ends, fill=_LINE, width=3 * scale)
    r = 4 * scale
    for x, y in ends:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_LINE)
    x, y = np.mean(ends, 0).tolist()
    place = x + 10 * scale, y - 10 * scale
    draw.text(place, one.text, fill=_LINE, font=_font(scale), anchor="lb", stroke_width=scale, stroke_fill=(0, 0, 0))


def _scale_bar(draw: ImageDraw, frame: Frame, scale: int) -> None:
    """A bar of a round length, a fifth of the picture at most, with the length beside it."""
    widest = frame.size[0] / 5 * frame.mm_per_pixel
    mm = max((bar for bar in _BARS_MM if bar <= widest), default=_BARS_MM[0])
    x, y = _MARGIN * scale, frame.size[1] - _MARGIN * scale
    long = mm / frame.mm_per_pixel
    for start, end in (((x, y), (x + long, y)), *(((p, y - 4 * scale), (p, y + 4 * scale)) for p in (x, x + long))):
        draw.line([start, end], fill=_TEXT, width=2 * scale)
    draw.text((x + long + 8 * scale, y), f"{mm} mm", fill=_TEXT, font=_font(scale), anchor="lm")


def _font(scale: int) -> FreeTypeFont | ImageFont:
    from PIL.ImageFont import load_default

    return load_default(_FONT * scale)
