"""One user's work: a volume, a model, a run, its result. The faces only show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, DeepSegError, UsageError
from ..labels import LabelMap
from ..volume import Volume
from ..worker import Event, WorkerClient
from .anatomy import Group, groups_of, preset_names
from .correctors import Correctors
from .models import ModelEntry, found_entries, model_entries
from .preflight import Preflight, preflight
from .ranking import doubtful_first
from .run import Phase, Run
from .signal import Signal

if TYPE_CHECKING:
    from ..measures import Measurement
    from ..models.card import ModelCard
    from ..pipeline import Result
    from ..refine.review import Finding
    from ..surfaces import SurfaceSet

NO_MEMORY = "resource.memory", "resource.gpu_memory", "resource.killed"


class Session:
    """The state that a face shows, and the commands it offers. All for one thread; nothing blocks.

    Call :meth:`poll` every 50 to 100 ms. :attr:`changed` then tells which attribute to show anew: ``"input"``,
    ``"models"``, ``"correctors"``, ``"structures"``, ``"estimate"``, ``"run"``, ``"result"``, ``"measurements"``,
    ``"findings"``, ``"surfaces"``, ``"exported"`` or ``"log"``.

    Attributes:
        volume: the input, or None.
        preflight: what can be said of it.
        estimate: what a run will take, as the worker's ``estimate`` request tells; None while unknown.
        all_models, models: the list to choose from, and what a search left of it.
        correctors: what can compute a correction, and which one is to.
        model: the card of the model chosen.
        chosen: names of the structures wanted, in label order.
        quality, device, force: settings of the next run.
        run: the long task.
        result: of the last good segmentation; it stays when a later run fails.
        measurements: of its structures; those to look at first come first.
        findings: places to look at first, once :meth:`review` was asked for; without those ignored.
        surfaces: of its structures, once :meth:`show_surfaces` was asked for.
        exported: what the last export wrote.
        log: lines for the curious: what was done, what went wrong with its traceback.
    """

    def __init__(self, client: WorkerClient | None = None, model: str = "ct_demo"):
        self.changed = Signal()
        self.volume: Volume | None = None
        self.preflight = Preflight()
        self.estimate: dict[str, Any] | None = None
        self.all_models: list[ModelEntry] = model_entries()
        self.models = self.all_models
        self.correctors = Correctors(self.all_models)
        self.model: ModelCard | None = None
        self.chosen: list[str] = []
        self.quality, self.device, self.force = "standard", "auto", False
        self.run = Run()
        self.result: Result | None = None
        self.result_volume: Volume | None = None
        self.measurements: list[Measurement] = []
        self.findings: list[Finding] = []
        self.surfaces: SurfaceSet | None = None
        self.exported: list[Path] = []
        self.log: list[str] = []
        self._client = client or WorkerClient()
        self._ignored: set[tuple[str, str]] = set()  # kind and structure of findings
        self._answers: dict[int, Callable[[Any], None]] = {}  # job → what its result is given to
        self._latest: dict[str, int] = {}  # request → job, of those of which only the last answer counts
        self._waiting: dict[str, tuple[Callable[[Any], None], dict[str, Any]]] = {}  # request → what to ask next
        self._task: int | None = None  # job of ``run``
        self._estimating: int | None = None
        self._search = ""
        self._remembered: dict[str, list[str]] = {}
        if any(entry.card.id == model and entry.installed for entry in self.models):
            self.choose_model(model)

    # --- input -------------------------------------------------------------------------------------------------

    def set_volume(self, volume: Volume | None) -> None:
        """Choose the input. An earlier result stays until the next one replaces it."""
        self.volume = volume
        self._look()

    def forget_result(self) -> None:
        """Let go of the last result."""
        self.result = self.result_volume = self.surfaces = None
        self.measurements, self.findings = [], []
        self._ignored.clear()
        self._tell("result", "measurements", "findings", "surfaces")

    def adopt_result(self, label_map: LabelMap, provenance: dict) -> None:
        """Take what was segmented earlier, or elsewhere, as the result of the volume.

        Args:
            label_map: on the volume's grid.
            provenance: as of a run, see :mod:`DeepSegLogic.provenance`.
        """
        from ..pipeline import Result

        self.show_result(self.volume, Result(label_map, {}, provenance=provenance))

    def show_result(self, volume: Volume, result: Result) -> None:
        """Take a result of a volume as the last one."""
        self.result, self.result_volume, self.surfaces = result, volume, None
        self.measurements, self.findings = [], []
        self._ignored.clear()
        self._tell("result")
        self.measure(result.label_map)

    def choose_model(self, model_id: str) -> None:
        """Choose a model of the list; the structures chosen for it last time are chosen again.

        Raises:
            UsageError: there is none of this id.
        """
        entry = next((e for e in self.all_models if e.card.id == model_id), None)
        if entry is None:
            raise UsageError(f"There is no model {model_id}.", "Choose one of the list.", code="usage.model")
        if self.model is not None:
            self._remembered[self.model.id] = self.chosen
        self.model = entry.card
        self.chosen = self._remembered.get(model_id, list(entry.card.structures))
        self._tell("models", "structures")
        self._look()

    @property
    def model_installed(self) -> bool:
        """Whether the model chosen is on this machine."""
        return self.model is not None and self.model.folder is not None

    def search_models(self, words: str) -> None:
        """Show only the models that ``words`` find; all for none."""
        self._search = words
        self.all_models = model_entries()  # the command line may have brought others meanwhile
        self.models = found_entries(self.all_models, words)
        self.correctors.refresh(self.all_models)
        self._tell("models", "correctors")

    def choose_corrector(self, model_id: str) -> None:
        """Choose what computes a correction, see :meth:`Correctors.choose`."""
        self.correctors.choose(model_id)
        self._tell("correctors")

    @property
    def groups(self) -> list[Group]:
        """The chosen model's structures by body system."""
        return groups_of(self.model.structures) if self.model else []

    def choose_structures(self, names: list[str]) -> None:
        """Choose what to segment, by name; names that the model lacks are left out."""
        known = self.model.structures if self.model else []
        self.chosen = [name for name in known if name in set(names)]
        self._tell("structures")

    def choose_preset(self, preset: str) -> None:
        """Choose the structures of a preset that the model has."""
        self.choose_structures(preset_names(preset, self.model.structures if self.model else []))

    def set_quality(self, quality: str) -> None:
        """Choose ``"draft"``, ``"fast"``, ``"standard"`` or ``"best"``."""
        self.quality = quality
        self._forget_estimate()

    def set_device(self, device: str) -> None:
        """Choose ``"auto"``, ``"cuda"``, ``"mps"`` or ``"cpu"``."""
        self.device = device
        self._forget_estimate()

    def set_force(self, force: bool) -> None:
        """Whether to go on with a volume that does not look like what the model is for."""
        self.force = force
        self._tell("input")

    def ask_estimate(self) -> None:
        """Ask the worker what a run will take; loads the model there, so that the run starts sooner."""
        if self.volume is None or not self.model_installed or self.model.takes_prompts or self.run.busy:
            return
        job = self._estimating = self._submit(
            "estimate",
            lambda answer: self._estimated(job, answer),
            shape=list(self.volume.shape),
            ijk_to_ras=self.volume.ijk_to_ras,
            model=self.model.id,
            device=self.device,
            quality=self.quality,
        )

    # --- long tasks --------------------------------------------------------------------------------------------

    @property
    def why_not(self) -> str:
        """Why :meth:`segment` cannot start, in words; empty when it can."""
        if self.volume is None:
            return "Load a CT first."
        if self.model is None:
            return "Choose a model."
        if not self.model_installed:
            return "Install the model first."
        if self.model.takes_prompts:
            return "This model corrects results. Choose another one to segment."
        if not self.chosen:
            return "Choose at least one structure."
        blocking = [note for note in self.preflight.notes if note.blocking]
        if blocking and not self.force:
            return f"{blocking[0].text} {blocking[0].remedy}".strip()
        return "Wait for the task under way." if self.run.busy else ""

    def check_free(self) -> None:
        """Whether a long task can start.

        Raises:
            UsageError: one is under way.
        """
        if self.run.busy:
            raise UsageError("A task is under way.", "Wait for it, or cancel it.", code="usage.busy")

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
        self._start(
            "segment",
            "segment",
            lambda result: self._segmented(volume, result),
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

        self._start("correct", "refine", answered, model=self.correctors.chosen.id, device=self.device, **request)

    def install(self, model_id: str) -> None:
        """Download a model of the catalogue; whoever calls this has shown its licence and size."""
        self._start("install", "install_model", lambda _: self._installed(model_id), model=model_id)

    def import_model(self, path: Path) -> None:
        """Take a model from a file or folder."""
        self._start("install", "import_model", self._installed, path=str(path))

    def remove_model(self, model_id: str) -> None:
        """Delete a model that was downloaded or imported.

        Raises:
            ModelError, OutputError: it is not there, or in use.
        """
        from ..models.store import Store

        Store().remove(model_id)
        if self.model is not None and self.model.id == model_id:
            self.model, self.chosen = None, []
        self.search_models(self._search)
        self._look()

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
        self._start(
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

    def cancel(self) -> None:
        """Stop the long task; what it had before stays."""
        if self.run.phase is Phase.RUNNING:
            self._client.cancel(self._task)
            self.run.phase, self.run.remaining_s = Phase.CANCELLING, None
            self._tell("run")

    def show_surfaces(self, label_map: LabelMap | None = None) -> None:
        """Make surfaces of the result, or of a corrected label map."""
        chosen = label_map or (self.result.label_map if self.result else None)
        if chosen is not None:
            self._submit_latest("surfaces", self._of_result(self._surfaced), label_map=chosen)

    def measure(self, label_map: LabelMap) -> None:
        """Measure a corrected label map of the result's volume."""
        if self.result is not None:
            params = {"volume": self.result_volume, "confidence": self.result.confidence}
            params["boundary_margin"] = self.result.boundary_margin
            self._submit_latest("measure", self._of_result(self._measured), label_map=label_map, **params)

    def review(self, label_map: LabelMap) -> None:
        """Look for what may be wrong with the result, or with a corrected label map."""
        if self.result is not None:
            found = self._of_result(self._reviewed)
            self._submit("review", found, label_map=label_map, confidence=self.result.confidence)

    def ignore(self, finding: Finding) -> None:
        """Do not tell this again of this result."""
        self._ignored.add((finding.kind, finding.structure))
        self._reviewed(self.findings)

    def poll(self) -> None:
        """Take in what happened. Emits :attr:`changed`."""
        for event in self._client.poll():
            if event.kind == "progress" and event.job == self._task:
                self._progressed(event)
            elif event.kind in ("warning", "unresponsive"):
                self.run.warnings.append(event.message)
                self._write(event.message)
                self._tell("run")
            elif event.kind == "result":
                self._finish(event)
            elif event.kind == "error":
                self._failed(event)

    def report(self) -> str:
        """For a request for help: versions, device, model, last error. No names and no voxels of patients."""
        from ..doctor import examine

        lines = [f"{f.topic}: {f.fact} {f.remedy}".rstrip() for f in examine() if f.topic != "Model folder"]
        lines.append(f"Model: {self.model.id if self.model else 'none'}, {self.quality}, {self.device}")
        lines.append(f"Volume: {self.preflight.facts or 'none'}")
        error = self.run.error
        lines.append(f"Last error: {error.code} {type(error).__name__}" if error else "Last error: none")
        return "\n".join(lines)

    def close(self) -> None:
        """End the worker."""
        self._client.close()

    # --- what comes back ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        self.preflight = preflight(self.volume, self.model)
        self._tell("input")
        self._forget_estimate()

    def _forget_estimate(self) -> None:
        self.estimate = self._estimating = None
        self._tell("estimate")

    def _start(
        self,
        task: str,
        request: str,
        answer: Callable[[Any], None],
        frame: tuple[int, int] | None = None,
        **params: Any,
    ) -> None:
        self.check_free()
        self.run = Run(task, Phase.RUNNING, stage="Starting", frame=frame)
        if frame is not None:
            self.run.fraction = (frame[0] - 1) / frame[1]
        self._task = self._submit(request, answer, **params)
        self._write(f"{task}: started")
        self._tell("run")

    def _submit(self, request: str, answer: Callable[[Any], None], **params: Any) -> int:
        job = self._client.submit(request, **params)
        self._answers[job] = answer
        return job

    def _submit_latest(self, request: str, answer: Callable[[Any], None], **params: Any) -> None:
        """Ask; while the worker is at such a request, only the last of those that follow is kept: strokes are many."""
        if self._latest.get(request) in self._answers:
            self._waiting[request] = answer, params
        else:
            self._latest[request] = self._submit(request, answer, **params)

    def _ended(self, job: int) -> Callable[[Any], None] | None:
        """Take note that a job is no longer open; returns what its result is to be given to."""
        answer = self._answers.pop(job, None)
        for request in [r for r in self._waiting if self._latest[r] == job]:
            following, params = self._waiting.pop(request)
            self._submit_latest(request, following, **params)
        return answer

    def _of_result(self, answer: Callable[[Any], None]) -> Callable[[Any], None]:
        """An answer about the present result; it is dropped if it comes when that is gone."""
        result = self.result
        return lambda value: answer(value) if self.result is result else None

    def _progressed(self, event: Event) -> None:
        self.run.advance(event)
        self._tell("run")

    def _finish(self, event: Event) -> None:
        answer = self._ended(event.job)
        if event.job == self._task:
            self.run.phase, self.run.fraction, self.run.remaining_s = Phase.DONE, 1.0, None
            self._write(f"{self.run.task}: done")
        if answer is not None:
            answer(event.value)
        if event.job == self._task:
            self._tell("run")

    def _failed(self, event: Event) -> None:
        self._ended(event.job)
        cancelled = isinstance(event.error, Cancelled)
        if not cancelled:
            self._write(f"{event.error.code}: {event.error}\n{event.traceback}".rstrip())
        segmenting = event.job == self._task and self.run.task == "segment"
        if event.error.code in NO_MEMORY and (segmenting or event.job == self._estimating):
            self.preflight = preflight(self.volume, self.model, event.error)
            self._tell("input")
        if event.job == self._task:
            self.run.phase = Phase.CANCELLED if cancelled else Phase.FAILED
            self.run.error, self.run.remaining_s = event.error, None
            self._tell("run")

    def _estimated(self, job: int, answer: dict[str, Any]) -> None:
        if job == self._estimating:  # the last one asked for; settings may have changed meanwhile
            self.estimate = answer
            self._tell("estimate")

    def _segmented(self, volume: Volume, result: Result) -> None:
        self.run.warnings += [w for w in result.warnings if w not in self.run.warnings]
        for warning in result.warnings:
            self._write(warning)
        self._write(f"timings in s: {result.timings}; {result.provenance.get('run', '')}")
        self.show_result(volume, result)

    def _measured(self, rows: list[Measurement]) -> None:
        self.measurements = sorted(rows, key=doubtful_first)
        self._tell("measurements")

    def _reviewed(self, findings: list[Finding]) -> None:
        self.findings = [f for f in findings if (f.kind, f.structure) not in self._ignored]
        self._tell("findings")

    def _surfaced(self, surfaces: SurfaceSet) -> None:
        self.surfaces = surfaces
        self._tell("surfaces")

    def _installed(self, model_id: str) -> None:
        self.run.summary = f"{model_id} is installed."
        self.search_models(self._search)
        if any(corrector.id == model_id for corrector in self.correctors.all):
            self.run.summary += " Choose it where a result is corrected."
        else:
            self.choose_model(model_id)

    def _wrote(self, paths: list[str]) -> None:
        self.exported = [Path(p) for p in paths]
        self.run.summary = f"{len(paths)} files are in {self.exported[0].parent}."
        self._tell("exported")

    def _write(self, line: str) -> None:
        self.log.append(f"{time.strftime('%H:%M:%S')} {line}")
        self._tell("log")

    def _tell(self, *parts: str) -> None:
        for part in parts:
            self.changed.emit(part)
