"""Plots as SVG: sharp at any size, in one HTML file, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TypeAlias

import numpy as np

from ..data.types import FloatArray

_WIDTH, _LABELS, _RIGHT = 900, 190, 20
_ROW = 22
_AXIS = 34
_HEIGHT = 420
_TICKS = 8  # at most, about
INK, GRID = "var(--ink,#9fb0c0)", "var(--grid,#2c3238)"  # a page has others for print
POINT, LINE = "#56b4e9", "#e0a84a"
_CURVES = (LINE, "#56b4e9", "#60c080", "#d07ab8")
_Place: TypeAlias = Callable[[float], float]


def box_plot(values: Mapping[str, Sequence[float]], title: str) -> str:
    """A box per row: quartiles, median, whiskers up to 1.5 times the box, and a point per case.

    Args:
        values: finite ones by the row's label; rows without values are left out.
        title: of the axis.
    """
    rows = {label: np.sort(found) for label, found in values.items() if len(found)}
    if not rows:
        return ""
    scale, ticks = _scale(np.concatenate(list(rows.values())), _LABELS, _WIDTH - _RIGHT)
    bottom = 8 + _ROW * len(rows)
    parts = [_tick(scale(t), 8, bottom, t) for t in ticks]
    for n, (label, found) in enumerate(rows.items()):
        y = 8 + _ROW * (n + 0.5)
        q1, median, q3 = np.percentile(found, [25, 50, 75])
        inside = found[(found >= q1 - 1.5 * (q3 - q1)) & (found <= q3 + 1.5 * (q3 - q1))]
        parts += [
            text(_LABELS - 8, y + 4, label, "end"),
            line(scale(inside[0]), y, scale(inside[-1]), y, INK),
            f'<rect x="{scale(q1):.1f}" y="{y - 6:.1f}" width="{max(1.0, scale(q3) - scale(q1)):.1f}" height="12" '
            f'fill="#56b4e933" stroke="{INK}"/>',
            line(scale(median), y - 6, scale(median), y + 6, LINE, 2),
            *(_dot(scale(v), y, f"{label}: {v:.4g}", 2) for v in found),
        ]
    parts.append(text((_LABELS + _WIDTH) / 2, bottom + 30, title, "middle"))
    return svg(parts, bottom + _AXIS, f"Box plot: {title}")


def bland_altman(points: Sequence[tuple[str, float, float]]) -> str:
    """Bland and Altman's plot of volumes: the difference in % of the mean, over the mean (logarithmic).

    Args:
        points: caption, predicted and reference volume in ml, both above 0.
    """
    if len(points) < 2:
        return ""
    volumes = np.array([point[1:] for point in points])
    mean = volumes.mean(1)
    percent = 100 * (volumes[:, 0] - volumes[:, 1]) / mean
    bias, spread = float(percent.mean()), 1.96 * float(percent.std(ddof=1))
    limits = (bias, bias - spread, bias + spread)
    across, x_ticks = _scale(np.log10(mean), 70, _WIDTH - _RIGHT, whole=True)
    up, y_ticks = _scale(np.array([*percent, *limits]), _HEIGHT, 8)
    parts = [_tick(across(t), 8, _HEIGHT, 10.0**t) for t in x_ticks]
    parts += [line(70, up(t), _WIDTH - _RIGHT, up(t), GRID) + text(62, up(t) + 4, f"{t:.4g}", "end") for t in y_ticks]
    for value, dash in zip(limits, ("none", "5 4", "5 4"), strict=True):
        parts.append(line(70, up(value), _WIDTH - _RIGHT, up(value), LINE, 1.5, dash))
        parts.append(text(_WIDTH - _RIGHT, up(value) - 4, f"{value:+.1f} %", "end"))
    parts += [
        _dot(across(x), up(y), f"{point[0]}: {point[1]:.4g} ml, reference {point[2]:.4g} ml", 3)
        for point, x, y in zip(points, np.log10(mean), percent, strict=True)
    ]
    parts.append(text(_WIDTH / 2, _HEIGHT + 30, "Mean of both volumes (ml)", "middle"))
    parts.append(_upwards("Prediction minus reference (%)"))
    return svg(parts, _HEIGHT + _AXIS, "Bland-Altman plot of volumes")


def curve_plot(curves: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str) -> str:
    """Curves of shares from 0 to 1.

    Args:
        curves: points (x, y) by the curve's name, which may be empty if there is one; those that are not finite are
            left out.
        x_title, y_title: of the axes.
    """
    kept = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in curves.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return ""
    across, x_ticks = _scale(np.array([x for points in kept.values() for x, _ in points]), 70, _WIDTH - _RIGHT)
    up, y_ticks = _scale(np.array([0.0, 1.0]), _HEIGHT, 8)
    parts = [_tick(across(t), 8, _HEIGHT, t) for t in x_ticks]
    parts += [line(70, up(t), _WIDTH - _RIGHT, up(t), GRID) + text(62, up(t) + 4, f"{t:.4g}", "end") for t in y_ticks]
    for number, (name, points) in enumerate(kept.items()):
        color = _CURVES[number % len(_CURVES)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [_dot(across(x), up(y), f"{name} {x:.4g}: {y:.3f}".strip(), 2) for x, y in points]
        if name:
            parts.append(line(90, 24 + 18 * number, 114, 24 + 18 * number, color, 2))
            parts.append(text(120, 28 + 18 * number, name, "start"))
    parts.append(text(_WIDTH / 2, _HEIGHT + 30, x_title, "middle"))
    parts.append(_upwards(y_title))
    return svg(parts, _HEIGHT + _AXIS, f"{y_title} over {x_title}")


def _scale(values: FloatArray, start: float, stop: float, whole: bool = False) -> tuple[_Place, list[float]]:
    """Where a value lies in the picture, and round values for ticks.

    Args:
        start, stop: where the smallest and largest value lie.
        whole: ticks at whole numbers.
    """
    low, high = float(values.min()), float(values.max())
    if whole:
        low, high = math.floor(low), math.ceil(high)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * part for part in (0.1, 0.2, 0.5, 1, 2) if (high - low) / (step * part) <= _TICKS)
    step = max(1.0, round(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    ticks = [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]
    margin = 0.0 if whole else 0.03 * (high - low)
    low, high = low - margin, high + margin
    return lambda value: start + (float(value) - low) / (high - low) * (stop - start), ticks


def _tick(x: float, top: float, bottom: float, value: float) -> str:
    return line(x, top, x, bottom, GRID) + text(x, bottom + 14, f"{value:.5g}", "middle")


def line(x1: float, y1: float, x2: float, y2: float, color: str, width: float = 1, dash: str = "none") -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}" '
        f'stroke-dasharray="{dash}"/>'
    )


def _dot(x: float, y: float, caption: str, radius: float) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{POINT}" fill-opacity="0.7">'
        f"<title>{escape(caption)}</title></circle>"
    )


def text(x: float, y: float, words: str, anchor: str) -> str:
    """A text on one line; ``anchor`` says which end lies at the point."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{escape(words)}</text>'


def _upwards(words: str) -> str:
    """The title of a vertical axis."""
    return (
        f'<text transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle" fill="{INK}">'
        f"{escape(words)}</text>"
    )


def svg(parts: Sequence[str], height: float, label: str) -> str:
    """A picture of these parts; ``label`` describes it to those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-size="12" '
        f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )
