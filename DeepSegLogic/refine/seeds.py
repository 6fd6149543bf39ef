"""Prompts as voxels of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..boxes import Slices, common, within
from ..errors import InputError
from ..geometry import ijk_to_ras_points, ras_to_ijk, spacing_of
from .prompts import Box, Lasso, Point, Prompt, Scribble


@dataclass(frozen=True)
class Seeds:
    """The voxels that a prompt fixes.

    Attributes:
        box: where they are, (K, J, I).
        mask: boolean, of the box's shape; at least one is True.
        limit: a box that the change must not leave, for a positive box prompt.
        clipped: part of the prompt lies outside the volume.
    """

    box: Slices
    mask: np.ndarray
    limit: Slices | None = None
    clipped: bool = False


def seeds_of(prompt: Prompt, shape, ijk_to_ras: np.ndarray, number: int) -> Seeds:
    """The voxels of a prompt.

    Args:
        shape, ijk_to_ras: the grid, (K, J, I).
        number: of the prompt, from 1, for messages.

    Raises:
        InputError: no voxel of the volume belongs to it.
    """
    box, mask, whole = voxels_of(prompt, shape, ijk_to_ras)
    if not mask.any():
        raise _outside(prompt, shape, ijk_to_ras, number, whole)
    if isinstance(prompt, Box) and prompt.positive:
        middle = tuple(n // 2 for n in mask.shape)
        mask_of_middle = np.ones((1, 1, 1), bool)
        at = tuple(slice(s.start + m, s.start + m + 1) for s, m in zip(box, middle, strict=True))
        return Seeds(at, mask_of_middle, box, not whole)
    return Seeds(box, mask, clipped=not whole)


def overlap(a: Seeds, b: Seeds) -> bool:
    """Whether two prompts fix a voxel in common."""
    both = common(a.box, b.box)
    return both is not None and bool((a.mask[within(both, a.box)] & b.mask[within(both, b.box)]).any())


def voxels_of(prompt: Prompt, shape, ijk_to_ras: np.ndarray) -> tuple[Slices, np.ndarray, bool]:
    """What a prompt covers: a box, a mask of its shape, maybe empty, and whether all of it is inside the grid."""
    make = {Point: _point, Scribble: _stroke, Box: _box, Lasso: _enclosed}[type(prompt)]
    return make(prompt, shape, ijk_to_ras)


def inside_curve(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which places a closed curve encloses (even-odd rule).

    Args:
        corners: (N, 2).
        x, y: of the places; any shapes that go together.
    """
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _outside(prompt: Prompt, shape, ijk_to_ras, number: int, whole: bool) -> InputError:
    which = f"Prompt {number} (a {prompt.kind} for {prompt.structure})"
    if whole:
        return InputError(f"{which} encloses no voxel.", "Make it larger.", code="input.prompts")
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape[::-1]])).reshape(3, -1).T
    corners = ijk_to_ras_points(ends, ijk_to_ras)
    span = ", ".join(
        f"{axis} {low:.0f} to {high:.0f}" for axis, low, high in zip("RAS", corners.min(0), corners.max(0), strict=True)
    )
    return InputError(
        f"{which} lies outside the volume, which spans {span} mm.",
        "Give coordinates in RAS, in mm; ITK and DICOM use LPS, where the first two have the other sign.",
        code="input.prompt_outside",
    )


def _around(points_ras: np.ndarray, margin_mm: float, shape, ijk_to_ras) -> tuple[Slices, bool]:
    """The part of the grid around points, and whether the grid holds all of it."""
    kji = ras_to_ijk(points_ras, ijk_to_ras)[:, ::-1]
    margin = margin_mm * np.linalg.norm(np.linalg.inv(ijk_to_ras)[:3, :3], axis=1)[::-1]
    low, high = np.rint(kji.min(0) - margin).astype(int), np.rint(kji.max(0) + margin).astype(int)
    start, stop = np.clip(low, 0, shape), np.clip(high + 1, 0, shape)
    return tuple(map(slice, start.tolist(), stop.tolist())), bool((start == low).all() and (stop == high + 1).all())


def _places(box: Slices, axes: np.ndarray, origin, ijk_to_ras) -> list[np.ndarray]:
    """Of each voxel in a box: its coordinates in mm along three unit axes from an origin."""
    k, j, i = np.ogrid[box]
    steps, offset = axes @ ijk_to_ras[:3, :3], axes @ (ijk_to_ras[:3, 3] - origin)
    return [a * i + b * j + c * k + o for (a, b, c), o in zip(steps, offset, strict=True)]


def _point(prompt: Point, shape, ijk_to_ras):
    box, whole = _around(np.array([prompt.ras]), 0.0, shape, ijk_to_ras)
    return box, np.ones([s.stop - s.start for s in box], bool), whole


def _stroke(prompt: Scribble, shape, ijk_to_ras):
    """Voxels nearer to the polyline than the radius, and those that it runs through."""
    points = np.array(prompt.points, float)
    box, whole = _around(points, prompt.radius_mm, shape, ijk_to_ras)
    mask = np.zeros([s.stop - s.start for s in box], bool)
    first = np.array([s.start for s in box])
    starts, ends = (points, points) if len(points) == 1 else (points[:-1], points[1:])
    step = spacing_of(ijk_to_ras).min() / 2
    for start, end in zip(starts, ends, strict=True):
        length = np.linalg.norm(end - start)
        line = start + np.linspace(0, 1, int(length / step) + 2)[:, None] * (end - start)
        voxels = np.rint(ras_to_ijk(line, ijk_to_ras)).astype(int)[:, ::-1] - first
        mask[tuple(voxels[((voxels >= 0) & (voxels < mask.shape)).all(1)].T)] = True
        part, _ = _around(np.array([start, end]), prompt.radius_mm, shape, ijk_to_ras)
        x, y, z = _places(part, np.eye(3), start, ijk_to_ras)
        a, b, c = (end - start) / max(length, 1e-9)
        at = np.clip(a * x + b * y + c * z, 0, length)
        near = (x - a * at) ** 2 + (y - b * at) ** 2 + (z - c * at) ** 2 <= prompt.radius_mm**2
        mask[tuple(slice(s.start - f, s.stop - f) for s, f in zip(part, first, strict=True))] |= near
    return box, mask, whole


def _enclosed(prompt: Lasso, shape, ijk_to_ras):
    """Voxels whose centre the curve encloses (even-odd rule), one layer thick."""
    points = np.array(prompt.points, float)
    centre = points.mean(0)
    axes = np.linalg.svd(points - centre)[2]  # two in the plane, then its normal
    half = np.abs(axes[2] @ ijk_to_ras[:3, :3]).max() / 2
    box, whole = _around(points, half, shape, ijk_to_ras)
    x, y, z = _places(box, axes, centre, ijk_to_ras)
    corners = (points - centre) @ axes[:2].T
    return box, inside_curve(corners, x, y) & (np.abs(z) <= half + 1e-6), whole


def _box(prompt: Box, shape, ijk_to_ras):
    corners = np.array(prompt.corners, float)
    low, high = corners.min(0), corners.max(0)
    box, whole = _around(np.array(np.meshgrid(*corners.T)).reshape(3, -1).T, 0.0, shape, ijk_to_ras)
    mask = np.ones([s.stop - s.start for s in box], bool)
    for at, a, b in zip(_places(box, np.eye(3), np.zeros(3), ijk_to_ras), low, high, strict=True):
        mask &= (at >= a - 1e-6) & (at <= b + 1e-6)
    return box, mask, whole
