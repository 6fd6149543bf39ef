"""Metrics of one structure in one case: what each is called, and how it is computed from two masks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..data.types import FloatArray, MaskArray
from .detection import detection_f1
from .surface_distances import surface_scores

NAN = math.nan


@dataclass(frozen=True)
class Metric:
    """A metric: its name in tables and JSON, its title for people, and the decimals that are shown."""

    name: str
    title: str
    digits: int = 3


METRICS = {
    m.name: m
    for m in (
        Metric("dice", "Dice"),
        Metric("iou", "IoU"),
        Metric("precision", "Precision"),
        Metric("recall", "Recall"),
        Metric("volume_error_ml", "Volume error (ml)", 2),
        Metric("volume_error_percent", "Volume error (%)", 1),
        Metric("hd95_mm", "HD95 (mm)", 2),
        Metric("assd_mm", "ASSD (mm)", 2),
        Metric("surface_dice", "Surface Dice"),
        Metric("cldice", "clDice"),
        Metric("detection_f1", "Detection F1"),
        Metric("ece", "ECE"),
    )
}
"""All metrics by name, in the order of tables."""


@dataclass(frozen=True)
class Thresholds:
    """What metrics need to know.

    Attributes:
        tolerance_mm: distance up to which a surface counts as right, for the surface Dice. 3 mm is what
            TotalSegmentator's paper uses.
        lesion_iou: a lesion is detected if it overlaps a predicted one by this intersection over union; 0.1 is what
            the PI-CAI challenge uses.
    """

    tolerance_mm: float = 3.0
    lesion_iou: float = 0.1


def compare_masks(
    prediction: MaskArray, reference: MaskArray, spacing_kji: FloatArray, thresholds: Thresholds, *, tubular: bool
) -> dict[str, float]:
    """Compare two masks of one structure.

    If both are empty, there is nothing to score: all metrics are NaN. If one is empty, Dice, IoU, surface Dice,
    clDice and detection F1 are 0, distances are infinite, and what would divide by the empty side's voxels is NaN:
    recall and volume error in percent without a reference, precision without a prediction.

    Args:
        prediction, reference: (K, J, I) bool of the same shape; a box that holds both is enough.
        spacing_kji: mm.
        tubular: also compute clDice.

    Returns:
        :data:`METRICS` by name, of which the calibration is NaN, and ``prediction_ml`` and ``reference_ml``.
    """
    voxel_ml = float(np.prod(spacing_kji)) / 1000
    p, r = (int(np.count_nonzero(mask)) for mask in (prediction, reference))
    nothing = dict.fromkeys(METRICS, NAN) | {"prediction_ml": p * voxel_ml, "reference_ml": r * voxel_ml}
    if not p and not r:
        return nothing
    both = int(np.count_nonzero(prediction & reference))
    scores = {
        "dice": 2 * both / (p + r),
        "iou": both / (p + r - both),
        "precision": both / p if p else NAN,
        "recall": both / r if r else NAN,
        "volume_error_ml": (p - r) * voxel_ml,
        "volume_error_percent": 100 * (p - r) / r if r else NAN,
        "cldice": _cldice(prediction, reference) if tubular else NAN,
        "detection_f1": detection_f1(prediction, reference, thresholds.lesion_iou),
    }
    return nothing | scores | surface_scores(prediction, reference, spacing_kji, thresholds.tolerance_mm)


def _cldice(prediction: MaskArray, reference: MaskArray) -> float:
    """Centre-line Dice (Shit et al., CVPR 2021), with skeletons by Lee et al. (1994) on the voxel grid.

    A mask that thins to nothing, as some bars of an even width do, is its own skeleton.
    """
    from skimage.morphology import skeletonize

    if not prediction.any() or not reference.any():
        return 0.0
    masks = (prediction, reference)
    thinned = [np.asarray(skeletonize(np.ascontiguousarray(mask)), bool) for mask in masks]
    lines = [line if line.any() else mask for line, mask in zip(thinned, masks, strict=True)]
    precision, recall = (
        np.count_nonzero(line & mask) / np.count_nonzero(line)
        for line, mask in zip(lines, (reference, prediction), strict=True)
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
