"""Corrections of the result by prompts and by hand: what was changed is told, measured and drawn anew."""

from __future__ import annotations

import contextlib
import time

from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.viewmodel import entry_text
from DeepSegLogic.viewmodel.texts import run_text

from .drawing import prompt_of
from .editing import LIMITED, PROMPTS, Editing

SETTLE_S = 0.8  # after the last stroke; what was painted until then is one step

HINTS = {
    "": "Press a button, then use the mouse in a slice.",
    "belongs stroke": "Click where it is missing, or draw a stroke there.",
    "belongs box": "Draw a box round a part that is missing.",
    "belongs lasso": "Draw round what is missing in this slice.",
    "not stroke": "Click where it should not be, or draw a stroke there.",
    "not box": "Draw a box where nothing of it should be.",
    "not lasso": "Draw round what should not be there in this slice.",
    "paint": "Paint in a slice.",
    "erase": "Erase in a slice.",
    "draw": "Draw round what to fill in this slice.",
    "cut": "Draw round what to cut away, through all slices.",
    "piece": "Click on the piece to remove.",
}


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
        self.editing = Editing(scene.app.segmentation_editor, self._drawn, self._touched)
        self._touched_at: float | None = None
        self._greys: list[float] = []

    def begin(self) -> None:
        """Start anew: the result is another one, or gone."""
        self._touched_at = None
        self._tell("")

    def take_tool(self, tool: str) -> None:
        """Take a tool into the hand, or put it down."""
        self.state.tool = "" if self.state.tool == tool else tool

    def take_shape(self, shape: str) -> None:
        """From now on, this is drawn to say where a structure is; see :data:`~.drawing.SHAPES`."""
        self.state.shape = shape

    def use_tool(self) -> None:
        """Use the tool that the state names as it says, and tell how."""
        state = self.state
        with contextlib.suppress(ValueError, TypeError):  # a field is empty while a number is typed
            self._greys = sorted((float(state.low), float(state.high)))
        greys = self._greys if state.limited else None
        self.editing.use(state.tool, state.current, shape=state.shape, brush_mm=state.brush, greys=greys)
        told = HINTS[f"{state.tool} {state.shape}" if state.tool in PROMPTS else state.tool]
        limit = " Only grey values {:g} to {:g} change.".format(*greys) if greys and state.tool in LIMITED else ""
        state.told = told + limit

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

    def tell_run(self) -> None:
        """Tell how far a model is that works on a prompt, and what came of it."""
        self._tell(run_text(self.session.run))

    def keep_largest(self) -> None:
        """Leave only the largest piece of the current structure."""
        self._apply(self.editing.keep_largest)

    def smooth(self) -> None:
        """Smooth the current structure."""
        self._apply(self.editing.smooth)

    def _drawn(self, places, normal) -> None:
        """Something was drawn that says where the current structure is, or is not."""
        state = self.state
        with state:
            try:
                prompt = prompt_of(state.shape, state.current, state.tool == "belongs", places, normal)
                entry = self.work.prompt(prompt)
                if entry is not None:
                    self._tell(self._text(entry))
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
