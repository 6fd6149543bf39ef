"""The scores of a detector as files: a JSON, a CSV table, and plots of FROC and average precision."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from ..evaluation.plots import curve_plot
from ..util.atomic_write import atomic_folder
from ..util.tables import write_table
from .finding import BoxFinding
from .metrics import DetectionScores


def read_tables(folder: Path) -> dict[str, list[BoxFinding]]:
    """The findings of several scans: ``NAME.csv`` or ``NAME/findings.csv`` in a folder, by name.

    Raises:
        InputError: a table cannot be read.
    """
    from .files import CSV_FILE, read_findings_csv

    tables = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    tables |= {path.parent.name: path for path in sorted(folder.glob(f"*/{CSV_FILE}"))}
    return {name: read_findings_csv(path) for name, path in tables.items()}


def write_scores(scores: DetectionScores, folder: Path) -> None:
    """Write ``scores.json``, ``scores.csv``, ``froc.svg`` and ``average_precision.svg``.

    Raises:
        OutputError: the folder cannot be written.
    """
    with atomic_folder(folder) as temporary:
        facts = {**asdict(scores), "froc": scores.froc.tolist(), "froc_score": scores.froc_score}
        (temporary / "scores.json").write_text(json.dumps(_plain(facts), indent=1), "utf-8")
        values = [("average precision", f"IoU {t:g}", v) for t, v in scores.average_precision.items()]
        values.append(("mean average precision", "IoU 0.1 to 0.5", scores.mean_average_precision))
        values += [("sensitivity", f"{rate:g} false findings per scan", v) for rate, v in scores.sensitivity.items()]
        rows = [(measure, at, f"{value:.4f}") for measure, at, value in values]
        write_table(temporary / "scores.csv", ["measure", "at", "value"], rows)
        (temporary / "froc.svg").write_text(froc_plot({"": scores}), "utf-8")
        (temporary / "average_precision.svg").write_text(precision_plot({"": scores}), "utf-8")


def froc_plot(scores: dict[str, DetectionScores]) -> str:
    """The FROC curves of some detectors, by name, as SVG."""
    curves = {name: [(float(x), float(y)) for x, y in one.froc] for name, one in scores.items()}
    return curve_plot(curves, "False findings per scan", "Share of lesions found")


def precision_plot(scores: dict[str, DetectionScores]) -> str:
    """Average precision over the threshold of some detectors, by name, as SVG."""
    curves = {name: list(one.average_precision.items()) for name, one in scores.items()}
    return curve_plot(curves, "Intersection over union", "Average precision")


def _plain(value: object) -> object:
    """JSON has no nan."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
