"""Corrections of the result by clicks and strokes: what was changed is told, measured and drawn anew."""

from __future__ import annotations

import time

from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.refine import Point
from DeepSegLogic.viewmodel import entry_text

from .editing import Editing

SETTLE_S = 0.8  # after the last stroke; what was painted until then is one step


class Correcting:
    """The page's Correct part.

    Args:
        state: of the page; it names the tool and the structure.
        scene: holds the result.

    Attributes:
        editing: the tools.
    """

    def __init__(self, state, scene):
        self.state, self.work, self.session = state, scene.work, scene.work.session
        self.editing = Editing(scene.app.segmentation_editor, self._clicked, self._touched)
        self._touched_at: float | None = None

    def begin(self) -> None:
        """Start anew: the result is another one, or gone."""
        self._touched_at = None
        self._tell("")

    def poll(self) -> None:
        """Call this often."""
        if self._touched_at is not None and time.monotonic() - self._touched_at > SETTLE_S:
            self.settle()

    def settle(self) -> bool:
        """Take strokes into account; whether there were any."""
        self._touched_at = None
        if self.work.resultNode is None or self.session.result is None:
            return False
        history = self.work.correction.history
        steps = len(history.done)
        label_map = self.work.labelMap()
        if len(history.done) == steps:
            return False
        self._tell(self._text(history.done[-1]))
        self.session.measure(label_map)
        self.session.show_surfaces(label_map)
        return True

    def undo(self) -> None:
        """Take the last correction back."""
        entry = self.work.undo()
        self._tell(f"Taken back: {entry.title}" if entry else "")

    def redo(self) -> None:
        """Do the correction again."""
        entry = self.work.redo()
        self._tell(self._text(entry) if entry else "")

    def keep_largest(self) -> None:
        """Leave only the largest piece of the current structure."""
        self._apply(self.editing.keep_largest)

    def smooth(self) -> None:
        """Smooth the current structure."""
        self._apply(self.editing.smooth)

    def _clicked(self, ras) -> None:
        """A click said where the current structure is, or is not."""
        with self.state:
            try:
                point = Point(self.state.current, self.state.tool == "belongs", tuple(ras))
                self._tell(self._text(self.work.prompt(point)))
            except DeepSegError as error:
                self._tell(str(error))

    def _apply(self, change) -> None:
        self.settle()
        self.state.tool = ""
        change()
        if not self.settle():
            self._tell("Nothing was changed: it is so already.")

    def _touched(self) -> None:
        self._touched_at = time.monotonic()
        self.state.can_undo = self.work.resultCorrected

    def _text(self, entry) -> str:
        return entry_text(entry, self.work.correction.label_map)

    def _tell(self, text: str) -> None:
        correction = self.work.correction
        self.state.told = text
        self.state.can_undo = self.work.resultCorrected
        self.state.can_redo = correction is not None and bool(correction.history.undone)
