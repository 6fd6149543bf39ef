"""Lesions found in the volume: a list to go through, to accept or reject, to segment, and to export."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.boxes import Slices
from ..data.label_map import LabelMap
from ..data.terminology import structure_for
from ..data.types import MaskArray
from ..util.errors import UsageError
from ..util.i18n import tr as _
from .choices import Choices
from .chosen import same_scan
from .jobs import Jobs
from .outcome import Outcome
from .signal import Signal
from .task import Run

if TYPE_CHECKING:
    from ..data.volume import Volume
    from ..detection.finding import BoxFinding, BoxFindings, State
    from ..models.card import ModelCard
    from ..refinement.prompts import Box

_AROUND_MM = 2.0  # by which a prompt's box is larger: a detector's box may be too tight
_MOST_LABELS = 65535


@cache
def is_available() -> bool:
    """Whether what detection needs is installed; faces show nothing of it otherwise."""
    return find_spec("monai") is not None


class Detection:
    """The findings of the last search. They stay when a later search fails, and go when another volume is chosen.

    Args:
        jobs: asks the worker.
        choices: the volume, and the installed models.
        outcome: the result that a finding's structure joins.

    Attributes:
        model: id of the chosen detector; empty without any.
        found, volume: the findings, and the volume they are in; None before the first search.
        findings: with their decisions, highest score first.
        min_score: of those that are shown.
        at: place of the chosen finding in :attr:`findings`; None for none.
        changed: something of this changed.
        chosen: another finding is chosen; faces show its place.
    """

    def __init__(self, jobs: Jobs, choices: Choices, outcome: Outcome) -> None:
        self.model = ""
        self.found: BoxFindings | None = None
        self.volume: Volume | None = None
        self.findings: list[BoxFinding] = []
        self.min_score = 0.3
        self.at: int | None = None
        self.changed: Signal[Detection] = Signal()
        self.chosen: Signal[BoxFinding] = Signal()
        self._jobs, self._choices, self._outcome = jobs, choices, outcome
        self._busy = False
        choices.models_changed.connect(lambda _models: self._look_at_models())
        choices.input_changed.connect(lambda _input: self._look_at_input())
        choices.place_changed.connect(lambda _place: self.changed.emit(self))
        jobs.run_changed.connect(self._look_at_run)
        self._look_at_models()

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def models(self) -> list[ModelCard]:
        """The installed models that find boxes."""
        return [entry.card for entry in self._choices.models.all if entry.installed and entry.card.finds_boxes]

    @property
    def shown(self) -> list[int]:
        """Places in :attr:`findings` of those with the chosen score, and of those that were decided on."""
        return [n for n, f in enumerate(self.findings) if f.score >= self.min_score or f.state != "open"]

    @property
    def why_not(self) -> str:
        """Why a search cannot start, in words; empty when it can."""
        if self._choices.place.url:
            return _("Lesions are searched on this computer only.")
        if not self.models:
            return _("Import a model for detection first.")
        if self._choices.volume is None:
            return _("Load a CT first.")
        return self._jobs.run.why_wait

    @property
    def text(self) -> str:
        """What the list holds, in one line."""
        if self.found is None:
            return self.why_not
        accepted = sum(f.state == "accepted" for f in self.findings)
        facts = {"shown": len(self.shown), "all": len(self.findings), "accepted": accepted}
        return _("Findings shown: {shown} of {all}, accepted: {accepted}.").format_map(facts)

    # --- commands ------------------------------------------------------------------------------------------------

    def choose_model(self, model_id: str) -> None:
        """Choose a detector by id; an unknown id changes nothing."""
        if any(card.id == model_id for card in self.models):
            self.model = model_id
            self.changed.emit(self)

    def search(self) -> None:
        """Start to search the chosen volume.

        Raises:
            UsageError: it cannot start; the message is :attr:`why_not`.
        """
        volume, settings = self._choices.volume, self._choices.settings
        if self.why_not or volume is None:
            raise UsageError(self.why_not, code="usage.not_ready")
        self._jobs.start(
            "detect",
            "detect",
            lambda found: self._take(volume, found),
            volume=volume,
            model=self.model,
            device=settings.device,
            force=settings.force,
        )

    def show_from(self, min_score: float) -> None:
        """Show findings from this score on, 0 to 1."""
        self.min_score = min_score
        self.changed.emit(self)

    def choose(self, at: int | None) -> None:
        """Choose a finding by its place in :attr:`findings`; None for none."""
        self.at = at if at is not None and 0 <= at < len(self.findings) else None
        self.changed.emit(self)
        if self.at is not None:
            self.chosen.emit(self.findings[self.at])

    def step(self, by: int) -> None:
        """Choose the next (1) or previous (-1) of the findings that are shown, around the end of the list."""
        shown = self.shown
        if not shown:
            return
        if self.at in shown:
            self.choose(shown[(shown.index(self.at) + by) % len(shown)])
        else:
            self.choose(shown[0 if by > 0 else -1])

    def decide(self, state: State) -> None:
        """Accept or reject the chosen finding; the same decision again takes it back.

        Raises:
            UsageError: none is chosen.
        """
        finding, at = self._chosen()
        self.findings[at] = finding.decided("open" if finding.state == state else state)
        self.changed.emit(self)

    def seed(self, label_map: LabelMap | None) -> tuple[LabelMap, Box]:
        """What segments the chosen finding: a label map with a structure for it, and the box that corrects it.

        Args:
            label_map: the result of the searched volume, as it is now; None where there is none.

        Raises:
            UsageError: no finding is chosen, or no label value is left.
        """
        from ..refinement.prompts import Box

        finding, at = self._chosen()
        assert self.volume is not None  # it was searched
        name = f"{finding.kind}_{at + 1}"
        if label_map is None:
            label_map = LabelMap(np.zeros(self.volume.shape_kji, np.uint8), self.volume.ijk_to_ras, [])
        if all(s.name != name for s in label_map.structures):
            value = max((s.value for s in label_map.structures), default=0) + 1
            if value > _MOST_LABELS:
                raise UsageError(_("The result has no free label value."), code="usage.labels")
            array = label_map.array if value < 256 else label_map.array.astype(np.uint16)
            structures = [*label_map.structures, structure_for(name, value)]
            label_map = replace(label_map, array=array, structures=structures)
        (r0, a0, s0), (r1, a1, s1), more = finding.low, finding.high, _AROUND_MM
        corners = (r0 - more, a0 - more, s0 - more), (r1 + more, a1 + more, s1 + more)
        return label_map, Box(name, True, corners)

    def mask(self) -> tuple[Slices, MaskArray] | None:
        """The chosen finding's voxels, a box of the volume and a mask in it; None if the model drew none.

        Raises:
            UsageError: no finding is chosen.
        """
        from scipy.ndimage import find_objects

        finding, _at = self._chosen()
        masks = self.found.masks if self.found is not None else None
        if masks is None or not finding.segment:
            return None
        whole = masks.mask(finding.segment)
        z, y, x = find_objects(whole.view(np.uint8))[0]
        return (z, y, x), whole[z, y, x]

    @property
    def result_is_of_volume(self) -> bool:
        """Whether the present result is of the volume that was searched."""
        return same_scan(self._outcome.volume, self.volume)

    def export(self, folder: Path, formats: list[str]) -> None:
        """Write the findings that are shown, see :func:`DeepSegLogic.detection.output.write_findings`.

        Raises:
            UsageError: there are none, or a task is running.
        """
        if self.found is None or not self.shown or self.volume is None:
            raise UsageError(_("There are no findings to write."), _("Search for lesions first."), code="usage.empty")
        kept = replace(self.found, findings=[self.findings[n] for n in self.shown], warnings=[])
        self._jobs.start(
            "export_findings",
            "export_findings",
            self._wrote,
            found=kept,
            volume=self.volume if "sr" in formats else None,
            source=self.volume.source,
            folder=str(folder),
            formats=formats,
        )

    # --- what comes back -----------------------------------------------------------------------------------------

    def _take(self, volume: Volume, found: BoxFindings) -> None:
        self.found, self.volume, self.findings, self.at = found, volume, list(found.findings), None
        run = self._jobs.run
        run.warnings += [w for w in found.warnings if w not in run.warnings]
        count = len(found.findings)
        run.summary = _("Findings: {}, listed under Find lesions.").format(count) if count else _("No lesions found.")
        self._look_at_input()
        self.step(1)

    def _wrote(self, answer: dict[str, Any]) -> None:
        self._jobs.run.warnings += answer["notes"]
        self._outcome.take_files(answer["files"])

    def _chosen(self) -> tuple[BoxFinding, int]:
        if self.at is None:
            raise UsageError(_("No finding is chosen."), _("Choose one in the list."), code="usage.not_ready")
        return self.findings[self.at], self.at

    def _look_at_models(self) -> None:
        ids = [card.id for card in self.models]
        if self.model not in ids:
            self.model = ids[0] if ids else ""
        self.changed.emit(self)

    def _look_at_input(self) -> None:
        if self.found is not None and not same_scan(self._choices.volume, self.volume):
            self.found, self.volume, self.findings, self.at = None, None, [], None
        self.changed.emit(self)

    def _look_at_run(self, run: Run) -> None:
        if run.busy != self._busy:
            self._busy = run.busy
            self.changed.emit(self)
