"""The files of an evaluation: tables, summary, report."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..util.atomic_write import atomic_folder
from ..util.tables import write_table
from .evaluation import Evaluation
from .metrics import METRICS
from .report import page
from .statistics import Mean, Summary, summarize

_VOLUMES = ("prediction_ml", "reference_ml")


def as_json(evaluation: Evaluation, summary: Summary) -> dict[str, Any]:
    """What ``summary.json`` holds, as JSON values; metrics without a value are left out."""
    return {
        "cases": evaluation.cases,
        "failed": evaluation.failed,
        "thresholds": asdict(evaluation.thresholds),
        "means": _plain(summary.means),
        "counts": {name: asdict(found) for name, found in summary.counts.items()},
        "volume_agreement_ml": {name: asdict(found) for name, found in summary.volumes.items()},
        "subgroups": _plain(summary.groups),
        "reliability": {name: found.as_json() for name, found in evaluation.reliability.items()},
        "gaps": [asdict(gap) for gap in summary.gaps],
        "unmatched": {
            "cases": {"prediction": evaluation.only_prediction, "reference": evaluation.only_reference},
            "structures": {
                "prediction": evaluation.structures_only_prediction,
                "reference": evaluation.structures_only_reference,
            },
        },
        "warnings": evaluation.warnings,
    }


def write_evaluation(evaluation: Evaluation, folder: Path | str, summary: Summary | None = None) -> list[Path]:
    """Write ``metrics.csv`` (by case and structure), ``summary.json`` and ``report.html``.

    Args:
        summary: of the evaluation, if it was made before.

    Returns:
        their paths.

    Raises:
        OutputError: the folder cannot be written.

    Example:
        >>> from DeepSegLogic import evaluate, write_evaluation
        >>> found = evaluate("organs.seg.nrrd", "organs.seg.nrrd", structures=["left_lung", "right_lung"])
        >>> [path.name for path in write_evaluation(found, "evaluation")]
        ['metrics.csv', 'report.html', 'summary.json']
    """
    folder, summary = Path(folder), summary or summarize(evaluation)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {"created": created, **as_json(evaluation, summary)}
    with atomic_folder(folder) as temporary:
        names = [*METRICS, *_VOLUMES]
        rows = [[s.case, s.title, s.structure, *(_cell(s.values[name]) for name in names)] for s in evaluation.scores]
        write_table(temporary / "metrics.csv", ["case", "structure", "name", *names], rows)
        (temporary / "summary.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
        (temporary / "report.html").write_text(page(evaluation, summary, created), "utf-8")
        written = sorted(path.name for path in temporary.iterdir())
    return [folder / name for name in written]


def _cell(value: float) -> float | str:
    return "" if math.isnan(value) else round(value, 6)


def _plain(value: Any) -> Any:
    """Nested means as JSON values; metrics without a value are left out."""
    if isinstance(value, Mean):
        return {key: None if math.isnan(number) else number for key, number in asdict(value).items()}
    return {key: _plain(inner) for key, inner in value.items() if not (isinstance(inner, Mean) and not inner.n)}
