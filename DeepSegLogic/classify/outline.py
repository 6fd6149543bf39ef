"""The field of view of a scan beside a body outline, as a small picture."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

from .names import REGIONS
from .scan import Scan

LENGTHS_MM = {"legs": 800.0, "pelvis": 220.0, "abdomen": 210.0, "chest": 230.0, "neck": 130.0, "head": 170.0}
WIDTH, HEIGHT = 90, 200
_BODY, _SHOWN, _FRAME = (128, 132, 140), (72, 160, 220), (240, 180, 60)
_TWICE = 4  # drawn larger, then reduced: smooth borders
_PARTS = (  # of a person 1.0 high, standing in a square: kind, then left, top, right, bottom
    ("ellipse", 0.43, 0.0, 0.57, 0.115),
    ("box", 0.465, 0.1, 0.535, 0.16),
    ("round", 0.375, 0.145, 0.625, 0.5),
    ("round", 0.295, 0.155, 0.36, 0.53),
    ("round", 0.64, 0.155, 0.705, 0.53),
    ("round", 0.375, 0.4, 0.625, 0.56),
    ("round", 0.385, 0.48, 0.49, 1.0),
    ("round", 0.51, 0.48, 0.615, 1.0),
)


def field_of_view(scan: Scan) -> tuple[float, float] | None:
    """The lower and upper end of a scan on a body from 0 (feet) to 1 (top of the head); None if no region is known.

    A region of which both ends are in the scan fixes the place; one that the scan cuts is as long as usual.

    Example:
        >>> from DeepSegLogic.classify import Part, Scan
        >>> from DeepSegLogic.classify.outline import field_of_view
        >>> scan = Scan("CT", (Part("abdomen", 0, 150, 0.9), Part("chest", 150, 380, 0.9)), 0, 380)
        >>> [round(end, 2) for end in field_of_view(scan)]
        [0.61, 0.83]
    """
    if not scan.parts:
        return None
    total, starts = sum(LENGTHS_MM.values()), dict.fromkeys(REGIONS, 0.0)
    for below, above in pairwise(REGIONS):
        starts[above] = starts[below] + LENGTHS_MM[below]
    first, last = (REGIONS.index(name) for name in (scan.regions[0], scan.regions[-1]))
    low, high = starts[REGIONS[first]], starts[REGIONS[last]] + LENGTHS_MM[REGIONS[last]]
    lowest, highest = scan.parts[0], scan.parts[-1]
    if lowest.region != REGIONS[first]:  # upside down
        lowest, highest = highest, lowest
    if first < last:  # the border to the next region is in the scan
        low = starts[REGIONS[first]] + max(LENGTHS_MM[REGIONS[first]] - (lowest.high_mm - lowest.low_mm), 0)
        high = starts[REGIONS[last]] + min(LENGTHS_MM[REGIONS[last]], highest.high_mm - highest.low_mm)
    else:
        middle, half = (low + high) / 2, min(high - low, lowest.high_mm - lowest.low_mm) / 2
        low, high = middle - half, middle + half
    return low / total, high / total


def outline_png(scan: Scan) -> bytes:
    """A PNG of 90×200 pixels with transparent ground: a body, the scanned part of it in colour and framed."""
    from PIL import Image, ImageDraw

    size = WIDTH * _TWICE, HEIGHT * _TWICE
    body = Image.new("L", size)
    draw = ImageDraw.Draw(body)
    left, top, height = ((WIDTH - HEIGHT + 12) / 2 * _TWICE, 6 * _TWICE, (HEIGHT - 12) * _TWICE)
    for kind, x0, y0, x1, y1 in _PARTS:
        box = [left + height * x0, top + height * y0, left + height * x1, top + height * y1]
        if kind == "ellipse":
            draw.ellipse(box, fill=255)
        else:
            draw.rounded_rectangle(box, 0.035 * height if kind == "round" else 0, fill=255)
    picture = Image.new("RGBA", size)
    picture.paste(_BODY, (0, 0, *size), body)
    ends = field_of_view(scan)
    if ends is not None:
        above, below = round(top + height * (1 - ends[1])), round(top + height * (1 - ends[0]))
        part = Image.new("L", size)
        part.paste(body.crop((0, above, size[0], below)), (0, above))
        picture.paste(_SHOWN, (0, 0, *size), part)
        frame = [_TWICE, above, size[0] - _TWICE, below]
        ImageDraw.Draw(picture).rectangle(frame, outline=_FRAME, width=_TWICE + _TWICE // 2)
    file = BytesIO()
    picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()
