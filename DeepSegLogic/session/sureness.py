"""Why the model says so, and how sure it is: explanations and second opinions on the last result, on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..data.label_map import LabelMap
from ..data.types import Affine, ByteArray
from ..util.errors import UsageError
from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from .choices import Choices
from .jobs import Jobs
from .outcome import Outcome
from .signal import Signal
from .texts import titles

if TYPE_CHECKING:
    from ..review.attribution import Attribution, Method
    from ..review.disagreement import Disagreement
    from ..segmentation import Result

METHODS: dict[Method, str] = {"gradcam": N_("Grad-CAM"), "occlusion": N_("Occlusion")}
"""How to explain, and what it is called."""
VARIATIONS = {
    "augmentation": N_("Same model, image varied"),
    "dropout": N_("Same model, with dropout"),
    "folds": N_("Same model, fold by fold"),
}
"""Second opinions of the same model, and what they are called."""


class Sureness:
    """Explanations of the last result and second opinions on it.

    Args:
        jobs: asks the worker.
        choices: the settings, and the models that could be asked.
        outcome: the result.

    Attributes:
        attribution: why a structure is where it is; None before :meth:`explain`.
        rows: where a second opinion differs, by structure; empty before :meth:`ask`.
        other: that opinion; None before.
        overlay: the map of the last of both, (K, J, I) uint8, its 4×4 matrix, and what it is called; None before.
        changed: something of this changed.
    """

    def __init__(self, jobs: Jobs, choices: Choices, outcome: Outcome) -> None:
        self.attribution: Attribution | None = None
        self.rows: list[Disagreement] = []
        self.other: LabelMap | None = None
        self.overlay: tuple[ByteArray, Affine, str] | None = None
        self.changed: Signal[Sureness] = Signal()
        self._jobs, self._choices, self._outcome = jobs, choices, outcome
        outcome.result_changed.connect(lambda _result: self._forget())
        choices.models_changed.connect(lambda _models: self.changed.emit(self))

    @property
    def why_not(self) -> str:
        """Why nothing can be asked now, in words; empty if it can."""
        if self._outcome.result is None:
            return _("Segment a volume first.")
        if self._choices.place.url:
            return _("This is offered for models on this computer only.")
        card = next((e.card for e in self._choices.models.all if e.card.id == self._model and e.installed), None)
        if card is None:
            return _("The model of this result is not on this computer.")
        if len(card.channels) > 1:
            return _("This is not offered for models that see several images.")
        return _("A task is running.") if self._jobs.run.busy else ""

    @property
    def others(self) -> dict[str, str]:
        """Who could give a second opinion: what :meth:`ask` takes, and what it is called."""
        models = [e.card for e in self._choices.models.all if e.installed and not e.damage]
        named = {c.id: c.title for c in models if c.id != self._model and not c.takes_prompts and len(c.channels) < 2}
        return {name: _(title) for name, title in VARIATIONS.items()} | named

    def explain(self, structure: str, method: Method = "gradcam", label_map: LabelMap | None = None) -> None:
        """Start to find which parts of the image speak for a structure, where it is thickest.

        Args:
            label_map: the result as it is now, if it was corrected.

        Raises:
            UsageError: nothing can be asked now, see :attr:`why_not`.
        """
        result = self._result()
        self._jobs.start(
            "explain",
            "explain",
            lambda found: self._explained(result, found),
            volume=self._outcome.volume,
            model=self._model,
            structure=structure,
            method=method,
            label_map=label_map or result.label_map,
            device=self._choices.settings.device,
        )

    def ask(self, other: str, label_map: LabelMap | None = None) -> None:
        """Start to get a second opinion.

        Args:
            other: one of :attr:`others`.
            label_map: the result as it is now, if it was corrected.

        Raises:
            UsageError: nothing can be asked now, see :attr:`why_not`.
        """
        result, title = self._result(), self.others.get(other, other)
        self._jobs.start(
            "second_opinion",
            "second_opinion",
            lambda found: self._answered(result, title, found),
            volume=self._outcome.volume,
            label_map=label_map or result.label_map,
            model=self._model,
            other=other,
            device=self._choices.settings.device,
            quality=self._choices.settings.quality,
        )

    def taken(self, label_map: LabelMap, structure: str) -> LabelMap:
        """A label map of the result in which a structure is as the second opinion has it.

        Raises:
            UsageError: there is no second opinion, or it does not know the structure.
        """
        from ..review.disagreement import with_structure

        if self.other is None:
            raise UsageError(_("There is no second opinion."), _("Ask for one first."), code="usage.empty")
        return with_structure(label_map, self.other, structure)

    @property
    def _model(self) -> str:
        result = self._outcome.result
        return result.provenance.get("model", {}).get("id", "") if result is not None else ""

    def _result(self) -> Result:
        result = self._outcome.result
        if self.why_not or result is None:
            raise UsageError(self.why_not, code="usage.not_ready")
        return result

    def _explained(self, result: Result, found: Attribution) -> None:
        if self._outcome.result is not result:  # another one came meanwhile
            return
        structure = titles([found.structure])
        title = _("Why {structure}").format(structure=structure)
        facts = {
            "structure": structure,
            "chance": f"{found.probability:.2f}",
            "away": f"{found.away_mm:.0f}",
        }
        self._jobs.run.summary = _(
            "{structure}: probability {chance} where it is thickest. The map is strongest {away} mm from there."
        ).format_map(facts)
        self.attribution, self.overlay = found, (found.array, found.ijk_to_ras, title)
        self.changed.emit(self)

    def _answered(self, result: Result, title: str, found: dict[str, Any]) -> None:
        if self._outcome.result is not result:
            return
        self.rows, self.other = found["rows"], found["other"]
        self.overlay = (found["map"], result.label_map.ijk_to_ras, _("Differences from {who}").format(who=title))
        facts = {"differ": sum(row.differs for row in self.rows), "count": len(self.rows)}
        self._jobs.run.summary = _("Structures that differ: {differ} of {count}.").format_map(facts)
        self.changed.emit(self)

    def _forget(self) -> None:
        self.attribution, self.rows, self.other, self.overlay = None, [], None, None
        self.changed.emit(self)
