"""Corrections by hand, with trame-slicer's own effects and one undo."""

from __future__ import annotations

from collections.abc import Callable

from trame_slicer.segmentation import (
    BrushDiameterMode,
    SegmentationEffectErase,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
)
from undo_stack import UndoStack

TOOLS = {"": SegmentationEffectNoTool, "paint": SegmentationEffectPaint, "erase": SegmentationEffectErase}
UNDO_LIMIT = 20


class Editing:
    """Strokes on one structure at a time.

    Args:
        editor: the segmentation editor of the Slicer application.
        changed: is called after a stroke, an undo, a redo, and when there is nothing to undo any more.
    """

    def __init__(self, editor, changed: Callable[[], None]):
        self._editor = editor
        self._undo = UndoStack(undo_limit=UNDO_LIMIT)
        editor.set_undo_stack(self._undo)
        self._undo.index_changed.connect(lambda _: changed())

    def use(self, tool: str, structure: str, brush_mm: float) -> None:
        """Take a tool of :data:`TOOLS` to a structure; ``brush_mm`` is the brush's diameter."""
        if structure:
            self._editor.set_active_segment_id(structure)
        effect = self._editor.set_active_effect_type(TOOLS[tool if structure else ""])
        if tool and structure:
            effect.set_brush_diameter(brush_mm, BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(True)

    def undo(self) -> None:
        """Take the last stroke back."""
        self._undo.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        self._undo.redo()

    @property
    def state(self) -> dict:
        """What the buttons show."""
        return {"can_undo": self._undo.can_undo(), "can_redo": self._undo.can_redo()}
