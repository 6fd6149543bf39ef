"""One user's work: a volume, a model, a run, its result. The faces only show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeepSegError, UsageError
from ..labels import LabelMap
from ..models.card import DEMO_MODEL
from ..volume import Volume
from ..worker import WorkerClient
from .choices import Choices
from .jobs import Jobs
from .ranking import doubtful_first
from .run import Run
from .signal import Signal

if TYPE_CHECKING:
    from ..measures import Measurement
    from ..pipeline import Result
    from ..refine.review import Finding
    from ..surfaces import SurfaceSet


class Session(Choices):
    """The state that a face shows, and the commands it offers. All for one thread; nothing blocks.

    Call :meth:`poll` every 50 to 100 ms. :attr:`changed` then tells which attribute to show anew: one of
    :class:`Choices`, or ``"run"``, ``"result"``, ``"measurements"``, ``"findings"``, ``"surfaces"``, ``"exported"``
    or ``"log"``.

    Attributes:
        result: of the last good segmentation; it stays when another volume is chosen or a later run fails.
        result_volume: which one it is of.
        measurements: of its structures; those to look at first come first.
        findings: places to look at first, once :meth:`review` was asked for; without those ignored.
        ignored: kind and structure of those.
        surfaces: of its structures, once :meth:`show_surfaces` was asked for.
        exported: what the last export wrote.
        log: lines for the curious: what was done, what went wrong with its traceback.
    """

    def __init__(self, client: WorkerClient | None = None, model: str = DEMO_MODEL):
        self._client, changed = client or WorkerClient(), Signal()
        super().__init__(Jobs(self._client, changed), changed, model)
        self.result: Result | None = None
        self.result_volume: Volume | None = None
        self.measurements: list[Measurement] = []
        self.findings: list[Finding] = []
        self.surfaces: SurfaceSet | None = None
        self.exported: list[Path] = []
        self.log = self._jobs.log
        self.ignored: set[tuple[str, str]] = set()

    @property
    def run(self) -> Run:
        """The long task."""
        return self._jobs.run

    @property
    def waiting(self) -> bool:
        """Whether an answer of the worker is still to come."""
        return self._jobs.waiting

    def poll(self) -> None:
        """Take in what happened. Emits :attr:`changed`."""
        self._jobs.poll()

    def close(self) -> None:
        """End the worker."""
        self._client.close()

    def report(self) -> str:
        """For a request for help: versions, device, model, last error. No names and no voxels of patients."""
        from ..doctor import examine

        lines = [f"{f.topic}: {f.fact} {f.remedy}".rstrip() for f in examine() if f.topic != "Model folder"]
        lines.append(f"Model: {self.model.id if self.model else 'none'}, {self.quality}, {self.device}")
        lines.append(f"Volume: {self.preflight.facts or 'none'}")
        error = self.run.error
        lines.append(f"Last error: {error.code} {type(error).__name__}" if error else "Last error: none")
        return "\n".join(lines)

    # --- long tasks --------------------------------------------------------------------------------------------

    def check_free(self) -> None:
        """Whether a long task can start.

        Raises:
            UsageError: one is under way.
        """
        self._jobs.check_free()

    def segment(self, frame: tuple[int, int] | None = None) -> None:
        """Start to segment.

        Args:
            frame: see :class:`Run`.

        Raises:
            UsageError: it cannot start; the message is :attr:`why_not`.
        """
        if self.why_not:
            raise UsageError(self.why_not, code="usage.not_ready")
        volume, everything = self.volume, len(self.chosen) == len(self.model.structures)
        self._jobs.start(
            "segment",
            "segment",
            lambda result: self._segmented(volume, result),
            failed=self._fell_short,
            volume=volume,
            model=self.model.id,
            structures=None if everything else self.chosen,
            device=self.device,
            quality=self.quality,
            force=self.force,
            keep_probabilities=True,
            frame=frame,
        )

    def correct(self, request: dict[str, Any], take: Callable[[dict[str, Any]], str]) -> None:
        """Let the model that is chosen among :attr:`correctors` answer a prompt.

        Args:
            request: see :meth:`Correction.request`.
            take: is given the worker's answer; returns what to say of it, or raises why nothing came of it.

        Raises:
            UsageError: a task is under way.
        """

        def answered(answer: dict[str, Any]) -> None:
            try:
                self.run.summary = take(answer)
            except DeepSegError as error:
                self.run.summary = str(error)

        self._jobs.start("correct", "refine", answered, model=self.correctors.chosen.id, device=self.device, **request)

    def export(self, folder: Path, formats: list[str], label_map: LabelMap | None = None, **options: Any) -> None:
        """Write the result to a folder, see the worker's ``export`` request.

        Args:
            formats: of surfaces, and ``"seg.nrrd"``, ``"nii.gz"``, ``"csv"``, ``"html"``.
            label_map: what to write if not the result as it came, e.g. after corrections.

        Raises:
            UsageError: there is nothing to export.
        """
        if self.result is None:
            raise UsageError("There is nothing to export yet.", "Segment a volume first.", code="usage.empty")
        self._jobs.start(
            "export",
            "export",
            self._wrote,
            label_map=label_map or self.result.label_map,
            volume=self.result_volume,
            confidence=self.result.confidence,
            boundary_margin=self.result.boundary_margin,
            provenance=self.result.provenance,
            folder=str(folder),
            formats=formats,
            **options,
        )

    def forget_run(self) -> None:
        """Say no more of the last long task."""
        if not self.run.busy:
            self._jobs.run = Run()
            self._tell("run")

    def cancel(self) -> None:
        """Stop the long task; what it had before stays."""
        self._jobs.cancel()

    # --- the result --------------------------------------------------------------------------------------------

    def adopt_result(
        self,
        label_map: LabelMap,
        provenance: dict,
        confidence: dict[str, float] | None = None,
        boundary_margin: dict[str, float] | None = None,
        ignored: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Take what was segmented earlier, or elsewhere, as the result of the volume.

        Args:
            label_map: on the volume's grid.
            provenance: as of a run, see :mod:`DeepSegLogic.provenance`.
            confidence, boundary_margin: as of a run, as far as they are known.
            ignored: findings not to be told again.
        """
        from ..pipeline import Result

        result = Result(label_map, confidence or {}, boundary_margin or {}, provenance=provenance)
        self.show_result(self.volume, result)
        self.ignored.update(ignored)

    def show_result(self, volume: Volume, result: Result) -> None:
        """Take a result of a volume as the last one."""
        self.result, self.result_volume, self.surfaces = result, volume, None
        self.measurements, self.findings = [], []
        self.ignored.clear()
        self._tell("result")
        self.measure(result.label_map)

    def forget_result(self) -> None:
        """Let go of the last result."""
        self.result = self.result_volume = self.surfaces = None
        self.measurements, self.findings = [], []
        self.ignored.clear()
        self._tell("result", "measurements", "findings", "surfaces")

    def show_surfaces(self, label_map: LabelMap | None = None) -> None:
        """Make surfaces of the result, or of a corrected label map."""
        chosen = label_map or (self.result.label_map if self.result else None)
        if chosen is not None:
            self._jobs.submit_latest("surfaces", self._of_result(self._surfaced), label_map=chosen)

    def measure(self, label_map: LabelMap) -> None:
        """Measure a corrected label map of the result's volume."""
        if self.result is not None:
            params = {"volume": self.result_volume, "confidence": self.result.confidence}
            params["boundary_margin"] = self.result.boundary_margin
            self._jobs.submit_latest("measure", self._of_result(self._measured), label_map=label_map, **params)

    def review(self, label_map: LabelMap) -> None:
        """Look for what may be wrong with the result, or with a corrected label map."""
        if self.result is not None:
            found = self._of_result(self._reviewed)
            self._jobs.submit("review", found, label_map=label_map, confidence=self.result.confidence)

    def ignore(self, finding: Finding) -> None:
        """Do not tell this again of this result."""
        self.ignored.add((finding.kind, finding.structure))
        self._reviewed(self.findings)

    # --- what comes back ---------------------------------------------------------------------------------------

    def _of_result(self, answer: Callable[[Any], None]) -> Callable[[Any], None]:
        """An answer about the present result; it is dropped if it comes when that is gone."""
        result = self.result
        return lambda value: answer(value) if self.result is result else None

    def _segmented(self, volume: Volume, result: Result) -> None:
        self.run.warnings += [w for w in result.warnings if w not in self.run.warnings]
        for warning in result.warnings:
            self._jobs.write(warning)
        self._jobs.write(f"timings in s: {result.timings}; {result.provenance.get('run', '')}")
        self.show_result(volume, result)

    def _measured(self, rows: list[Measurement]) -> None:
        self.measurements = sorted(rows, key=doubtful_first)
        self._tell("measurements")

    def _reviewed(self, findings: list[Finding]) -> None:
        self.findings = [f for f in findings if (f.kind, f.structure) not in self.ignored]
        self._tell("findings")

    def _surfaced(self, surfaces: SurfaceSet) -> None:
        self.surfaces = surfaces
        self._tell("surfaces")

    def _wrote(self, paths: list[str]) -> None:
        self.exported = [Path(p) for p in paths]
        self.run.summary = f"{len(paths)} files are in {self.exported[0].parent}."
        self._tell("exported")
