"""Rasterisation: the voxels of a grid that a prompt marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.affine import ijk_to_ras_points, ras_to_ijk, spacing_ijk
from ..data.boxes import between, common, size_of, within
from ..data.types import Affine, FloatArray, MaskArray, PointsRas, Slices
from ..util.errors import InputError
from ..util.words import number_text
from .prompts import Box, Lasso, Point, Prompt, Scribble


@dataclass(frozen=True)
class Seeds:
    """The voxels that a prompt fixes.

    Attributes:
        box: (K, J, I) slices that contain them.
        mask: bool, of the box's shape; at least one is True.
        limit: for a positive box prompt, the box that the correction must not leave.
        clipped: part of the prompt lies outside the volume.
    """

    box: Slices
    mask: MaskArray
    limit: Slices | None = None
    clipped: bool = False


def seeds_of(prompt: Prompt, shape: Sequence[int], ijk_to_ras: Affine, number: int) -> Seeds:
    """The voxels that a prompt fixes.

    Args:
        prompt: in RAS mm.
        shape, ijk_to_ras: the grid, (K, J, I) and 4×4.
        number: of the prompt, from 1, for messages.

    Raises:
        InputError: the prompt marks no voxel of the grid.
    """
    box, mask, whole = voxels_of(prompt, shape, ijk_to_ras)
    if not mask.any():
        raise _no_voxel(prompt, shape, ijk_to_ras, number, whole)
    if isinstance(prompt, Box) and prompt.positive:
        middle = [s.start + n // 2 for s, n in zip(box, mask.shape, strict=True)]
        return Seeds(between(middle, [m + 1 for m in middle]), np.ones((1, 1, 1), bool), box, not whole)
    return Seeds(box, mask, clipped=not whole)


def overlap(a: Seeds, b: Seeds) -> bool:
    """Whether two prompts fix a voxel in common."""
    both = common(a.box, b.box)
    return both is not None and bool((a.mask[within(both, a.box)] & b.mask[within(both, b.box)]).any())


def mark_the_same(a: Prompt, b: Prompt, shape: Sequence[int], ijk_to_ras: Affine) -> bool:
    """Whether two prompts of one structure and sign fix the same voxels of a grid, see :func:`seeds_of`."""
    if (a.structure, a.positive) != (b.structure, b.positive):
        return False
    one, other = seeds_of(a, shape, ijk_to_ras, 1), seeds_of(b, shape, ijk_to_ras, 1)
    return (one.box, one.limit) == (other.box, other.limit) and bool(np.array_equal(one.mask, other.mask))


def voxels_of(prompt: Prompt, shape: Sequence[int], ijk_to_ras: Affine) -> tuple[Slices, MaskArray, bool]:
    """The voxels that a prompt covers: a box, a mask of its shape (maybe empty), and whether the grid contains all."""
    match prompt:
        case Point():
            return _point(prompt, shape, ijk_to_ras)
        case Scribble():
            return _scribble(prompt, shape, ijk_to_ras)
        case Box():
            return _box(prompt, shape, ijk_to_ras)
        case Lasso():
            return _lasso(prompt, shape, ijk_to_ras)
    raise TypeError(f"{type(prompt).__name__} is not a kind of prompt")


def inside_curve(corners: FloatArray, x: npt.NDArray[np.number], y: npt.NDArray[np.number]) -> MaskArray:
    """Which points a closed curve encloses, by the even-odd rule.

    Args:
        corners: (N, 2) vertices of the curve.
        x, y: coordinates of the points; any shapes that broadcast.
    """
    inside = np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _no_voxel(prompt: Prompt, shape: Sequence[int], ijk_to_ras: Affine, number: int, whole: bool) -> InputError:
    which = f"Prompt {number} (a {prompt.kind} for {prompt.structure})"
    if whole:
        return InputError(f"{which} encloses no voxel.", "Make it larger.", code="input.prompts")
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in shape[::-1]])).reshape(3, -1).T
    corners = ijk_to_ras_points(ends, ijk_to_ras)
    span = ", ".join(
        f"{axis} {number_text(low)} to {number_text(high)}"
        for axis, low, high in zip("RAS", corners.min(0), corners.max(0), strict=True)
    )
    return InputError(
        f"{which} lies outside the volume, which spans {span} mm.",
        "Give coordinates in RAS, in mm. ITK and DICOM use LPS: negate the first two coordinates.",
        code="input.prompt_outside",
    )


def _around(points_ras: PointsRas, margin_mm: float, shape: Sequence[int], ijk_to_ras: Affine) -> tuple[Slices, bool]:
    """The part of the grid around points, and whether the grid contains all of it."""
    kji = ras_to_ijk(points_ras, ijk_to_ras)[:, ::-1]
    margin = margin_mm * np.linalg.norm(np.linalg.inv(ijk_to_ras)[:3, :3], axis=1)[::-1]
    low, high = np.rint(kji.min(0) - margin).astype(int), np.rint(kji.max(0) + margin).astype(int)
    start, stop = np.clip(low, 0, shape), np.clip(high + 1, 0, shape)
    return between(start, stop), bool((start == low).all() and (stop == high + 1).all())


def _coordinates(box: Slices, axes: FloatArray, origin: FloatArray, ijk_to_ras: Affine) -> list[FloatArray]:
    """The coordinates of each voxel in a box, in mm along three unit axes from an origin."""
    k, j, i = np.ogrid[box]
    steps, offset = axes @ ijk_to_ras[:3, :3], axes @ (ijk_to_ras[:3, 3] - origin)
    return [a * i + b * j + c * k + o for (a, b, c), o in zip(steps, offset, strict=True)]


def _point(prompt: Point, shape: Sequence[int], ijk_to_ras: Affine) -> tuple[Slices, MaskArray, bool]:
    box, whole = _around(np.array([prompt.ras]), 0.0, shape, ijk_to_ras)
    return box, np.ones(size_of(box), bool), whole


def _scribble(prompt: Scribble, shape: Sequence[int], ijk_to_ras: Affine) -> tuple[Slices, MaskArray, bool]:
    """Voxels within the radius of the polyline, and those that it passes through."""
    points = np.array(prompt.points, float)
    box, whole = _around(points, prompt.radius_mm, shape, ijk_to_ras)
    mask = np.zeros(size_of(box), bool)
    first = np.array([s.start for s in box])
    starts, ends = (points, points) if len(points) == 1 else (points[:-1], points[1:])
    step = spacing_ijk(ijk_to_ras).min() / 2
    for start, end in zip(starts, ends, strict=True):
        length = np.linalg.norm(end - start)
        line = start + np.linspace(0, 1, int(length / step) + 2)[:, None] * (end - start)
        voxels = np.rint(ras_to_ijk(line, ijk_to_ras)).astype(int)[:, ::-1] - first
        mask[tuple(voxels[((voxels >= 0) & (voxels < mask.shape)).all(1)].T)] = True
        part, _ = _around(np.array([start, end]), prompt.radius_mm, shape, ijk_to_ras)
        x, y, z = _coordinates(part, np.eye(3), start, ijk_to_ras)
        a, b, c = (end - start) / max(length, 1e-9)
        at = np.clip(a * x + b * y + c * z, 0, length)
        near = (x - a * at) ** 2 + (y - b * at) ** 2 + (z - c * at) ** 2 <= prompt.radius_mm**2
        mask[within(part, box)] |= near
    return box, mask, whole


def _lasso(prompt: Lasso, shape: Sequence[int], ijk_to_ras: Affine) -> tuple[Slices, MaskArray, bool]:
    """Voxels whose centre the curve encloses, one layer thick."""
    points = np.array(prompt.points, float)
    centre = points.mean(0)
    axes = np.linalg.svd(points - centre)[2]  # two in the plane, then its normal
    half = np.abs(axes[2] @ ijk_to_ras[:3, :3]).max() / 2
    box, whole = _around(points, half, shape, ijk_to_ras)
    x, y, z = _coordinates(box, axes, centre, ijk_to_ras)
    corners = (points - centre) @ axes[:2].T
    return box, inside_curve(corners, x, y) & (np.abs(z) <= half + 1e-6), whole


def _box(prompt: Box, shape: Sequence[int], ijk_to_ras: Affine) -> tuple[Slices, MaskArray, bool]:
    corners = np.array(prompt.corners, float)
    low, high = corners.min(0), corners.max(0)
    box, whole = _around(np.array(np.meshgrid(*corners.T)).reshape(3, -1).T, 0.0, shape, ijk_to_ras)
    mask = np.ones(size_of(box), bool)
    for at, a, b in zip(_coordinates(box, np.eye(3), np.zeros(3), ijk_to_ras), low, high, strict=True):
        mask &= (at >= a - 1e-6) & (at <= b + 1e-6)
    return box, mask, whole
