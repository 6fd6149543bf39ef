"""How well detectors find: FROC and average precision, computed by MONAI's metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray
from ..util.errors import UsageError
from .detect import MOST_FINDINGS, require_detection
from .finding import BoxFinding, corners

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5)
FALSE_PER_SCAN = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Where FROC is read, as in the LUNA16 challenge."""


@dataclass(frozen=True)
class DetectionScores:
    """Scores of a detector over some scans.

    Attributes:
        scans, lesions, found: numbers of scans, of reference boxes, and of boxes found.
        average_precision: by intersection over union from 0.1 to 0.5; nan where there is no reference box.
        mean_average_precision: over 0.1, 0.15, … 0.5.
        froc: (N, 2): false findings per scan, and the share of lesions found, by falling score; hits at ``iou``.
        sensitivity: the share of lesions found at each of :data:`FALSE_PER_SCAN`.
        iou: from which on a box is a hit for FROC.
    """

    scans: int
    lesions: int
    found: int
    average_precision: dict[float, float]
    mean_average_precision: float
    froc: FloatArray
    sensitivity: dict[float, float]
    iou: float

    @property
    def froc_score(self) -> float:
        """The mean of :attr:`sensitivity`."""
        return float(np.mean(list(self.sensitivity.values())))


def score_detections(
    found: Mapping[str, Sequence[BoxFinding]], reference: Mapping[str, Sequence[BoxFinding]], iou: float = 0.1
) -> DetectionScores:
    """Compare findings with reference boxes.

    A finding hits a reference box of its kind if their intersection over union is at least a threshold; each reference
    box is hit once, by the finding with the highest score. Kinds count alike in average precision.

    Args:
        found: by scan, with scores. A scan without an entry has no findings.
        reference: by scan; scans without lesions have an empty list. Scores and states do not count.
        iou: threshold for FROC, one of :data:`IOUS`.

    Raises:
        UsageError: a scan was searched that has no reference, there is no scan, the threshold is another one, or MONAI
            is not installed.

    Example:
        >>> from DeepSegLogic import BoxFinding, score_detections
        >>> true = BoxFinding("lesion", 1.0, (0.0, 0.0, 0.0), (10.0, 10.0, 10.0))
        >>> near = BoxFinding("lesion", 0.8, (2.0, 0.0, 0.0), (12.0, 10.0, 10.0))
        >>> round(score_detections({"case": [near]}, {"case": [true]}).average_precision[0.5], 3)
        1.0
    """
    require_detection()
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou
    from monai.metrics import compute_froc_curve_data

    _check(found, reference, iou)
    true_kinds = sorted({f.kind for listed in reference.values() for f in listed})
    others = sorted({f.kind for listed in found.values() for f in listed} - set(true_kinds))
    kinds = [*true_kinds, *others]
    metric = COCOMetric(  # of true kinds only: MONAI counts one without any reference as -1
        true_kinds,
        iou_list=IOUS,
        iou_range=(0.1, 0.5, 0.05),
        max_detection=(MOST_FINDINGS,),
        per_class=False,
        verbose=False,
    )
    lists = [(list(found.get(scan, ())), list(true)) for scan, true in reference.items()]
    matches = matching_batch(
        cast(Any, box_iou),
        [float(t) for t in metric.iou_thresholds],
        pred_boxes=[corners(f) for f, _ in lists],
        pred_classes=[_classes(f, kinds) for f, _ in lists],
        pred_scores=[np.array([one.score for one in f]) for f, _ in lists],
        gt_boxes=[corners(true) for _, true in lists],
        gt_classes=[_classes(true, kinds) for _, true in lists],
        max_detections=MOST_FINDINGS,
    )
    lesions = sum(len(true) for _, true in lists)
    values = metric(matches)[0] if lesions else {}
    at = int(np.abs(metric.iou_thresholds - iou).argmin())
    false, hits = _split(matches, at)
    # MONAI leaves out the lowest score, as lesions that were missed have 0 there: one is always added.
    curve = compute_froc_curve_data(false, np.append(hits, 0.0), max(1, lesions), len(lists))
    froc = np.stack(curve, 1)[::-1].astype(float)
    return DetectionScores(
        scans=len(lists),
        lesions=lesions,
        found=sum(len(f) for f, _ in lists),
        average_precision={t: values.get(f"AP_IoU_{t:.2f}_MaxDet_{MOST_FINDINGS}", float("nan")) for t in IOUS},
        mean_average_precision=values.get(f"mAP_IoU_0.10_0.50_0.05_MaxDet_{MOST_FINDINGS}", float("nan")),
        froc=froc,
        sensitivity={rate: _read(froc, rate) if lesions else float("nan") for rate in FALSE_PER_SCAN},
        iou=iou,
    )


def _check(
    found: Mapping[str, Sequence[BoxFinding]], reference: Mapping[str, Sequence[BoxFinding]], iou: float
) -> None:
    if iou not in IOUS:
        raise UsageError(f"{iou:g} is no threshold.", f"Choose one of {', '.join(map(str, IOUS))}.", code="usage.iou")
    if not reference:
        raise UsageError("There is no reference to compare with.", "Give at least one scan.", code="usage.empty")
    if extra := sorted(set(found) - set(reference)):
        raise UsageError(
            f"There is no reference for {', '.join(extra[:5])}.",
            "Give a reference for each scan, an empty table where there is no lesion.",
            code="usage.reference",
        )


def _classes(findings: Sequence[BoxFinding], kinds: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.array([kinds.index(one.kind) for one in findings], np.int64)


def _split(matches: Sequence[Mapping[int, Mapping[str, FloatArray]]], at: int) -> tuple[FloatArray, FloatArray]:
    """The scores of false findings, and of hits, at a threshold."""
    false, hits = [np.zeros(0)], [np.zeros(0)]
    for match in (m for scan in matches for m in scan.values()):
        hit, scores = match["dtMatches"][at].astype(bool), np.asarray(match["dtScores"], float)
        false.append(scores[~hit])
        hits.append(scores[hit])
    return np.concatenate(false), np.concatenate(hits)


def _read(froc: FloatArray, rate: float) -> float:
    """The highest share of lesions found with at most so many false findings per scan."""
    return float(max(froc[froc[:, 0] <= rate, 1], default=0.0))
