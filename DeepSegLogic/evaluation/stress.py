"""Stress test: how much Dice a model loses when its image is perturbed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..data.label_map import LabelMap
from ..data.volume import Volume
from ..util.atomic_write import atomic_path
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.tables import write_table
from .evaluation import evaluate
from .perturbations import PERTURBATIONS, Perturbation
from .structures import Masks

_SEED = 0


@dataclass(frozen=True)
class StressScore:
    """Dice of one structure under one perturbation.

    Attributes:
        perturbation, level, unit: what was done to the image.
        structure, title: name of the structure, and the name shown to users.
        dice: with the perturbation; NaN where the structure is no longer in the image.
        drop: Dice of the unperturbed image, on the same part of the body, minus ``dice``.
    """

    perturbation: str
    level: float
    unit: str
    structure: str
    title: str
    dice: float
    drop: float


def stress_test(
    volume: Volume,
    reference: LabelMap,
    segmented: Callable[[Volume], LabelMap],
    *,
    perturbations: Sequence[Perturbation] | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[StressScore]:
    """Segment a CT under perturbations and compare each result with the reference, perturbed alike.

    Args:
        volume: CT in HU.
        reference: on its grid, without overlaps.
        segmented: the model: a label map of a volume, such as ``lambda ct: segment(ct, model).label_map``.
        perturbations: with their levels; None for all.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Returns:
        The scores by perturbation, level and structure.

    Raises:
        InputError: the reference is not on the volume's grid, has overlaps, or nothing in common with the model.
        Cancelled: ``cancel`` returned True.
    """
    reference = reference.without_overlaps("used in a stress test")
    runs = [(p, level) for p in perturbations or PERTURBATIONS for level in p.levels]
    progress("stress test", 0.0, "unperturbed")
    baseline = segmented(volume)
    Masks(baseline, reference, ("The result", "The reference"))  # refuses other grids, also without margins
    _dice(baseline, reference)  # refuses other structures before the long part
    scores = []
    for n, (perturbation, level) in enumerate(runs):
        check(cancel)
        progress("stress test", (n + 1) / (len(runs) + 1), f"{perturbation.name} {level:g} {perturbation.unit}")
        truth = perturbation.labels(reference, level)
        before = _dice(perturbation.labels(baseline, level), truth)
        after = _dice(segmented(perturbation.volume(volume, level, np.random.default_rng(_SEED))), truth)
        scores += [
            StressScore(perturbation.name, level, perturbation.unit, name, title, dice, before[name][1] - dice)
            for name, (title, dice) in after.items()
        ]
    progress("stress test", 1.0, "")
    return scores


def mean_drops(scores: Iterable[StressScore]) -> list[dict[str, Any]]:
    """By perturbation and level: mean Dice, mean drop, and the structure that loses most with its drop."""
    groups: dict[tuple[str, float, str], list[StressScore]] = {}
    for score in scores:
        if math.isfinite(score.drop):
            groups.setdefault((score.perturbation, score.level, score.unit), []).append(score)
    return [
        {
            **dict(zip(("perturbation", "level", "unit"), key, strict=True)),
            "dice": float(np.mean([s.dice for s in found])),
            "drop": float(np.mean([s.drop for s in found])),
            "worst": max(found, key=lambda s: s.drop).title,
            "worst_drop": max(s.drop for s in found),
        }
        for key, found in groups.items()
    ]


def write_stress(scores: Sequence[StressScore], path: Path | str) -> None:
    """Write the scores as CSV.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [["" if isinstance(v, float) and math.isnan(v) else v for v in astuple(score)] for score in scores]
    with atomic_path(path) as temporary:
        write_table(temporary, [field.name for field in fields(StressScore)], rows)


def _dice(prediction: LabelMap, reference: LabelMap) -> dict[str, tuple[str, float]]:
    """Title and Dice by structure."""
    return {s.structure: (s.title, s.values["dice"]) for s in evaluate(prediction, reference).scores}
