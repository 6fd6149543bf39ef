"""Shows on the page what changes in the session and its scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from DeepSegLogic.session import Phase, Run
from DeepSegLogic.session.scan_texts import scan_lines

from . import binding, outcome_binding
from .correcting import Correcting
from .dialogs import DICOM_FORMATS
from .scene import PageScene

if TYPE_CHECKING:
    from DeepSegLogic.followup.change import Change
    from DeepSegLogic.review.measurements import Measurement
    from DeepSegLogic.segmentation import Result
    from DeepSegLogic.surfaces import SurfaceSet


class Showing:
    """Connects every signal to what the page does about it.

    Args:
        state: of the page.
        scene: what it shows.
        correcting: its Correct part.
        say: shows an error.
    """

    def __init__(self, state, scene: PageScene, correcting: Correcting, say: Callable[[Exception], None]):
        self.state, self.scene, self.work, self._correcting, self._say = state, scene, scene.work, correcting, say
        self.session = scene.work.session
        self._looked = False  # at the surfaces of the result
        jobs, choices, outcome = self.session.jobs, self.session.choices, self.session.outcome
        for changed, to_state, now in (
            (choices.input_changed, binding.input_state, choices.input),
            (choices.channels_changed, binding.channels_state, choices.channels),
            (choices.settings_changed, binding.settings_state, choices.settings),
            (choices.models_changed, binding.models_state, choices.models),
            (choices.structures_changed, binding.structures_state, choices.structures),
            (choices.correctors_changed, binding.correctors_state, choices.correctors),
            (choices.estimate_changed, binding.estimate_state, choices.estimate),
            (choices.why_not_changed, binding.why_not_state, choices.why_not),
            (outcome.findings_changed, outcome_binding.findings_state, outcome.findings),
            (outcome.comparison_changed, outcome_binding.comparison_state, outcome.comparison),
            (self.session.adaptation.changed, binding.adaptation_state, self.session.adaptation),
        ):
            changed.connect(lambda value, to_state=to_state: state.update(to_state(value)))
            state.update(to_state(now))
        state.no_rows = outcome.why_no_measurements
        outcome.changes_changed.connect(self.show_changes)
        jobs.run_changed.connect(self.show_run)
        outcome.measurements_changed.connect(self.show_measurements)
        self.work.resultShown.connect(self.show_result)
        self.work.surfacesShown.connect(self.show_surfaces)

    def show_run(self, run: Run) -> None:
        """Progress, and how it ended."""
        self.state.update(binding.run_state(run))
        if run.task == "correct":
            self._correcting.tell_run()
        if run.error is not None and run.phase is Phase.FAILED:
            self._say(run.error)
        elif run.asks_estimate:
            self.session.choices.ask_estimate()

    def show_result(self, result: Result | None) -> None:
        """Another result, or none any more."""
        state, self._looked = self.state, False
        state.update({"rows": [], "findings": [], "tool": "", "current": "", "plan_look": None, "plan_clip": False})
        if result is None:
            self.scene.clear_result()
        else:
            self.scene.edit_result()
            self.scene.set_look(state.fill, state.outline, state.solid)
            state.visible = [s.name for s in result.label_map.structures]
            self.work.showSurfaces()
        state.update({"has_enhanced": self.work.enhancedNode is not None and result is not None, "see_enhanced": False})
        state.result_warnings = list(result.warnings) if result is not None else []  # the next task has its own
        state.phase = ". ".join(scan_lines(result)) if result is not None else ""
        state.no_rows = self.session.outcome.why_no_measurements
        state.no_dicom = self.session.outcome.why_no_dicom
        state.formats = [kind for kind in state.formats if not (state.no_dicom and kind in DICOM_FORMATS)]
        self._correcting.begin()

    def show_measurements(self, rows: list[Measurement]) -> None:
        """The table of the result."""
        result = self.session.outcome.result
        if result is not None:
            found = self.session.detection.found
            if not self.state.rows and (found is None or result.provenance is not found.provenance):
                self.state.tab = "result"  # else a finding became it: the list of findings goes on
            self.state.update(outcome_binding.result_state(rows, self.work.correction.label_map))
            self.state.no_rows = self.session.outcome.why_no_measurements

    def show_changes(self, changes: list[Change]) -> None:
        """The table of changes since an earlier scan."""
        self.state.update(outcome_binding.changes_state(changes) | {"interval": self.session.outcome.interval})

    def show_surfaces(self, _surfaces: SurfaceSet) -> None:
        """Look at the first surfaces of a result; and review it, now that it is corrected."""
        if not self._looked:
            self._looked = True
            self.scene.look_at_surfaces()
        self.session.outcome.review(self.work.labelMap())
