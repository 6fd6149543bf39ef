"""What is to be segmented, with which model, and how: what a user settles before a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DeepSegError, UsageError
from ..volume import Volume
from .anatomy import Group, groups_of, preset_names
from .correctors import Correctors
from .jobs import Jobs
from .models import ModelEntry, found_entries, model_entries
from .preflight import Preflight, preflight
from .signal import Signal

if TYPE_CHECKING:
    from ..models.card import ModelCard

NO_MEMORY = "resource.memory", "resource.gpu_memory", "resource.killed"


class Choices:
    """A volume, a model and the settings of the next run, and what can be said of them.

    Args:
        jobs: asks the worker.
        changed: tells ``"input"``, ``"models"``, ``"correctors"``, ``"structures"`` and ``"estimate"``.
        model: id of the one to begin with, if it is installed.

    Attributes:
        volume: the input, or None.
        preflight: what can be said of it.
        estimate: what a run will take, as the worker's ``estimate`` request tells; None while unknown.
        all_models, models: the list to choose from, and what a search left of it.
        correctors: what can compute a correction, and which one is to.
        model: the card of the model chosen.
        chosen: names of the structures wanted, in label order.
        quality, device, force: settings of the next run.
    """

    def __init__(self, jobs: Jobs, changed: Signal, model: str):
        self.changed = changed
        self.volume: Volume | None = None
        self.preflight = Preflight()
        self.estimate: dict[str, Any] | None = None
        self.all_models: list[ModelEntry] = model_entries()
        self.models = self.all_models
        self.correctors = Correctors(self.all_models)
        self.model: ModelCard | None = None
        self.chosen: list[str] = []
        self.quality, self.device, self.force = "standard", "auto", False
        self._jobs = jobs
        self._estimating: int | None = None  # job whose answer is still of use
        self._search = ""
        self._remembered: dict[str, list[str]] = {}  # model → structures chosen for it last
        if any(entry.card.id == model and entry.installed for entry in self.models):
            self.choose_model(model)

    def set_volume(self, volume: Volume | None) -> None:
        """Choose the input."""
        self.volume = volume
        self._look()

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

    def install(self, model_id: str) -> None:
        """Download a model of the catalogue; whoever calls this has shown its licence and size."""
        self._jobs.start("install", "install_model", lambda _: self._installed(model_id), model=model_id)

    def import_model(self, path: Path) -> None:
        """Take a model from a file or folder."""
        self._jobs.start("install", "import_model", self._installed, path=str(path))

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
        if self.volume is None or not self.model_installed or self.model.takes_prompts or self._jobs.run.busy:
            return
        self._jobs.forget(self._estimating)
        self._estimating = self._jobs.submit(
            "estimate",
            self._estimated,
            failed=self._fell_short,
            shape=list(self.volume.shape),
            ijk_to_ras=self.volume.ijk_to_ras,
            model=self.model.id,
            device=self.device,
            quality=self.quality,
        )

    @property
    def why_not(self) -> str:
        """Why the run cannot start, in words; empty when it can."""
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
        return "Wait for the task under way." if self._jobs.run.busy else ""

    def _look(self) -> None:
        self.preflight = preflight(self.volume, self.model)
        self._tell("input")
        self._forget_estimate()

    def _forget_estimate(self) -> None:
        self._jobs.forget(self._estimating)
        self.estimate = self._estimating = None
        self._tell("estimate")

    def _estimated(self, answer: dict[str, Any]) -> None:
        self.estimate = answer
        self._tell("estimate")

    def _fell_short(self, error: DeepSegError) -> None:
        if error.code in NO_MEMORY:
            self.preflight = preflight(self.volume, self.model, error)
            self._tell("input")

    def _installed(self, model_id: str) -> None:
        self._jobs.run.summary = f"{model_id} is installed."
        self.search_models(self._search)
        if any(corrector.id == model_id for corrector in self.correctors.all):
            self._jobs.run.summary += " Choose it where a result is corrected."
        else:
            self.choose_model(model_id)

    def _tell(self, *parts: str) -> None:
        for part in parts:
            self.changed.emit(part)
