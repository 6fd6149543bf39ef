"""Learning from corrections: the cases that were collected, the version that is offered, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..adaptation.lineage import MINUTES, adapted_facts, check_can_learn
from ..classify import thinned
from ..data.label_map import LabelMap, changed_structures
from ..data.volume import Volume, volume_digest
from ..util.errors import DeepSegError, UsageError
from ..util.i18n import tr as _
from .choices import Choices
from .jobs import Answer, Jobs
from .outcome import Outcome
from .signal import Signal
from .task import Run
from .texts import collect_question

if TYPE_CHECKING:
    from ..adaptation.cases import CorrectedCase
    from ..adaptation.offer import Offer
    from ..models.card import ModelCard
    from ..segmentation import Result


class Adaptation:
    """What the chosen model can learn from, and what came of it.

    Args:
        jobs: asks the worker.
        choices: the model.
        outcome: the corrected result.

    Attributes:
        cases: that were collected for the chosen model, the oldest first.
        offer: a new version of it that waits for a decision; None if there is none.
        minutes: to learn.
        patient: whose image the result is: any code, or empty. It begins as what it was for the last result of this
            volume, else as the PatientID of the DICOM series.
        folder: where the cases are kept; None while no model is chosen that is here.
        why_not: why the chosen model cannot learn at all, in words; empty when it can.
        changed: something of this changed.
    """

    def __init__(self, jobs: Jobs, choices: Choices, outcome: Outcome) -> None:
        self.cases: list[CorrectedCase] = []
        self.offer: Offer | None = None
        self.minutes = MINUTES
        self.patient = ""
        self._volume: Volume | None = None  # that the patient is of
        self._patients: dict[str, str] = {}  # by volume
        self.folder: Path | None = None
        self.why_not = ""
        self.changed: Signal[Adaptation] = Signal()
        self._jobs, self._choices, self._outcome = jobs, choices, outcome
        choices.models_changed.connect(lambda _models: self.refresh())
        outcome.result_changed.connect(self._look_at_result)
        jobs.run_changed.connect(self._look_at_run)
        self._busy = False
        self.refresh()

    def refresh(self) -> None:
        """Look at the disk: another face may have changed the cases or the offer."""
        self.cases, self.offer, self.folder, self.why_not = [], None, None, _("Choose an installed model.")
        card = self._choices.model
        if card is not None and self._choices.model_installed:
            from ..adaptation.cases import CorrectedCases
            from ..adaptation.offer import offered

            self.why_not = ""
            try:
                check_can_learn(card)
                kept = CorrectedCases(card)
                self.cases, self.offer, self.folder = kept.all(), offered(kept), kept.folder
            except DeepSegError as error:
                self.why_not = error.message
        self.changed.emit(self)

    @property
    def where(self) -> str:
        """Where the model learns, in words; empty while runs happen there, too."""
        return _("The model learns where DeepSeg runs, not on the chosen server.") if self._choices.place.url else ""

    @property
    def why_not_collect(self) -> str:
        """Why the result cannot be collected, in words; empty when it can."""
        if self._outcome.result is None:
            return _("Segment a volume and correct the result first.")
        return self.why_not or self._jobs.run.why_wait

    @property
    def why_not_learn(self) -> str:
        """Why learning cannot start, in words; empty when it can."""
        if not self.cases:
            return self.why_not or _("Collect a corrected case first.")
        return self.why_not or self._jobs.run.why_wait

    @property
    def why_not_back(self) -> str:
        """Why there is no earlier version to go back to, in words; empty if there is."""
        card = self._choices.model
        if card is None or not adapted_facts(card):
            return _("This model has no earlier version.")
        return self._jobs.run.why_wait

    def structures(self, label_map: LabelMap | None = None) -> list[str]:
        """Names of the structures that a case would teach: those that were corrected; all if none was.

        Args:
            label_map: the corrected labels, if a face has newer ones than :attr:`Outcome.correction`.
        """
        result, corrected = self._outcome.result, self._corrected(label_map)
        if result is None or corrected is None:
            return []
        return changed_structures(result.label_map, corrected) or [s.name for s in corrected.structures]

    def question(self, label_map: LabelMap | None = None, place: str = "") -> str:
        """What the user must agree to before :meth:`collect`, in lines.

        Args:
            label_map: see :meth:`structures`.
            place: where the case is kept, in words; by default its folder.
        """
        assert self._outcome.volume is not None
        return collect_question(place or str(self.folder), self._outcome.volume.name, self.structures(label_map))

    def collect(self, label_map: LabelMap | None = None) -> None:
        """Keep a copy of the result's image and corrected labels; the user has agreed.

        Args:
            label_map: see :meth:`structures`.

        Raises:
            UsageError: it cannot be collected now; the message is :attr:`why_not_collect`.
        """
        volume, corrected = self._outcome.volume, self._corrected(label_map)
        self._check(self.why_not_collect)
        assert volume is not None and corrected is not None  # there is a result
        names = self.structures(corrected)
        self._start(
            "collect",
            "collect_case",
            self._collected,
            volume=volume,
            label_map=corrected,
            structures=names,
            patient=self.patient,
        )

    def remove(self, digest: str) -> None:
        """Delete a collected case.

        Raises:
            UsageError, OutputError: there is no such case, or it cannot be deleted.
        """
        from ..adaptation.cases import CorrectedCases

        CorrectedCases(self._model().id).remove(digest)
        self.refresh()

    def learn(self) -> None:
        """Start to learn from the collected cases.

        Raises:
            UsageError: it cannot start; the message is :attr:`why_not_learn`.
        """
        self._check(self.why_not_learn)
        device = self._choices.settings.device
        self._start("adapt", "adapt", self._learnt, minutes=float(self.minutes), device=device)

    def accept(self) -> None:
        """Install the offered version, and choose it.

        Raises:
            UsageError: nothing is offered, or a task is running.
        """
        self._check("" if self.offer is not None else _("No new version is offered."))
        self._start("accept", "accept_offer", self._uses)

    def discard(self) -> None:
        """Delete the offered version.

        Raises:
            UsageError: a task is running.
            OutputError: a file cannot be deleted.
        """
        self._check(self._jobs.run.why_wait)
        if self.offer is not None:
            self.offer.discard()
        self.refresh()

    def go_back(self) -> None:
        """Use the version again that the chosen model was made from.

        Raises:
            UsageError: there is none; the message is :attr:`why_not_back`.
        """
        self._check(self.why_not_back)
        self._start("back", "go_back", self._uses)

    def _start(self, task: str, request: str, answer: Answer, **params: Any) -> None:
        self._jobs.start(task, request, answer, lambda _error: self.refresh(), model=self._model().id, **params)

    def _model(self) -> ModelCard:
        assert self._choices.model is not None  # checked before
        return self._choices.model

    def _look_at_result(self, result: Result | None) -> None:
        """Ask whose image it is. What was typed for another volume says nothing of this one."""
        if self._volume is not None and (self.patient or self._patients):  # a code may have been cleared
            self._patients[_mark(self._volume)] = self.patient
        self._volume = volume = self._outcome.volume
        self.patient = self._patients.get(_mark(volume), "") if volume is not None and self._patients else ""

        def told(patient: str) -> None:
            if self._outcome.result is result and not self.patient:
                self.patient = patient
                self.changed.emit(self)

        if volume is not None and volume.source and not self.patient:
            self._jobs.submit_latest("patient_id", told, source=volume.source)
        self.changed.emit(self)

    def _look_at_run(self, run: Run) -> None:
        if run.busy != self._busy:
            self._busy = run.busy
            self.changed.emit(self)

    def _corrected(self, label_map: LabelMap | None) -> LabelMap | None:
        correction = self._outcome.correction
        return label_map or (correction.label_map if correction is not None else None)

    def _check(self, why_not: str) -> None:
        if why_not:
            raise UsageError(why_not, code="usage.not_ready")

    def _collected(self, digest: str) -> None:
        self.refresh()
        self._jobs.run.summary = _("Collected. Corrected cases of this model: {count}.").format(count=len(self.cases))

    def _learnt(self, notes: list[str]) -> None:
        self.refresh()
        self._jobs.run.summary = _("A new version is offered. Compare it, then accept or discard it.")
        self._jobs.run.warnings += notes

    def _uses(self, model_id: str) -> None:
        if self._choices.place.url:  # whose models are listed
            self.refresh()
            self._jobs.run.summary = _(
                "{} is installed where DeepSeg runs. The chosen server does not have it."
            ).format(model_id)
            return
        self._choices.search_models(self._choices.models.words)
        self._choices.choose_model(model_id)
        card = self._model()
        self._choices.choose_structures(card.structures)  # also those that are new in this version
        facts = {"title": card.title, "version": card.version}
        self._jobs.run.summary = _("{title}, version {version}, is in use.").format_map(facts)


def _mark(volume: Volume) -> str:
    """What tells a volume from others, also when it is read again."""
    return volume_digest(thinned(volume))
