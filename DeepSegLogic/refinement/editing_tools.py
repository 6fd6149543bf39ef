"""Manual editing tools: the voxels that a brush, a lasso, scissors or a click on a piece select in a view.

Nothing is computed from the image. Each function returns a box of (K, J, I) slices and a bool mask of its shape, or
None if it selects no voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..data.affine import ras_to_ijk
from ..data.boxes import box_of
from ..data.label_map import LabelMap
from ..data.types import Affine, FloatArray, MaskArray, Slices
from .prompts import Lasso, Position, Prompt, Scribble
from .rasterise import inside_curve, voxels_of

Voxels: TypeAlias = tuple[Slices, MaskArray]
"""A box of the grid, and a mask of its shape."""


def brush(label_map: LabelMap, points: Sequence[Position], radius_mm: float) -> Voxels | None:
    """Voxels within a radius of a line through points (RAS, mm)."""
    return _drawn(label_map, Scribble("", True, tuple(points), radius_mm=radius_mm))


def lasso(label_map: LabelMap, points: Sequence[Position]) -> Voxels | None:
    """Voxels that a closed curve in one plane (RAS, mm) encloses, one layer thick."""
    return _drawn(label_map, Lasso("", True, tuple(points)))


def scissors(label_map: LabelMap, name: str, curve: FloatArray, ras_to_view: Affine) -> Voxels | None:
    """Voxels of a structure that a closed curve in a view encloses, at any depth.

    Args:
        name: of the structure.
        curve: (N, 2), in pixels of the view.
        ras_to_view: 4×4, homogeneous: x / w and y / w are pixels; points with w ≤ 0 are behind the viewer.

    Raises:
        UsageError: unknown structure.
    """
    found = _of_structure(label_map, name)
    low = np.floor(curve.min(0))
    size = np.ceil(curve.max(0) - low).astype(int) + 1
    picture = inside_curve(curve - low, *np.ogrid[: size[0], : size[1]])
    if found is None or not picture.any():
        return None
    box, mask = found
    to_view = (ras_to_view @ label_map.ijk_to_ras)[[0, 1, 3]]
    for k, plane in enumerate(mask, box[0].start):
        j, i = np.nonzero(plane)
        x, y, w = to_view @ [i + box[2].start, j + box[1].start, np.full(len(i), k), np.ones(len(i))]
        with np.errstate(divide="ignore", invalid="ignore"):
            column, row = np.rint(x / w - low[0]), np.rint(y / w - low[1])
        seen = (w > 0) & (column >= 0) & (row >= 0) & (column < size[0]) & (row < size[1])
        seen[seen] = picture[column[seen].astype(int), row[seen].astype(int)]
        plane[j, i] = seen
    return box, mask


def island(label_map: LabelMap, name: str, ras: Position) -> Voxels | None:
    """The connected piece of a structure at a point (RAS, mm); voxels that share a face are connected.

    Raises:
        UsageError: unknown structure.
    """
    from scipy.ndimage import label

    found = _of_structure(label_map, name)
    if found is None:
        return None
    box, mask = found
    at = np.rint(ras_to_ijk(np.array([ras]), label_map.ijk_to_ras))[0, ::-1].astype(int) - [s.start for s in box]
    if (at < 0).any() or (at >= mask.shape).any() or not mask[tuple(at)]:
        return None
    pieces = label(mask)[0]
    return box, pieces == pieces[tuple(at)]


def _drawn(label_map: LabelMap, prompt: Prompt) -> Voxels | None:
    box, mask, _ = voxels_of(prompt, label_map.array.shape, label_map.ijk_to_ras)
    return (box, mask) if mask.any() else None


def _of_structure(label_map: LabelMap, name: str) -> Voxels | None:
    """All voxels of a structure."""
    mask = label_map.mask(name)
    box = box_of(mask)
    return None if box is None else (box, mask[box])
