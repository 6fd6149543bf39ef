"""What the mouse does to a structure: trame-slicer's own effects, and what is drawn to say where it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
from trame_slicer.segmentation import (
    BrushDiameterMode,
    SegmentationEffectDraw,
    SegmentationEffectErase,
    SegmentationEffectIslands,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
    SegmentationEffectScissors,
    SegmentationEffectSmoothing,
    SegmentationEffectVolumeIntensityMask,
    SegmentationIslandsMode,
)
from trame_slicer.segmentation.segmentation_effect_smoothing import SmoothingEffectMode

from .drawing import Drawing

TOOLS = {
    "": SegmentationEffectNoTool,
    "belongs": Drawing,
    "not": Drawing,
    "paint": SegmentationEffectPaint,
    "erase": SegmentationEffectErase,
    "draw": SegmentationEffectDraw,
    "cut": SegmentationEffectScissors,
    "piece": SegmentationEffectIslands,
}
PROMPTS = ("belongs", "not")
BRUSHES = ("paint", "erase")
LIMITED = (*BRUSHES, "draw", "cut")
"""Tools that can be limited to a range of grey values."""


class Editing:
    """One tool on one structure at a time. There is no undo here: the correction of the result has it.

    Args:
        editor: the segmentation editor of the Slicer application.
        drawn: see :class:`~.drawing.Drawing`.
        touched: is called when voxels may have changed.
    """

    def __init__(self, editor, drawn: Callable[[np.ndarray, np.ndarray], None], touched: Callable[[], None]):
        self._editor = editor
        editor.get_effect(Drawing).drawn = drawn
        editor.get_effect(SegmentationEffectIslands).set_island_mode(SegmentationIslandsMode.REMOVE_SELECTED)
        editor.segmentation_modified.connect(touched)

    def use(self, tool: str, structure: str, *, shape: str, brush_mm: float, greys: tuple[float, float] | None) -> None:
        """Take a tool to a structure.

        Args:
            tool: of :data:`TOOLS`.
            structure: name; empty: no tool is taken.
            shape: see :class:`~.drawing.Drawing`.
            brush_mm: the brush's diameter.
            greys: lowest and highest grey value of voxels that :data:`LIMITED` tools change; None: of all.
        """
        tool = tool if structure else ""
        if structure:
            self._editor.set_active_segment_id(structure)
        effect = self._editor.set_active_effect_type(TOOLS[tool])
        if tool in BRUSHES:
            effect.set_brush_diameter(brush_mm, BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(True)
        elif isinstance(effect, Drawing):
            effect.shape, effect.positive = shape, tool == "belongs"
        self._limit(greys if tool in LIMITED else None)

    def keep_largest(self) -> None:
        """Remove all pieces of the current structure but the largest."""
        with self._once(SegmentationEffectIslands) as effect:
            effect.apply(SegmentationIslandsMode.KEEP_LARGEST_ISLAND)

    def smooth(self) -> None:
        """Smooth the current structure by a median filter, three of the smallest voxel edges wide."""
        with self._once(SegmentationEffectSmoothing) as effect:
            effect.set_kernel_size(3 * min(self._editor.active_volume_node.GetSpacing()))
            effect.apply_smoothing(smoothing_mode=SmoothingEffectMode.MEDIAN)

    @contextlib.contextmanager
    def _once(self, kind):
        self._limit(None)
        yield self._editor.set_active_effect_type(kind)
        self._editor.deactivate_effect()

    def _limit(self, greys) -> None:
        mask = self._editor.get_effect(SegmentationEffectVolumeIntensityMask)
        if greys is not None:
            mask.set_mask_range(*greys)
        mask.set_mask_enabled(greys is not None)
