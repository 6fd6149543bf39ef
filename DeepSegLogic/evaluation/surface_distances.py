"""Distances between the surfaces of two masks, as Google DeepMind's ``surface-distance`` defines them.

A surface is made of elements (surfels): one at each corner of voxels that has voxels inside and outside around it, with
the area that marching cubes gives it (Nikolov et al., JMIR 2021). Only surfels are kept, in a k-d tree: memory grows
with the surface, not with the volume.
"""

from __future__ import annotations

from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray

_PERCENT = 0.95
_Corners: TypeAlias = npt.NDArray[np.int64]


def surface_scores(
    prediction: MaskArray, reference: MaskArray, spacing_kji: FloatArray, tolerance_mm: float
) -> dict[str, float]:
    """HD95, average symmetric surface distance and surface Dice of two masks, of which one at least is not empty.

    Args:
        prediction, reference: (K, J, I) bool of the same shape.
        spacing_kji: mm.

    Returns:
        ``hd95_mm``: the larger of the two 95th percentiles of the distances from one surface to the other;
        ``assd_mm``: the mean distance over both surfaces; ``surface_dice``: the share of both surfaces that lies
        within the tolerance of the other one. All by area. Infinite or 0 if one mask is empty.
    """
    (a, area_a), (b, area_b) = (_surfels(mask, spacing_kji) for mask in (prediction, reference))
    if not len(a) or not len(b):
        return {"hd95_mm": np.inf, "assd_mm": np.inf, "surface_dice": 0.0}
    there, back = _distances(a, b, spacing_kji), _distances(b, a, spacing_kji)
    total = area_a.sum() + area_b.sum()
    near = area_a[there <= tolerance_mm].sum() + area_b[back <= tolerance_mm].sum()
    return {
        "hd95_mm": max(_percentile(there, area_a), _percentile(back, area_b)),
        "assd_mm": float((there @ area_a + back @ area_b) / total),
        "surface_dice": float(near / total),
    }


def _surfels(mask: MaskArray, spacing_kji: FloatArray) -> tuple[_Corners, FloatArray]:
    """Corners (N, 3) of voxels on the surface, as (K, J, I) indices, and the area of each (N,) in mm²."""
    from monai.metrics.utils import get_code_to_measure_table

    # The eight voxels around a corner, as bits: the order of MONAI's and DeepMind's tables.
    padded = np.pad(mask, 1).view(np.uint8)
    code = np.zeros([n + 1 for n in mask.shape], np.uint8)
    for bit, corner in zip((128, 64, 32, 16, 8, 4, 2, 1), product((0, 1), repeat=3), strict=True):
        k, j, i = (slice(start, start + n) for start, n in zip(corner, code.shape, strict=True))
        code += padded[k, j, i] * np.uint8(bit)
    at = np.argwhere((code != 0) & (code != 255))
    table, _ = get_code_to_measure_table(spacing_kji.tolist())
    return at, np.asarray(table, np.float64)[code[tuple(at.T)]]


def _distances(start: _Corners, goal: _Corners, spacing_kji: FloatArray) -> FloatArray:
    """From each corner the distance in mm (N,) to the nearest other one."""
    from scipy.spatial import cKDTree

    tree = cKDTree(goal * spacing_kji, leafsize=30)  # quicker than 10, the default
    nearest = goal[tree.query(start * spacing_kji)[1]]
    # From whole steps: differences of coordinates in mm would miss the tolerance by rounding.
    return np.asarray(np.linalg.norm((start - nearest) * spacing_kji, axis=1), np.float64)


def _percentile(distances: FloatArray, areas: FloatArray) -> float:
    order = np.argsort(distances)
    share = np.cumsum(areas[order]) / areas.sum()
    return float(distances[order][min(int(np.searchsorted(share, _PERCENT)), len(order) - 1)])
