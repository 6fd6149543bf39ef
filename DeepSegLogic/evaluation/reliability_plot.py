"""Reliability diagrams: how often what was believed is true, over how strongly it was believed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ..util.words import counted
from .calibration import BINS, Reliability
from .plots import GRID, LINE, POINT, line, svg, text

_SIDE, _LEFT, _TOP, _GAP = 150, 40, 24, 60
_ACROSS = 4


def reliability_diagram(found: Mapping[str, Reliability], titles: Mapping[str, str]) -> str:
    """A small diagram for each structure, all together first: a bar per bin of probability, as high as the share of its
    voxels that belong to the structure. Bars on the diagonal are calibrated. Empty without probabilities.

    Args:
        found: by structure.
        titles: of these.
    """
    if not found:
        return ""
    rows = list(found.values())
    shown = {"all structures": sum(rows[1:], rows[0])} if len(rows) > 1 else {}
    shown |= {titles.get(name, name): bins for name, bins in found.items()}
    parts = []
    for n, (title, bins) in enumerate(shown.items()):
        left, top = _LEFT + (n % _ACROSS) * (_SIDE + _GAP), _TOP + (n // _ACROSS) * (_SIDE + _GAP)
        parts += _diagram(title, bins, left, top)
    return svg(parts, _TOP + -(-len(shown) // _ACROSS) * (_SIDE + _GAP), "Reliability diagrams")


def _diagram(title: str, bins: Reliability, left: float, top: float) -> list[str]:
    bottom, width = top + _SIDE, _SIDE / BINS
    parts = [
        text(left + _SIDE / 2, top - 8, f"{title}, ECE {bins.ece:.3f}", "middle"),
        line(left, bottom, left + _SIDE, top, LINE, 1, "4 3"),
        line(left, bottom, left + _SIDE, bottom, GRID),
        line(left, top, left, bottom, GRID),
    ]
    for believed, true, voxels in bins.points:
        x = left + min(int(believed * BINS), BINS - 1) * width
        caption = escape(f"{title}: believed {believed:.2f}, true {true:.2f}, {counted(voxels, 'voxel')}")
        parts.append(
            f'<rect x="{x:.1f}" y="{bottom - true * _SIDE:.1f}" width="{width - 1:.1f}" height="{true * _SIDE:.1f}" '
            f'fill="{POINT}" fill-opacity="0.7"><title>{caption}</title></rect>'
        )
    for at in (0, 0.5, 1):
        parts.append(text(left + at * _SIDE, bottom + 14, f"{at:g}", "middle"))
        parts.append(text(left - 6, bottom - at * _SIDE + 4, f"{at:g}", "end"))
    return parts
