"""Corrections of the result by prompts and by hand: what was changed is told, measured and drawn anew."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np

from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.refine import hand
from DeepSegLogic.refine.postprocess import keep_largest_component, smooth
from DeepSegLogic.viewmodel import entry_text
from DeepSegLogic.viewmodel.texts import run_text

from .drawing import prompt_of
from .editing import GIVING, LIMITED, PROMPTS, Editing

NOTHING = "Nothing was changed: it is so already."

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
        self.editing = Editing(scene.app.segmentation_editor, self._traced, self._painted)
        self._greys: list[float] = []

    def begin(self) -> None:
        """Start anew: the result is another one, or gone."""
        self._tell("")

    def take_tool(self, tool: str) -> None:
        """Take a tool into the hand, or put it down."""
        self.state.tool = "" if self.state.tool == tool else tool

    def put_down(self) -> None:
        """Put the tool down, and forget what is being drawn."""
        self.editing.drop()
        self.state.tool = ""

    def take_shape(self, shape: str) -> None:
        """From now on, this is drawn to say where a structure is; see :data:`~.drawing.SHAPES`."""
        self.state.shape = shape

    def use_tool(self) -> None:
        """Use the tool that the state names as it says, and tell how."""
        state = self.state
        with contextlib.suppress(ValueError, TypeError):  # a field is empty while a number is typed
            self._greys = sorted((float(state.low), float(state.high)))
        greys = self._limit
        self.editing.use(state.tool, state.current, shape=state.shape, brush_mm=state.brush, greys=greys)
        told = HINTS[f"{state.tool} {state.shape}" if state.tool in PROMPTS else state.tool]
        state.told = told + (" Only grey values {:g} to {:g} change.".format(*greys) if greys else "")

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
        self._tidy(keep_largest_component)

    def smooth(self) -> None:
        """Smooth the current structure by the median over each voxel and its neighbours."""
        finest = min(self.session.result_volume.spacing)
        self._tidy(partial(smooth, mm=finest, method="median"))

    @property
    def _limit(self) -> list[float] | None:
        """The grey values that the tool may change; None for all."""
        return self._greys if self.state.limited and self.state.tool in LIMITED else None

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

    def _traced(self, pixels, ras_to_view) -> None:
        """Something was drawn in a view."""
        view_to_ras = np.linalg.inv(ras_to_view)
        places = (np.column_stack([pixels, np.zeros(len(pixels)), np.ones(len(pixels))]) @ view_to_ras.T)[:, :3]
        if self.state.tool in PROMPTS:
            self._drawn(places, view_to_ras[:3, 2])
        elif self.state.tool == "cut":
            self._change(lambda label_map, name: hand.cut_off(label_map, name, pixels, ras_to_view))
        elif self.state.tool == "draw":
            self._change(lambda label_map, _: hand.encircled(label_map, places))
        else:
            self._change(lambda label_map, name: hand.piece_at(label_map, name, places[0]))

    def _painted(self, places) -> None:
        """The brush was passed over places."""
        self._change(lambda label_map, _: hand.brushed(label_map, places, self.state.brush / 2))

    def _change(self, find) -> None:
        """Give voxels to the current structure, or take them away, as the tool does."""
        name, give, greys = self.state.current, self.state.tool in GIVING, self._limit
        with self.state:
            voxels = find(self.work.labelMap(), name)
            self._edit(lambda correction: voxels and correction.edit(name, *voxels, give, greys))

    def _tidy(self, step) -> None:
        """Do one of the steps that change a whole structure."""
        self.put_down()
        self._edit(lambda correction: correction.take(step(correction.label_map, self.state.current)))

    def _edit(self, change) -> None:
        entry = self.work.edit(change)
        self._tell(self._text(entry) if entry else NOTHING)

    def _text(self, entry) -> str:
        return entry_text(entry, self.work.correction.label_map)

    def _tell(self, text: str) -> None:
        correction = self.work.correction
        self.state.told = text
        self.state.can_undo = self.work.resultCorrected
        self.state.can_redo = correction is not None and bool(correction.history.undone)
