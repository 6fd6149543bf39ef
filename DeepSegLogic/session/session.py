"""One user's work: choices, a long task, its result. The faces only show it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.label_map import LabelMap
from ..data.volume import Volume
from ..models.card import DEMO_MODEL
from ..remote.known import KnownServers
from ..remote.worker import RemoteWorker
from ..util.errors import DeepSegError, UsageError
from ..util.i18n import tr as _
from ..worker import WorkerClient
from .adaptation import Adaptation
from .archive import SessionArchive
from .choices import Choices
from .chosen import Place
from .correction import expect_corrections
from .detection import Detection
from .drafting import Drafting
from .jobs import Jobs
from .model_list import entries_on_server
from .outcome import Outcome
from .sureness import Sureness
from .texts import changes_text, comparison_text

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..segmentation import Result


class Session:
    """The state that a face shows, and the commands that it offers. For one thread; nothing blocks.

    Call :meth:`poll` every 50 to 100 ms. Each part has the signals of what it holds.

    Attributes:
        jobs: the long task and the log.
        choices: what the next run works on, and how.
        outcome: the last result, its measurements, findings, surfaces and corrections.
        drafting: the draft of its report.
        adaptation: what the model learns from corrections.
        archive: the PACS, if one is configured.
        sureness: why the model says so, and how sure it is.
        detection: lesions found in the volume.
    """

    def __init__(self, client: WorkerClient | None = None, model: str = DEMO_MODEL) -> None:
        self._client = client or RemoteWorker()
        self.jobs = Jobs(self._client)
        self.choices = Choices(self.jobs, model)
        self.outcome = Outcome(self.jobs)
        self.drafting = Drafting(self.jobs, self.outcome)
        self.adaptation = Adaptation(self.jobs, self.choices, self.outcome)
        self.archive = SessionArchive(self.jobs)
        self.sureness = Sureness(self.jobs, self.choices, self.outcome)
        self.detection = Detection(self.jobs, self.choices, self.outcome)

    def poll(self) -> None:
        """Take in what happened. Emits the signals."""
        self.jobs.poll()

    def close(self) -> None:
        """End the worker."""
        self._client.close()

    def report(self) -> str:
        """For a request for help: versions, device, model, last error. No names and no voxels of patients."""
        from .doctor import examine

        settings, model, error = self.choices.settings, self.choices.model, self.jobs.run.error
        lines = [f"{f.topic}: {f.fact} {f.remedy}".rstrip() for f in examine() if f.topic != "Model folder"]
        lines.append(f"Model: {model.id if model else 'none'}, {settings.quality}, {settings.device}")
        lines.append(f"Volume: {self.choices.input.preflight.facts or 'none'}")
        lines.append(f"Last error: {error.code} {type(error).__name__}" if error else "Last error: none")
        return "\n".join(lines)

    def run_on(self, url: str) -> None:
        """Choose where the next runs happen. The models of a server are there when the task ``"connect"`` has ended.

        Args:
            url: of a server that was saved, see :class:`~DeepSegLogic.remote.known.KnownServers`; empty for this
                machine.

        Raises:
            UsageError: a task is running, the server was not saved, or there is no token for it.
        """
        self.jobs.check_free()
        client = self._client
        if not isinstance(client, RemoteWorker):
            raise UsageError(_("This session runs on this computer only."), code="usage.server")
        if not url:
            client.server = None
            self.choices.take_place(Place())
            return
        before, client.server = client.server, KnownServers().connect(url)

        def failed(_error: DeepSegError) -> None:
            client.server = before

        def connected(cards: list[ModelCard]) -> None:
            self.choices.take_place(Place(url), partial(entries_on_server, cards))

        self.jobs.start("connect", "models", connected, failed)

    def segment(self, frame: tuple[int, int] | None = None) -> None:
        """Start to segment.

        Args:
            frame: see :class:`Run`.

        Raises:
            UsageError: it cannot start; the message is :attr:`Choices.why_not`.
        """
        choices = self.choices
        volume, model, structures, settings = choices.volume, choices.model, choices.structures, choices.settings
        if choices.why_not or volume is None or model is None:
            raise UsageError(choices.why_not, code="usage.not_ready")
        enhance = {"enhance": settings.enhance} if settings.enhance else {}  # which a server does not know
        self.jobs.start(
            "segment",
            "segment",
            lambda result: self._segmented(volume, result),
            failed=choices.note_failure,
            volume=volume,
            model=model.id,
            channels=choices.channels.by_number,
            structures=None if structures.chosen == tuple(model.structures) else list(structures.chosen),
            device=settings.device,
            quality=settings.quality,
            force=settings.force,
            keep_probabilities=True,
            frame=frame,
            **enhance,
        )
        expect_corrections()

    def correct(self, request: dict[str, Any], take: Callable[[dict[str, Any]], str]) -> None:
        """Let the model that is chosen as the correction method answer a prompt.

        Args:
            request: see :meth:`Correction.request`.
            take: is called with the worker's answer; returns a summary, or raises why nothing was changed.

        Raises:
            UsageError: a task is running.
        """

        def answered(answer: dict[str, Any]) -> None:
            try:
                self.jobs.run.summary = take(answer)
            except DeepSegError as error:
                self.jobs.run.summary = str(error)

        model, device = self.choices.correctors.chosen.id, self.choices.settings.device
        self.jobs.start("correct", "refine", answered, model=model, device=device, **request)

    def compare(self, reference: LabelMap, label_map: LabelMap | None = None) -> None:
        """Compare the result with a reference segmentation, see :func:`DeepSegLogic.evaluation.evaluate`.

        Args:
            reference: on the grid of the result's volume.
            label_map: what to compare instead of the result as it came, e.g. after corrections.

        Raises:
            UsageError: there is no result, or a task is running.
        """
        result, _volume = self._shown(_("Nothing to compare."))
        self.jobs.start(
            "compare",
            "evaluate",
            lambda found: self._compared(result, found),
            label_map=label_map or result.label_map,
            reference=reference,
        )

    def compare_with_earlier(
        self,
        earlier: LabelMap,
        volume: Volume | None,
        folder: Path,
        days: float | None = None,
        label_map: LabelMap | None = None,
    ) -> None:
        """Compare the result with that of an earlier scan, see :func:`DeepSegLogic.followup.follow_up`.

        Args:
            earlier, volume: of the earlier scan; without its volume the structures are registered.
            folder: for the files of :func:`~DeepSegLogic.followup.write_follow_up`.
            days: between the scans; None for those between the dates of both DICOM series, if known.
            label_map: what to compare instead of the result as it came, e.g. after corrections.

        Raises:
            UsageError: there is no result, or a task is running.
        """
        result, current = self._shown(_("Nothing to compare."))
        shown = label_map or result.label_map
        self.jobs.start(
            "follow_up",
            "follow_up",
            lambda found: self._followed(result, found),
            earlier=earlier,
            earlier_volume=volume,
            label_map=shown,
            volume=current,
            confidence=self.outcome.belief_in(shown)[0],
            days=days,
            folder=str(folder),
        )

    def export(self, folder: Path, formats: list[str], label_map: LabelMap | None = None, **options: Any) -> None:
        """Write the result to a folder, see :func:`DeepSegLogic.worker.handlers.results.export`.

        Args:
            formats: of surfaces, and ``"seg.nrrd"``, ``"nii.gz"``, ``"csv"``, ``"html"``, ``"plan"``; of
                :data:`~DeepSegLogic.io.dicom.exports.EXPORTS` if :attr:`Outcome.why_no_dicom` is empty.
            label_map: what to write instead of the result as it came, e.g. after corrections.

        Raises:
            UsageError: there is nothing to export.
        """
        written = self._written(label_map)
        if formats == ["plan"] and written["plan"] is None:
            raise UsageError(_("The plan is empty."), _("Add a measurement or a plane."), code="usage.empty")
        self.jobs.start(
            "export", "export", self.outcome.take_files, folder=str(folder), formats=formats, **written, **options
        )

    def send(self, formats: list[str], label_map: LabelMap | None = None, *, corrected: bool = False) -> None:
        """Send the result to the archive.

        Args:
            formats: of :data:`~DeepSegLogic.results.label_files.DICOM_FORMATS`.
            label_map: what to send instead of the result as it came, e.g. after corrections.
            corrected: whether somebody changed the result.

        Raises:
            UsageError: there is nothing to send, or a task is running.
        """
        written = self._written(label_map)
        self.jobs.start("send", "send_result", self._sent, formats=formats, corrected=corrected, **written)

    def _written(self, label_map: LabelMap | None) -> dict[str, Any]:
        """What an export writes of the result."""
        result, volume = self._shown(_("Nothing to export."))
        shown = label_map or result.label_map
        draft = self.drafting.of(shown)
        confidence, boundary_margin = self.outcome.belief_in(shown)
        return {
            "label_map": shown,
            "volume": volume,
            "source": volume.source,
            "confidence": confidence,
            "boundary_margin": boundary_margin,
            "provenance": result.provenance,
            "plan": self.outcome.plan_content,
            "draft": draft.as_json() if draft is not None else None,
            "hidden": sorted(self.outcome.ignored),
        }

    def _shown(self, why_not: str) -> tuple[Result, Volume]:
        """The result and the volume that it is of.

        Raises:
            UsageError: ``why_not``, for there is no result.
        """
        result, volume = self.outcome.result, self.outcome.volume
        if result is None or volume is None:
            raise UsageError(why_not, _("Segment a volume first."), code="usage.empty")
        return result, volume

    def _segmented(self, volume: Volume, result: Result) -> None:
        run = self.jobs.run
        run.warnings += [w for w in result.warnings if w not in run.warnings]
        for warning in result.warnings:
            self.jobs.write(warning)
        self.jobs.write(f"timings in s: {result.timings}; {result.provenance.get('run', '')}")
        self.outcome.show(volume, result)

    def _compared(self, result: Result, found: dict[str, Any]) -> None:
        if self.outcome.result is not result:  # another one came meanwhile
            return
        self.jobs.run.summary = comparison_text(found["scores"])
        self.jobs.run.warnings += found["notes"]
        self.outcome.take_comparison(found["scores"])

    def _followed(self, result: Result, found: dict[str, Any]) -> None:
        if self.outcome.result is not result:  # another one came meanwhile
            return
        self.jobs.run.summary = changes_text(found["changes"], found["interval"])
        self.jobs.run.warnings += found["notes"]
        self.outcome.take_changes(found["changes"], found["interval"])

    def _sent(self, count: int) -> None:
        self.jobs.run.summary = _("Files sent to the archive: {}.").format(count)
