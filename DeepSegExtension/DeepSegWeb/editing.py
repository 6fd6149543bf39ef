"""What the mouse does in the views, for corrections: trame-slicer's brush, and drawings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from trame_slicer.segmentation import BrushDiameterMode, SegmentationEffectVolumeIntensityMask

from .brushing import Brush
from .drawing import Drawing

PROMPTS = ("add", "remove")
BRUSHES = ("paint", "erase")
SHAPES = {"draw": "lasso", "cut": "lasso", "piece": "stroke"}
"""What is drawn with the other tools."""
GIVING = ("add", "paint", "draw")
"""Tools that add voxels to a structure; the others remove them."""
LIMITED = (*BRUSHES, "draw", "cut")
"""Tools that can be limited to a range of grey values."""


class Editing:
    """One tool on one structure at a time. It changes nothing, and so there is no undo here.

    Args:
        editor: the segmentation editor of the Slicer application.
        painted: see :class:`~.brushing.Brush`.
    """

    def __init__(self, editor, painted: Callable[[np.ndarray], None]):
        self._editor, self._painted = editor, painted

    def use(self, tool: str, structure: str, *, shape: str, brush_mm: float, greys: tuple[float, float] | None) -> None:
        """Take a tool to a structure.

        Args:
            tool: empty for none.
            structure: name; empty: no tool is taken.
            shape: what is drawn with :data:`PROMPTS`, see :class:`~.drawing.Drawing`.
            brush_mm: the brush's diameter.
            greys: lowest and highest HU of voxels that may change; None for all.
        """
        if structure:
            self._editor.set_active_segment_id(structure)
        if not tool or not structure:
            self._editor.deactivate_effect()
        elif tool in BRUSHES:
            brush = self._editor.set_active_effect_type(Brush)  # not before there are views: it would never see them
            brush.painted = self._painted
            brush.set_brush_diameter(brush_mm, BrushDiameterMode.Absolute)
            brush.set_use_sphere_brush(True)
        else:
            drawing = self._editor.set_active_effect_type(Drawing)
            drawing.shape, drawing.positive, drawing.in_3d = SHAPES.get(tool, shape), tool in GIVING, tool == "cut"
        self._show_limit(greys)

    def drawn(self, view: str, places: np.ndarray, end: bool = True) -> tuple[np.ndarray, np.ndarray] | None:
        """What is drawn in a view, see :meth:`.drawing.Drawing.places`; None where nothing is."""
        effect = self._editor.active_effect
        return effect.places(view, places, end) if isinstance(effect, (Drawing, Brush)) else None

    def drop(self) -> None:
        """Drop what is being drawn or painted."""
        if isinstance(self._editor.active_effect, (Drawing, Brush)):
            self._editor.active_effect.drop()

    def _show_limit(self, greys) -> None:
        mask = self._editor.get_effect(SegmentationEffectVolumeIntensityMask)
        if greys is not None:
            mask.set_mask_range(*greys)
        mask.set_mask_enabled(greys is not None)
