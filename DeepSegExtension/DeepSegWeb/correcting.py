"""Corrections of the result by prompts and by hand."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import numpy as np

from DeepSegLogic.refinement import editing_tools
from DeepSegLogic.refinement.postprocess import keep_largest_component, smooth
from DeepSegLogic.refinement.undo import Entry
from DeepSegLogic.session import SOLVER, Newest, entry_text
from DeepSegLogic.session.newest import OUTLINE_PAUSE_S
from DeepSegLogic.session.reach import NOTCHES, counting, reach_after
from DeepSegLogic.session.texts import run_text
from DeepSegLogic.util.errors import DeepSegError
from DeepSegLogic.util.words import minus_text

from .drawing import prompt_of
from .editing import BRUSHES, GIVING, LIMITED, PROMPTS, Editing
from .remedies import WORDS

MOST_PLACES = 10_000  # of one drawing
ADJUST = ". Turn the wheel to change more or less, release to apply."
NOTHING = {"piece": "Nothing changed: the current structure is not here."}
"""By tool; the others change nothing where the result already agrees."""

HINTS = {
    "": "Select a tool, then use the mouse in a slice.",
    "add stroke": "Click or draw a stroke where the structure is missing.",
    "add box": "Draw a box around a missing part.",
    "add lasso": "Draw around a missing part in this slice.",
    "remove stroke": "Click or draw a stroke where the structure is wrong.",
    "remove box": "Draw a box around a wrong part.",
    "remove lasso": "Draw around a wrong part in this slice.",
    "paint": "Paint in a slice.",
    "erase": "Erase in a slice.",
    "draw": "Draw around an area to fill in this slice.",
    "cut": "Draw around a part to cut it away in all slices.",
    "piece": "Click on the island to delete.",
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
        self._scene, self._attention = scene, scene.attention
        self.editing = Editing(scene.app.segmentation_editor, self._painted)
        self._outlining = Newest(self._outline, later, OUTLINE_PAUSE_S)
        self._sketch: tuple[np.ndarray, np.ndarray] | None = None  # pixels, and matrix, of what is being drawn
        self._notches = 0  # of the wheel since the button was pressed
        self._applied = 0.0  # the state's reach that is shown
        self._greys: list[float] = []
        self._exported: tuple[Entry, ...] = ()
        self._known: list[str] = []  # structures of the result

    def begin(self) -> None:
        """The result is another one, or gone."""
        self._exported = ()
        self._known = self._names
        self._tell("")

    @property
    def steps(self) -> tuple[Entry, ...]:
        """The corrections that were made and not undone."""
        return self.work.correction.history.done if self.work.correction is not None else ()

    def exported(self, steps: tuple[Entry, ...]) -> None:
        """The labels were exported as they were after these steps."""
        self._exported = steps
        self._tell(self.state.told)

    def refresh(self) -> None:
        """A correction was made elsewhere."""
        self._tell(self.state.told)

    def take_tool(self, tool: str) -> None:
        """Select a tool, or deselect it."""
        self.state.tool = "" if self.state.tool == tool else tool

    def put_down(self) -> None:
        """Deselect the tool, and drop what is being drawn."""
        self.drop()
        self.state.tool = ""

    def drop(self) -> None:
        """Drop what is being drawn, and its outline; the page has let go of the mouse, or is another one."""
        self.editing.drop()
        if self._end_outline():
            with self.state:
                self.use_tool()

    def take_shape(self, shape: str) -> None:
        """Choose what prompts are drawn with; see :data:`~.drawing.SHAPES`."""
        self.state.shape = shape

    def use_tool(self) -> None:
        """Use the tool that the state names, and show a hint."""
        self._end_outline()  # of a drawing with another one
        state = self.state
        with contextlib.suppress(ValueError, TypeError):  # a field is empty while a number is typed
            self._greys = sorted((float(state.low), float(state.high)))
        greys = self._limit
        self.editing.use(state.tool, state.current, shape=state.shape, brush_mm=state.brush, greys=greys)
        told = HINTS[f"{state.tool} {state.shape}" if state.tool in PROMPTS else state.tool]
        if greys:
            low, high = map(minus_text, greys)
            told += f" Only voxels from {low} to {high}{self._scene.unit} change."
        state.told = told

    def set_reach(self) -> None:
        """Change more or less, as the state says: what is outlined, or else what the last prompt changed."""
        if self.state.reach == self._applied:
            return
        self._applied = self.state.reach
        told = self.work.corrections.previewAt(self._reach)
        if told is not None:
            self._tell_outline(told)
        elif self.work.correction is not None and (entry := self.work.corrections.adjust(self._reach)) is not None:
            self._tell(self._text(entry))

    def undo(self) -> None:
        """Undo the last correction."""
        entry = self.work.corrections.undo()
        self._tell(f"Undone: {entry.title}" if entry else "")

    def redo(self) -> None:
        """Redo the correction that was undone last."""
        entry = self.work.corrections.redo()
        self._tell(self._text(entry) if entry else "")

    def tell_run(self) -> None:
        """Show the progress of a model that answers a prompt, and its outcome."""
        self._tell(run_text(self.session.jobs.run, WORDS))

    def keep_largest(self) -> None:
        """Keep only the largest island of the current structure."""
        self._tidy(keep_largest_component)

    def smooth(self) -> None:
        """Smooth the current structure by the median over each voxel and its neighbours."""
        finest = min(self.session.outcome.volume.spacing_ijk)
        self._tidy(partial(smooth, mm=finest, method="median"))

    @property
    def _limit(self) -> list[float] | None:
        """The grey values that the tool may change, from and to; None for all."""
        return self._greys if self.state.limited and self.state.tool in LIMITED else None

    @property
    def _reach(self) -> float:
        """See :class:`DeepSegLogic.refinement.Proposal`."""
        return reach_after(NOTCHES * self.state.reach)

    def following(self, view: str, places: list[list[float]], notches: int) -> int:
        """A prompt is drawn in a view: outline what it would change.

        Args:
            view, places: see :meth:`.drawing.Drawing.places`.
            notches: of the wheel, turned meanwhile; up is positive.

        Returns:
            The notches that count.
        """
        self._notches = counting(notches)
        if self.state.tool in PROMPTS and self.session.choices.correctors.chosen == SOLVER:
            found = self.editing.drawn(view, _array(places), end=False)
            if found is not None and self._new(found):
                self._attention.hand, self._sketch = view, found
                self._outlining.ask()
        if self.work.corrections.previewing:
            with self.state as state:
                state.reach = _shown_after(self._notches)
                self.set_reach()
        return self._notches

    def _new(self, found) -> bool:
        """Whether something else is drawn than what was outlined last, or will be."""
        return self._sketch is None or not all(map(np.array_equal, self._sketch, found))

    def _outline(self) -> None:
        """Outline what the drawing would change now."""
        with self.state as state:
            if not self.work.corrections.previewing:
                state.reach = self._applied = _shown_after(self._notches)
            try:
                prompt = self._prompt(*_in_slice(*self._sketch))
                self._tell_outline(self.work.corrections.preview(prompt, self._reach))
            except DeepSegError as error:
                self.work.corrections.endPreview()
                self._tell(f"{error.message} {error.remedy_in(WORDS)}".strip())
                self._tell_in(self._attention.hand, state.told)

    def _tell_outline(self, told: str) -> None:
        self._tell_in(self._attention.hand, told)
        self._tell(told + ADJUST)

    def _tell_in(self, view: str, text: str) -> None:
        """Tell something in a view, where the hand is: the drawer may be scrolled, or hidden."""
        self.state.outlined = {"view": view, "text": text}

    def _end_outline(self) -> bool:
        """Nothing is drawn any more; returns whether something was outlined."""
        self._outlining.drop()
        self.state.outlined = {}
        self._sketch, self._notches, shown = None, 0, self.work.corrections.previewing
        if shown:
            self.work.corrections.endPreview()
        return shown

    def _prompt(self, places, normal):
        state = self.state
        return prompt_of(state.shape, state.current, state.tool == "add", places, normal)

    def drawn(self, view: str, places: list[list[float]], notches: int) -> None:
        """Something was drawn in a view; the page tells it when the button is released.

        Args:
            view, places: see :meth:`.drawing.Drawing.places`.
            notches: of the wheel, turned meanwhile; up is positive.
        """
        found, before = self.editing.drawn(view, _array(places)), self.steps
        self._end_outline()
        if found is None:
            return
        self._apply(*found, notches)
        if self.steps == before and not self.session.jobs.run.busy:
            with self.state as state:
                self._tell_in(view, state.told)  # which says why nothing changed

    def _apply(self, pixels, ras_to_view, notches) -> None:
        """Do what the tool does where it was drawn with; see :meth:`.drawing.Drawing.places`."""
        places, normal = _in_slice(pixels, ras_to_view)
        if self.state.tool in PROMPTS:
            self._prompted(places, normal, notches)
        elif self.state.tool in BRUSHES:
            self._painted(places)
        elif self.state.tool == "cut":
            self._change(lambda label_map, name: editing_tools.scissors(label_map, name, pixels, ras_to_view))
        elif self.state.tool == "draw":
            self._change(lambda label_map, _: editing_tools.lasso(label_map, places))
        else:
            self._change(lambda label_map, name: editing_tools.island(label_map, name, places[0]))

    def _prompted(self, places, normal, notches) -> None:
        """A prompt for the current structure was drawn."""
        with self.state as state:
            state.reach = self._applied = _shown_after(notches)
            try:
                entry = self.work.corrections.prompt(self._prompt(places, normal), self._reach)
                if entry is not None:
                    self._tell(self._text(entry))
            except DeepSegError as error:
                self._tell(f"{error.message} {error.remedy_in(WORDS)}".strip())

    def _painted(self, places) -> None:
        """The brush was passed over places."""
        self._change(lambda label_map, _: editing_tools.brush(label_map, places, self.state.brush / 2))

    def _change(self, find) -> None:
        """Add voxels to the current structure, or remove them, as the tool does."""
        name, give, greys = self.state.current, self.state.tool in GIVING, self._limit
        with self.state:
            voxels = find(self.work.labelMap(), name)
            self._edit(lambda correction: voxels and correction.edit(name, *voxels, give, greys))

    def _tidy(self, step) -> None:
        """Do one of the steps that change a whole structure."""
        self.put_down()
        self._edit(lambda correction: correction.take(step(correction.label_map, self.state.current)))

    def _edit(self, change) -> None:
        entry = self.work.corrections.edit(change)
        nothing = NOTHING.get(self.state.tool, "Nothing changed: the result already agrees with it.")
        self._tell(self._text(entry) if entry else nothing)

    def _text(self, entry) -> str:
        return entry_text(entry, self.work.correction.label_map)

    @property
    def _names(self) -> list[str]:
        correction = self.work.correction
        return [structure.name for structure in correction.label_map.structures] if correction is not None else []

    def _follow(self) -> None:
        """A step may bring structures, which are shown, and take others: one of the new ones is current instead."""
        new = [name for name in self._names if name not in self._known]
        gone = set(self._known).difference(self._names)
        self._known = self._names
        if new or gone:
            self.state.visible = [name for name in self.state.visible if name not in gone] + new
        if self.state.current in gone:
            self.state.current = next(iter(new), "")

    def _tell(self, text: str) -> None:
        self._follow()
        correction = self.work.correction
        self.state.told = text
        self.state.can_undo = self.work.resultCorrected
        self.state.unexported = self.state.can_undo and self.steps != self._exported
        self.state.can_redo = correction is not None and bool(correction.history.undone)


def later(seconds: float, call) -> None:
    """Call a function from the server's event loop."""
    asyncio.get_running_loop().call_later(seconds, call)


def _array(places) -> np.ndarray:
    """Of what a page says, (N, 2)."""
    return np.array(places[:MOST_PLACES], float).reshape(-1, 2)


def _shown_after(notches: float) -> float:
    """What the slider shows, in doublings of the reach, after the wheel was turned up by so many notches."""
    return counting(notches) / NOTCHES


def _in_slice(pixels, ras_to_view):
    """Where a slice view was drawn in, (N, 3) in RAS, and the slice's normal."""
    view_to_ras = np.linalg.inv(ras_to_view)
    pixels = np.column_stack([pixels, np.zeros(len(pixels)), np.ones(len(pixels))])
    return (pixels @ view_to_ras.T)[:, :3], view_to_ras[:3, 2]
