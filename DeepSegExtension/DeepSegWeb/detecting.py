"""Finding lesions on the page: what its buttons do, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from DeepSegLogic.session import Detection, entry_text
from DeepSegLogic.session.detection import is_available
from DeepSegLogic.session.texts import finding_row

from .scene import PageScene


class Detecting:
    """The page's part that finds lesions.

    Args:
        state: of the page.
        scene: with the session on it, which shows the boxes in the views.
        saying: shows errors of what is done within.
        corrected: is called when a finding became a structure, which is a correction.
    """

    def __init__(
        self,
        state,
        scene: PageScene,
        saying: Callable[[], AbstractContextManager[None]],
        corrected: Callable[[], None],
    ):
        self.state, self._work, self._saying = state, scene.work, saying
        self._corrected = corrected
        self._look = scene.look_at_surfaces
        self._detection: Detection = self._work.session.detection
        self._looked_at = self._detection.found
        state.detect_on = is_available()
        self._detection.changed.connect(self._show)
        state.change("min_score")(self._score)
        self._show(self._detection)

    def find(self, model: str) -> None:
        """Search the volume."""
        self.state.alert = None
        with self._saying():
            self._detection.choose_model(model)
            self._detection.search()

    def choose(self, at: int) -> None:
        """Show a finding in the views."""
        self._detection.choose(at)

    def step(self, by: int) -> None:
        """Show the next or previous one."""
        self._detection.step(by)

    def decide(self, state: str) -> None:
        """Accept or reject the chosen finding."""
        with self._saying():
            self._detection.decide("accepted" if state == "accepted" else "rejected")

    def segment(self) -> None:
        """Make the chosen finding a structure of the result."""
        self.state.alert = None
        with self._saying():
            entry = self._work.findings.segment()
            if entry is not None:
                self.state.detect_told = entry_text(entry, self._work.correction.label_map)
            self._corrected()

    def write(self, folder: Path) -> None:
        """Write the findings that are shown.

        Raises:
            UsageError: there are none, or a task is running.
        """
        volume = self._detection.volume
        formats = ["csv", "mrk.json"] + (["sr"] if volume is not None and volume.source else [])
        self._detection.export(folder, formats)

    def _score(self, min_score, **_state) -> None:
        if self._detection.min_score != float(min_score):
            self._detection.show_from(float(min_score))

    def _show(self, detection: Detection) -> None:
        rows = [(at, finding_row(detection.findings[at], at + 1)) for at in detection.shown]
        self.state.update(
            {
                "detectors": [{"value": card.id, "title": card.title} for card in detection.models],
                "detector": detection.model,
                "min_score": detection.min_score,
                "boxes": [
                    {"at": at, "title": title, "size": size, "score": score, "decision": decision}
                    for at, (title, size, score, decision) in rows
                ],
                "box_at": -1 if detection.at is None else detection.at,
                "detect_told": detection.text,
                "detect_why_not": detection.why_not,
            }
        )
        if detection.found is not self._looked_at:
            self._looked_at = detection.found
            self._look()
