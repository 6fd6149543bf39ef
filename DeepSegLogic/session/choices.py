"""What a user chooses before a run: volume, model, structures, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..classify import Scan, outside, thinned
from ..data.volume import Volume
from ..util.errors import DeepSegError, ResourceError, UsageError
from ..util.i18n import tr as _
from ..util.lazy import import_ahead
from .chosen import Channels, Estimate, Input, Place, Settings, Structures, same_scan
from .correctors import Correctors
from .jobs import Jobs
from .model_list import ModelEntry, Models, model_entries
from .preflight import Note, Preflight, preflight
from .readiness import why_not
from .signal import Signal
from .structure_presets import preset_names
from .task import Run

if TYPE_CHECKING:
    from ..models.card import ModelCard

UNTRUSTED = "model.untrusted"
NO_MEMORY = "resource.memory", "resource.gpu_memory", "resource.killed"


class Choices:
    """The choices for the next run. Each has a signal that carries its new state.

    Args:
        jobs: asks the worker.
        model: id of the model to begin with, if it is installed.

    Attributes:
        input, channels, settings, models, structures, correctors: the present choices.
        place: where runs happen, see :meth:`Session.run_on`.
        estimate: what a run will need; None while unknown.
        why_not: why the run cannot start, in words; empty when it can.
    """

    def __init__(self, jobs: Jobs, model: str) -> None:
        self.input, self.channels, self.settings, self.structures = Input(), Channels(), Settings(), Structures()
        self.place, self._entries = Place(), model_entries
        self.models = Models.search(self._entries(), "")
        self.correctors = Correctors().among(self.models.all)
        self.estimate: Estimate | None = None
        self.why_not = ""
        self.input_changed: Signal[Input] = Signal()
        self.channels_changed: Signal[Channels] = Signal()
        self.settings_changed: Signal[Settings] = Signal()
        self.models_changed: Signal[Models] = Signal()
        self.structures_changed: Signal[Structures] = Signal()
        self.correctors_changed: Signal[Correctors] = Signal()
        self.place_changed: Signal[Place] = Signal()
        self.estimate_changed: Signal[Estimate | None] = Signal()
        self.why_not_changed: Signal[str] = Signal()
        self._jobs = jobs
        self._estimating: int | None = None  # job whose answer is still of use
        self._remembered: dict[str, tuple[str, ...]] = {}  # model → structures chosen for it last
        jobs.run_changed.connect(self._check)
        if any(entry.card.id == model and entry.installed for entry in self.models.all):
            self.choose_model(model)
        self._check(jobs.run)

    # --- input and settings ------------------------------------------------------------------------------------

    @property
    def volume(self) -> Volume | None:
        """The input."""
        return self.input.volume

    def set_volume(self, volume: Volume | None) -> None:
        """Choose the input; what is known about the scan stays if it is the same one, read again."""
        self.input = Input(volume, scan=self.input.scan if same_scan(volume, self.volume) else None)
        self._look_at_input()
        self._take_elsewhere()

    def set_channel(self, name: str, volume: Volume | None) -> None:
        """Choose the image of a further channel of the model."""
        self._take_channels(self.channels.having(name, volume))

    def set_quality(self, quality: str) -> None:
        """Choose a quality, see :class:`Settings`."""
        self._change_settings(replace(self.settings, quality=quality))
        self._forget_estimate()

    def set_device(self, device: str) -> None:
        """Choose a device, see :class:`Settings`."""
        self._change_settings(replace(self.settings, device=device))
        self._forget_estimate()

    def set_force(self, force: bool) -> None:
        """Whether to segment a volume that does not look like what the model is for."""
        self._change_settings(replace(self.settings, force=force))

    def set_enhance(self, task: str) -> None:
        """How to enhance the CT before a run, see :class:`Settings`."""
        self._change_settings(replace(self.settings, enhance=task))

    # --- models ------------------------------------------------------------------------------------------------

    @property
    def model(self) -> ModelCard | None:
        """The card of the chosen model."""
        return self.models.chosen

    @property
    def model_installed(self) -> bool:
        """Whether the chosen model is on this machine, with those that it needs."""
        return (entry := self.models.entry) is not None and not entry.missing and not entry.damage

    def choose_model(self, model_id: str) -> None:
        """Choose a model by id; the structures chosen for it last time are chosen again.

        Raises:
            UsageError: there is no such model.
        """
        entry = next((e for e in self.models.all if e.card.id == model_id), None)
        if entry is None:
            raise UsageError(
                _("There is no model {}.").format(model_id),
                _("Choose one from the list."),
                code="usage.model",
            )
        if self.model is not None:
            self._remembered[self.model.id] = self.structures.chosen
        names = tuple(entry.card.structures)
        known = (*names, *entry.card.on_request)
        self._take_model(entry.card, Structures(known, self._remembered.get(model_id, names)))

    def search_models(self, words: str) -> None:
        """Show only the models that ``words`` find; all for no words. Looks anew at what is installed."""
        entries = self._entries()
        self.models = replace(Models.search(entries, words), chosen=self.model)
        self.correctors = self.correctors.among(entries)
        self._check(self._jobs.run)
        self.models_changed.emit(self.models)
        self.correctors_changed.emit(self.correctors)

    def install(self, model_id: str) -> None:
        """Download a model of the catalog; the caller has shown its licence and size.

        Raises:
            UsageError: runs happen on a server.
        """
        self._check_here()
        self._jobs.start("install", "install_model", lambda _id: self._installed(model_id), model=model_id)

    def import_model(self, path: Path) -> None:
        """Import a model from a file or folder; raises as :meth:`install`."""
        self._check_here()
        self._jobs.start("install", "import_model", self._installed, path=str(path))

    def remove_model(self, model_id: str) -> None:
        """Delete a model that was downloaded or imported.

        Raises:
            ModelError, OutputError: it is not there, or in use.
        """
        from ..models.store import Store

        Store().remove(model_id)
        if self.model is not None and self.model.id == model_id:
            self._take_model(None, Structures())
        self.search_models(self.models.words)

    def take_place(self, place: Place, entries: Callable[[], list[ModelEntry]] = model_entries) -> None:
        """Note where runs happen from now on; the same model stays chosen if it is there.

        Args:
            entries: gives the models that are there.
        """
        self.place, self._entries, before = place, entries, self.model
        there = next((e.card for e in entries() if before is not None and e.card.id == before.id), None)
        if there is None:
            self._take_model(None, Structures())
        self.search_models("")
        if there is not None:
            self.choose_model(there.id)
        self._forget_estimate()
        self.place_changed.emit(place)

    def choose_corrector(self, model_id: str) -> None:
        """Choose the correction method, see :meth:`Correctors.choosing`."""
        self.correctors = self.correctors.choosing(model_id)
        self.correctors_changed.emit(self.correctors)

    def _check_here(self) -> None:
        if self.place.url:
            raise UsageError(
                _("Models of a server are installed there."), _("Choose this computer first."), code="usage.server"
            )

    def _take_model(self, card: ModelCard | None, structures: Structures) -> None:
        self.models, self.structures = replace(self.models, chosen=card), structures
        self._take_channels(self.channels.among(card.channels[1:] if card is not None else []))
        self._look_at_input()
        self.models_changed.emit(self.models)
        self.structures_changed.emit(structures)
        self._take_elsewhere()

    # --- structures --------------------------------------------------------------------------------------------

    def choose_structures(self, names: list[str]) -> None:
        """Choose what to segment, by name; names that the model does not know are left out."""
        chosen = tuple(name for name in self.structures.known if name in set(names))
        self.structures = replace(self.structures, chosen=chosen)
        self._check(self._jobs.run)
        self.structures_changed.emit(self.structures)

    def choose_preset(self, preset: str) -> None:
        """Choose the structures of a preset that the model knows."""
        self.choose_structures(preset_names(preset, self.structures.known))

    # --- what the scan is --------------------------------------------------------------------------------------

    def expect_volume(self) -> None:
        """A volume will be there soon: import meanwhile what will be needed then, here and in the worker."""
        import_ahead("scipy.ndimage", "SimpleITK")
        self._jobs.submit_latest("prepare", lambda _answer: None)

    def ask_scan(self) -> None:
        """Ask the worker what the volume is. Nothing waits for the answer; without one, nothing is said."""
        if (volume := self.volume) is not None and volume.array.ndim == 3 and volume.array.size:
            self._jobs.submit_latest("classify", partial(self._take_scan, volume), volume=thinned(volume))

    def _take_scan(self, volume: Volume | None, scan: Scan) -> None:
        if same_scan(volume, self.volume):
            self._take_input(preflight(self.volume, self.model, scan=scan), scan)
            self._take_elsewhere()

    def _take_elsewhere(self) -> None:
        elsewhere = tuple(outside(self.input.scan or Scan(), self.structures.known))
        if elsewhere != self.structures.elsewhere:
            self.structures = replace(self.structures, elsewhere=elsewhere)
            self.structures_changed.emit(self.structures)

    # --- estimate ----------------------------------------------------------------------------------------------

    def ask_estimate(self) -> None:
        """Ask the worker what a run will need; loads the model there, so that the run starts sooner."""
        model, volume = self.model, self.volume
        if volume is None or model is None or not self.model_installed or self._jobs.run.busy:
            return
        if model.takes_prompts or model.finds_boxes:
            return
        self._jobs.forget(self._estimating)
        place = {"shape": list(volume.shape_kji), "ijk_to_ras": volume.ijk_to_ras}
        how = {"model": model.id, "device": self.settings.device, "quality": self.settings.quality}
        self._estimating = self._jobs.submit("estimate", self._estimated, failed=self.note_failure, **place, **how)

    def note_failure(self, error: DeepSegError) -> None:
        """Say before the next run what to do, if an estimate or a run failed for lack of memory or of trust."""
        if isinstance(error, ResourceError) and error.code in NO_MEMORY:
            found = preflight(self.volume, self.model, error, self.input.scan)
        elif error.code == UNTRUSTED:
            note, before = Note(error.message, error.remedy), self.input.preflight
            found = replace(before, notes=(*(n for n in before.notes if n != note), note))
        else:
            return
        self._take_input(found, self.input.scan)

    def _forget_estimate(self) -> None:
        self._jobs.forget(self._estimating)
        self.estimate = self._estimating = None
        self.estimate_changed.emit(None)

    def _estimated(self, answer: dict[str, Any]) -> None:
        self.estimate = Estimate(**{name: answer[name] for name in Estimate.__dataclass_fields__})
        self.estimate_changed.emit(self.estimate)

    def _installed(self, model_id: str) -> None:
        self._jobs.run.summary = _("{} is installed.").format(model_id)
        self.search_models(self.models.words)
        if any(corrector.id == model_id for corrector in self.correctors.all):
            self._jobs.run.summary += " " + _("Choose it as the correction method of a result.")
        else:
            self.choose_model(model_id)

    # --- what follows from the choices -------------------------------------------------------------------------

    def _look_at_input(self) -> None:
        scan = self.input.scan
        self._take_input(preflight(self.volume, self.model, scan=scan), scan)
        self._forget_estimate()

    def _take_input(self, found: Preflight, scan: Scan | None) -> None:
        self.input = Input(self.volume, found, scan)
        self._check(self._jobs.run)
        self.input_changed.emit(self.input)

    def _take_channels(self, channels: Channels) -> None:
        self.channels = channels
        self._check(self._jobs.run)
        self.channels_changed.emit(channels)

    def _change_settings(self, settings: Settings) -> None:
        self.settings = settings
        self._check(self._jobs.run)
        self.settings_changed.emit(settings)

    def _check(self, run: Run) -> None:
        """Whether a run can start."""
        before, self.why_not = self.why_not, why_not(self, run)
        if self.why_not != before:
            self.why_not_changed.emit(self.why_not)
