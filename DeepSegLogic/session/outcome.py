"""The result of the last run: what was found, how it looks, and its corrections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..classify import thinned
from ..data.label_map import LabelMap, changed_structures
from ..data.run_record import Provenance
from ..data.volume import Volume
from ..io.segment_tags import stored_facts
from ..review.confidence import doubtful_first
from ..review.findings import without
from ..util.errors import DeepSegError, UsageError
from ..util.i18n import tr as _
from .correction import Correction, expect_corrections
from .jobs import Jobs
from .planning import Planning
from .signal import Signal

if TYPE_CHECKING:
    from ..evaluation.scoring import Score
    from ..followup.change import Change
    from ..planning import Plan
    from ..review.findings import Finding
    from ..review.measurements import Measurement
    from ..segmentation import Result
    from ..surfaces import SurfaceSet


class Outcome:
    """The last good result. It stays when another volume is chosen or a later run fails.

    Args:
        jobs: asks the worker.

    Attributes:
        result, volume: the result and the volume it is of; None before the first.
        correction: its corrections, or None.
        planning: what is planned on it, or None.
        measurements: of its structures, those to check first; none while they are being made.
        findings: places to check, once :meth:`review` was called; without those ignored.
        ignored: kind and structure of those.
        as_run: number, mean and SD of the voxels of each structure as the run left it, once measured.
        repainted: structures that were changed after that and before the result was opened here.
        surfaces: of its structures, once :meth:`show_surfaces` was called.
        comparison: with a reference, once :meth:`Session.compare` was called: a score for each structure of both.
        changes: since an earlier scan, once :meth:`Session.compare_with_earlier` was called.
        interval: the time between the two scans, in words; empty if unknown.
        exported: files that the last export wrote.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.result: Result | None = None
        self.volume: Volume | None = None
        self.correction: Correction | None = None
        self.planning: Planning | None = None
        self.measurements: list[Measurement] = []
        self.findings: list[Finding] = []
        self.ignored: set[tuple[str, str]] = set()
        self.as_run: dict[str, str] = {}
        self.repainted: set[str] = set()
        self.surfaces: SurfaceSet | None = None
        self.comparison: list[Score] = []
        self.changes: list[Change] = []
        self.interval = ""
        self.exported: list[Path] = []
        self.result_changed: Signal[Result | None] = Signal()
        self.measurements_changed: Signal[list[Measurement]] = Signal()
        self.findings_changed: Signal[list[Finding]] = Signal()
        self.surfaces_changed: Signal[SurfaceSet | None] = Signal()
        self.plan_changed: Signal[Planning | None] = Signal()
        self.comparison_changed: Signal[list[Score]] = Signal()
        self.changes_changed: Signal[list[Change]] = Signal()
        self.files_exported: Signal[list[Path]] = Signal()
        self._jobs = jobs
        self._why_not_measured = ""

    @property
    def why_no_dicom(self) -> str:
        """Why the result cannot be written as DICOM, which refers to the series of the CT; empty if nothing is known
        to be in the way."""
        source = self.volume.source if self.volume is not None else ""
        if not source:
            return _("The CT was not opened from DICOM files.")
        return "" if Path(source).exists() else _("The DICOM files of the CT are not there any more.")

    @property
    def plan_content(self) -> dict[str, Any] | None:
        """What is planned on the result, as the content of a plan file; None if nothing is."""
        return self.planning.as_plan().as_json() if self.planning is not None and self.planning.entries else None

    @property
    def measuring(self) -> bool:
        """Whether measurements are being made."""
        return self._jobs.asked("measure")

    @property
    def why_no_measurements(self) -> str:
        """Why there are no measurements: no result, not measured yet, or the error; empty if there are some."""
        if self.measurements:
            return ""
        if self.result is None:
            return _("No result yet.")
        if self.measuring:
            return _("Measuring the structures.")
        return _("The structures cannot be measured. {}").format(self._why_not_measured).rstrip()

    def adopt(
        self,
        volume: Volume,
        label_map: LabelMap,
        provenance: Provenance,
        confidence: dict[str, float] | None = None,
        boundary_margin: dict[str, float] | None = None,
        phase: str = "",
        warnings: Sequence[str] = (),
        ignored: Iterable[tuple[str, str]] = (),
        plan: Plan | None = None,
        as_run: dict[str, str] | None = None,
    ) -> None:
        """Take a label map that was made earlier, or elsewhere, as the result of a volume.

        Args:
            label_map: on the volume's grid.
            provenance: as of a run, see :mod:`DeepSegLogic.models.provenance`.
            confidence, boundary_margin, phase, warnings: as of a run, as far as known.
            ignored: findings not to show again.
            plan, as_run: that were saved with it.
        """
        from ..segmentation import Result

        result = Result(
            label_map, confidence or {}, boundary_margin or {}, list(warnings), provenance=provenance, phase=phase
        )
        self.show(volume, result, ignored, plan, as_run)

    def open(self, path: Path, volume: Volume | None) -> None:
        """Start to read a segmentation, which then is the result of a volume.

        Args:
            path: ``.seg.nrrd``, DICOM SEG, RTSTRUCT, or another label map.
            volume: that it belongs to.

        Raises:
            UsageError: no volume, or a task is running.
        """
        if volume is None:
            raise UsageError(
                _("There is no volume to show {} on.").format(path.name),
                _("Open the CT first."),
                code="usage.not_ready",
            )

        def take(label_map: LabelMap) -> None:
            self._jobs.run.warnings += label_map.warnings
            self.adopt(volume, label_map, stored_facts([]).provenance)

        self._jobs.start("open", "open_segmentation", take, path=str(path), volume=volume)

    def show(
        self,
        volume: Volume,
        result: Result,
        ignored: Iterable[tuple[str, str]] = (),
        plan: Plan | None = None,
        as_run: dict[str, str] | None = None,
    ) -> None:
        """Take a result of a volume as the last one.

        Args:
            ignored: findings not to show again.
            plan, as_run: that were saved with it.
        """
        self._clear()
        self.ignored.update(ignored)
        self.as_run.update(as_run or {})
        self.result, self.volume = result, volume
        self.correction = Correction(result.label_map, volume, result.probabilities)
        expect_corrections()
        self.planning = Planning(self._jobs, self.correction, self._show_plan)
        self.result_changed.emit(result)
        if plan is None or not self.planning.resume(plan):
            self.plan_changed.emit(self.planning)
        self.measure(result.label_map)
        self.measurements_changed.emit([])  # those of the last result are not this one's

    def forget(self) -> None:
        """Drop the result."""
        self._clear()
        self.result_changed.emit(None)
        self.measurements_changed.emit([])
        self.findings_changed.emit([])
        self.plan_changed.emit(None)
        self.surfaces_changed.emit(None)

    def measure(self, label_map: LabelMap) -> None:
        """Measure a corrected label map of the result's volume."""
        if self.result is not None and self.planning is not None:
            self.planning.look()
            confidence, boundary_margin = self.belief_in(label_map)
            self._jobs.submit_latest(
                "measure",
                self._of_result(partial(self._measured, label_map)),
                self._of_result(self._not_measured),
                label_map=label_map,
                volume=self.volume,
                confidence=confidence,
                boundary_margin=boundary_margin,
            )

    def belief_in(self, label_map: LabelMap) -> tuple[dict[str, float], dict[str, float]]:
        """Confidence and margin at the border of the run, of the structures that were not changed since."""
        assert self.result is not None
        changed = self.repainted.union(changed_structures(self.result.label_map, label_map))
        confidence, margin = (
            {name: value for name, value in values.items() if name not in changed}
            for values in (self.result.confidence, self.result.boundary_margin)
        )
        return confidence, margin

    def review(self, label_map: LabelMap) -> None:
        """Look for places to check in the result, or in a corrected label map."""
        if self.result is not None and self.volume is not None:
            self._jobs.submit(
                "review",
                self._of_result(self._reviewed),
                label_map=label_map,
                confidence=self.belief_in(label_map)[0],
                volume=thinned(self.volume),
            )

    def ignore(self, finding: Finding) -> None:
        """Do not show this finding again for this result."""
        self.ignored.add((finding.kind, finding.structure))
        self._reviewed(self.findings)

    def show_surfaces(self, label_map: LabelMap | None = None) -> None:
        """Extract surfaces of the result, or of a corrected label map."""
        chosen = label_map or (self.result.label_map if self.result else None)
        if chosen is not None:
            self._jobs.submit_latest("surfaces", self._of_result(self._surfaced), label_map=chosen)

    def take_comparison(self, scores: list[Score]) -> None:
        """Note how the result compares with a reference."""
        self.comparison = scores
        self.comparison_changed.emit(scores)

    def take_changes(self, changes: list[Change], interval: str = "") -> None:
        """Note what changed since an earlier scan, and how long ago that was."""
        self.changes, self.interval = changes, interval
        self.changes_changed.emit(changes)

    def take_files(self, written: list[str]) -> None:
        """Note what the task that now ends wrote."""
        self.exported = paths = [Path(path) for path in written]
        self._jobs.run.summary = _("Files in {folder}: {count}.").format(count=len(paths), folder=paths[0].parent)
        self.files_exported.emit(paths)

    def _clear(self) -> None:
        self.result = self.volume = self.correction = self.planning = self.surfaces = None
        self.measurements, self.findings = [], []
        self.ignored.clear()
        self.as_run, self.repainted = {}, set()
        self.take_comparison([])
        self.take_changes([])

    def _show_plan(self, planning: Planning) -> None:
        if planning is self.planning:
            self.plan_changed.emit(planning)

    def _of_result(self, answer: Callable[[Any], None]) -> Callable[[Any], None]:
        """An answer about the present result; it is dropped if it comes after that has gone."""
        result = self.result
        return lambda value: answer(value) if self.result is result else None

    def _measured(self, label_map: LabelMap, rows: list[Measurement]) -> None:
        if self.result is not None and label_map is self.result.label_map:
            self._compare_with_run(self.result, rows)
        rows = [replace(r, confidence=None, boundary_margin=None) if r.name in self.repainted else r for r in rows]
        self.measurements = sorted(rows, key=doubtful_first)
        self.measurements_changed.emit(self.measurements)

    def _compare_with_run(self, result: Result, rows: list[Measurement]) -> None:
        """Note what was changed before the result was opened, by whatever program."""
        now = {row.name: f"{row.voxels} {row.mean_hu or 0:.3f} {row.sd_hu or 0:.3f}" for row in rows}
        repainted = {name for name, then in self.as_run.items() if now.get(name, then) != then}
        self.as_run = now | self.as_run
        if repainted != self.repainted:
            self.repainted = repainted
            self.review(result.label_map)  # which looked at their confidence

    def _not_measured(self, error: DeepSegError) -> None:
        self._why_not_measured = error.message
        self.measurements_changed.emit(self.measurements)

    def _reviewed(self, findings: list[Finding]) -> None:
        self.findings = without(findings, self.ignored)
        self.findings_changed.emit(self.findings)

    def _surfaced(self, surfaces: SurfaceSet) -> None:
        self.surfaces = surfaces
        self.surfaces_changed.emit(surfaces)
