"""The requests about a result: its surfaces, measurements, comparisons and files."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...util.words import some_of
from ..job_loop import Job
from .running import classify

if TYPE_CHECKING:
    from ...data.label_map import LabelMap
    from ...data.volume import Volume
    from ...detection.finding import BoxFindings
    from ...review.findings import Finding
    from ...review.measurements import Measurement
    from ...surfaces import SurfaceSet


def surfaces(
    job: Job,
    *,
    label_map: LabelMap,
    structures: list[str] | None = None,
    smoothing: str = "standard",
    repair_crossings: bool = False,
) -> SurfaceSet:
    """:func:`DeepSegLogic.surfaces.make_surfaces`. The last ones are kept until the next ``segment``: they are often
    wanted again as they are, in 3D or in files."""
    from ...surfaces import make_surfaces

    options: dict[str, Any] = {"structures": structures, "smoothing": smoothing, "repair_crossings": repair_crossings}
    kept = job.warm.get("surfaces")
    if kept is None or kept[:2] != (options, label_map):
        job.warm.pop("surfaces", None)
        made = make_surfaces(label_map, progress=job.progress, cancel=job.cancel, **options)
        kept = job.warm["surfaces"] = (options, deepcopy(label_map), made)
    surfaces: SurfaceSet = kept[2]
    return surfaces


def measure(
    job: Job, *, label_map: LabelMap, volume: Volume, confidence: dict[str, float], boundary_margin: dict[str, float]
) -> list[Measurement]:
    """:func:`DeepSegLogic.review.measurements.measure`."""
    from ...review.measurements import measure

    return measure(label_map, volume, confidence, boundary_margin)


def review(job: Job, *, label_map: LabelMap, confidence: dict[str, float], volume: Volume) -> list[Finding]:
    """:func:`DeepSegLogic.review.findings.review`; :func:`~DeepSegLogic.classify.thinned` makes the volume small."""
    from ...review.findings import review

    return review(label_map, confidence, classify(job, volume=volume))


def open_segmentation(job: Job, *, path: str, volume: Volume) -> LabelMap:
    """:func:`DeepSegLogic.io.segmentations.read_segmentation_of`."""
    from ...io.segmentations import read_segmentation_of

    job.progress("open", 0.0)
    return read_segmentation_of(volume, Path(path))


def evaluate(job: Job, *, label_map: LabelMap, reference: LabelMap) -> dict[str, Any]:
    """:func:`DeepSegLogic.evaluation.evaluate` of two label maps on the same grid.

    Returns:
        ``scores``, a list of :class:`~DeepSegLogic.evaluation.scoring.Score`, those of structures that only one of the
        two has without values; and ``notes``: what was not compared, in short; the scores have all.
    """
    from ...data.terminology import structure_for
    from ...evaluation import evaluate as run
    from ...evaluation.metrics import METRICS
    from ...evaluation.report import notes
    from ...evaluation.scoring import Score

    found = run(label_map, reference, progress=job.progress, cancel=job.cancel)
    alone = {
        "only in the result": {name: structure_for(name, 1).title for name in found.structures_only_prediction},
        "only in the reference": {name: structure_for(name, 1).title for name in found.structures_only_reference},
    }
    rows = [
        Score("", name, f"{title} ({where})", dict.fromkeys(METRICS, math.nan))
        for where, titles in alone.items()
        for name, title in titles.items()
    ]
    return {"scores": found.scores + rows, "notes": notes(found, some_of)}


def follow_up(
    job: Job,
    *,
    earlier: LabelMap,
    earlier_volume: Volume | None,
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float],
    days: float | None,
    folder: str,
) -> dict[str, Any]:
    """:func:`DeepSegLogic.followup.follow_up` of a result and an earlier one; its files are written to ``folder``.

    Args:
        days: between the scans; None for those between the dates of their DICOM series, where both have one.

    Returns:
        ``changes``, a list of :class:`~DeepSegLogic.followup.change.Change`; ``interval``, the time between the
        scans in words; ``notes``, its warnings, in short; its report has all.
    """
    from ...followup import TimePoint, write_follow_up
    from ...followup import follow_up as run
    from ...followup.time_point import date_of

    before = TimePoint(earlier, earlier_volume, date=date_of(earlier_volume))
    after = TimePoint(label_map, volume, confidence, date=date_of(volume))
    found = run(before, after, days=days, progress=job.progress, cancel=job.cancel)
    write_follow_up(found, Path(folder), job.cancel)
    return {"changes": found.changes, "interval": found.interval, "notes": found.warnings_with(some_of)}


def export(
    job: Job,
    *,
    label_map: LabelMap,
    volume: Volume,
    confidence: dict[str, float],
    boundary_margin: dict[str, float],
    folder: str,
    formats: list[str],
    source: str = "",
    **options: Any,
) -> list[str]:
    """:func:`DeepSegLogic.results.folder.export_result` with its options; the paths of what was written.

    Args:
        source: empty if unknown.
    """
    from ...results.folder import export_result

    def make(label_map: LabelMap, structures: list[str] | None, progress: Any, cancel: Any, **how: Any) -> SurfaceSet:
        return surfaces(job, label_map=label_map, structures=structures, **how)

    written = export_result(
        Path(folder),
        label_map,
        volume,
        formats,
        source=Path(source) if source else None,
        confidence=confidence,
        boundary_margin=boundary_margin,
        make=make,
        progress=job.progress,
        cancel=job.cancel,
        **options,
    )
    return [str(path) for path in written]


def export_findings(
    job: Job, *, found: BoxFindings, volume: Volume | None, source: str, folder: str, formats: list[str]
) -> dict[str, list[str]]:
    """:func:`DeepSegLogic.detection.output.write_findings`.

    Args:
        volume: that was searched, for a DICOM report; ``source`` is its series, empty if unknown.

    Returns:
        ``files``, their paths; ``notes``, what had to be made up.
    """
    from dataclasses import replace

    from ...detection.output import write_findings

    job.progress("write", 0.0, "")
    files = write_findings(found, folder, formats, volume=replace(volume, source=source) if volume else None)
    return {"files": [str(path) for path in files], "notes": found.warnings}
