"""Means over cases with bootstrap intervals, subgroups, and the agreement of volumes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..util.errors import InputError
from ..util.tables import read_table
from .evaluation import Evaluation
from .metrics import METRICS

ALL = "all structures"
"""What stands for the mean over the structures of a case."""

_RESAMPLES = 9999
_SEED = 0
_BATCH = 1000  # resamples at once: memory
_AGREEMENT_CASES = 3  # at least
_OF_GROUPS = ("dice", "surface_dice")


@dataclass(frozen=True)
class Mean:
    """A mean over cases, with its 95 % interval.

    Attributes:
        low, high: bootstrap percentile interval over cases; NaN for fewer than two.
        n: cases; those without a finite value are left out.
    """

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Counts:
    """Cases of a structure: all, those that miss it (reference only) and those that invent it (prediction only)."""

    cases: int
    missed: int
    invented: int


@dataclass(frozen=True)
class Gap:
    """The largest difference between the means of two subgroups.

    Attributes:
        attribute: for example ``"sex"``.
        structure: its name, or :data:`ALL`.
        better, worse: the subgroups.
        difference: of their mean Dice.
    """

    attribute: str
    structure: str
    better: str
    worse: str
    difference: float


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman's bias and limits of agreement of predicted minus reference volumes, ml (Lancet 1986)."""

    bias: float
    low: float
    high: float
    n: int


Means: TypeAlias = dict[str, dict[str, Mean]]
"""By structure, :data:`ALL` last, and metric."""

Groups: TypeAlias = dict[str, dict[str, Means]]
"""By attribute and group."""


@dataclass(frozen=True)
class Summary:
    """An evaluation in numbers.

    Attributes:
        means: of all cases.
        counts: by structure.
        volumes: agreement by structure, for those with three cases or more.
        groups: means of Dice and surface Dice in subgroups; cases without the attribute are left out.
        gaps: of each attribute and structure (and :data:`ALL`), the largest first.
    """

    means: Means
    counts: dict[str, Counts]
    volumes: dict[str, Agreement]
    groups: Groups
    gaps: list[Gap]


def mean_of(values: Iterable[float]) -> Mean:
    """The mean of the finite values, one per case."""
    from scipy.stats import bootstrap

    found = np.array([v for v in values if math.isfinite(v)], np.float64)
    if not len(found):
        return Mean(math.nan, math.nan, math.nan, 0)
    mean = float(found.mean())
    if len(found) == 1:
        return Mean(mean, math.nan, math.nan, 1)
    if np.ptp(found) == 0:  # of which SciPy warns
        return Mean(mean, mean, mean, len(found))
    interval = bootstrap(
        (found,), np.mean, method="percentile", n_resamples=_RESAMPLES, batch=_BATCH, random_state=_SEED
    ).confidence_interval
    return Mean(mean, float(interval.low), float(interval.high), len(found))


def summarize(evaluation: Evaluation) -> Summary:
    """The means, counts, agreements, subgroups and gaps of an evaluation."""
    groups = _subgroups(evaluation)
    agreements = {name: _agreement(evaluation, name) for name in evaluation.titles}
    return Summary(
        _means(evaluation, evaluation.cases, METRICS),
        {name: _counts(evaluation, name) for name in evaluation.titles},
        {name: found for name, found in agreements.items() if found is not None},
        groups,
        _largest_gaps(groups),
    )


def _means(evaluation: Evaluation, cases: Collection[str], metrics: Iterable[str]) -> Means:
    scores = [score for score in evaluation.scores if score.case in cases]
    made: Means = {name: {} for name in [*evaluation.titles, ALL]}
    for metric in metrics:
        by_case: dict[str, list[float]] = {}
        by_structure: dict[str, list[float]] = {name: [] for name in evaluation.titles}
        for score in scores:
            by_case.setdefault(score.case, []).append(score.values[metric])
            by_structure[score.structure].append(score.values[metric])
        for name, values in by_structure.items():
            made[name][metric] = mean_of(values)
        made[ALL][metric] = mean_of(_finite_mean(values) for values in by_case.values())
    return made


def _counts(evaluation: Evaluation, structure: str) -> Counts:
    values = [s.values for s in evaluation.scores if s.structure == structure]
    held = [(v["prediction_ml"] > 0, v["reference_ml"] > 0) for v in values]
    return Counts(len(held), held.count((False, True)), held.count((True, False)))


def _agreement(evaluation: Evaluation, structure: str) -> Agreement | None:
    errors = np.array([v for v in evaluation.values("volume_error_ml", structure).values() if math.isfinite(v)])
    if len(errors) < _AGREEMENT_CASES:
        return None
    bias, spread = float(errors.mean()), 1.96 * float(errors.std(ddof=1))
    return Agreement(bias, bias - spread, bias + spread, len(errors))


def _subgroups(evaluation: Evaluation) -> Groups:
    members: dict[str, dict[str, list[str]]] = {}
    for case in evaluation.cases:
        for attribute, group in evaluation.attributes.get(case, {}).items():
            if group:
                members.setdefault(attribute, {}).setdefault(group, []).append(case)
    return {
        attribute: {group: _means(evaluation, cases, _OF_GROUPS) for group, cases in sorted(groups.items())}
        for attribute, groups in members.items()
    }


def _largest_gaps(groups: Groups) -> list[Gap]:
    gaps = []
    for attribute, members in groups.items():
        for structure in next(iter(members.values())):
            found = {g: m[structure]["dice"].mean for g, m in members.items() if m[structure]["dice"].n}
            if len(found) > 1:
                worse, better = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
                if found[better] > found[worse]:
                    gaps.append(Gap(attribute, structure, better, worse, found[better] - found[worse]))
    return sorted(gaps, key=lambda gap: -gap.difference)


def read_attributes(path: Path) -> dict[str, dict[str, str]]:
    """Attributes by case from a CSV file: a header, the case's name in the first column.

    Raises:
        InputError: it cannot be read, or is not such a table.
    """
    try:
        header, rows = read_table(path)
    except (OSError, ValueError) as error:
        raise _not_a_table(path, "it cannot be read as CSV in UTF-8") from error
    if len(header) < 2 or any(len(row) != len(header) for row in rows if row):
        raise _not_a_table(path, "its rows do not have the same two or more columns")
    names, *cells = ([cell.strip() for cell in row] for row in (header, *rows) if row)
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in cells}


def _not_a_table(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is not a table of attributes: {reason}.",
        "Give a CSV file with a header and the case's name in the first column, such as case,sex,scanner.",
        code="input.attributes",
    )


def _finite_mean(values: Iterable[float]) -> float:
    found = [v for v in values if math.isfinite(v)]
    return math.fsum(found) / len(found) if found else math.nan
