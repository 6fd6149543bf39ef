"""Voxels that a hand means on a view: brushed over, encircled, cut off, or one piece. Nothing is worked out from the
image. Each function gives a box (K, J, I) and a boolean mask of its shape, or None if it means no voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..boxes import Slices, box_of
from ..geometry import ras_to_ijk
from ..labels import LabelMap
from .prompts import Lasso, Position, Prompt, Scribble
from .seeds import inside_curve, voxels_of

Voxels = tuple[Slices, np.ndarray]


def brushed(label_map: LabelMap, points: Sequence[Position], radius_mm: float) -> Voxels | None:
    """Those nearer than this to a line through points (RAS, in mm)."""
    return _drawn(label_map, Scribble("", True, tuple(points), radius_mm=radius_mm))


def encircled(label_map: LabelMap, points: Sequence[Position]) -> Voxels | None:
    """Those that a closed curve in one plane encloses, one layer thick."""
    return _drawn(label_map, Lasso("", True, tuple(points)))


def cut_off(label_map: LabelMap, name: str, curve: np.ndarray, ras_to_view: np.ndarray) -> Voxels | None:
    """Those of a structure that a closed curve in a view encloses, at whatever depth.

    Args:
        curve: (N, 2), in pixels of the view.
        ras_to_view: 4×4, homogeneous: x / w and y / w are pixels; what has no positive w is behind the viewer.
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


def piece_at(label_map: LabelMap, name: str, ras: Position) -> Voxels | None:
    """The piece of a structure that lies at a place; voxels that share a face are one piece."""
    from scipy.ndimage import label

    found = _of_structure(label_map, name)
    if found is None:
        return None
    box, mask = found
    at = np.rint(ras_to_ijk(np.array([ras]), label_map.ijk_to_ras))[0, ::-1].astype(int) - [s.start for s in box]
    if (at < 0).any() or (at >= mask.shape).any() or not mask[tuple(at)]:
        return None
    pieces, _ = label(mask)
    return box, pieces == pieces[tuple(at)]


def _drawn(label_map: LabelMap, prompt: Prompt) -> Voxels | None:
    box, mask, _ = voxels_of(prompt, label_map.array.shape, label_map.ijk_to_ras)
    return (box, mask) if mask.any() else None


def _of_structure(label_map: LabelMap, name: str) -> Voxels | None:
    """All voxels of a structure."""
    mask = label_map.array == label_map.structure(name).value
    box = box_of(mask)
    return None if box is None else (box, mask[box])
