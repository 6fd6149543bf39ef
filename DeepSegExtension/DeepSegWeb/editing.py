"""What the mouse does to a structure: trame-slicer's own effects for strokes, and clicks that say where it is."""

from __future__ import annotations

from collections.abc import Callable

from slicer import vtkMRMLSliceNode
from trame_slicer.segmentation import (
    BrushDiameterMode,
    SegmentationEffect,
    SegmentationEffectErase,
    SegmentationEffectIslands,
    SegmentationEffectNoTool,
    SegmentationEffectPaint,
    SegmentationEffectPipeline,
    SegmentationEffectScissors,
    SegmentationEffectSmoothing,
    SegmentationIslandsMode,
)
from trame_slicer.segmentation.segmentation_effect_smoothing import SmoothingEffectMode
from vtkmodules.vtkCommonCore import vtkCommand


class Click(SegmentationEffect):
    """A click in a slice view tells its place, in RAS."""

    clicked: Callable[[tuple[float, float, float]], None]

    def _create_pipeline(self, view_node, _parameter):
        return _ClickPipeline() if isinstance(view_node, vtkMRMLSliceNode) else None


class _ClickPipeline(SegmentationEffectPipeline[Click]):
    def CanProcessInteractionEvent(self, event) -> tuple[bool, float]:
        return bool(self.IsActive()) and event.GetType() == int(vtkCommand.LeftButtonPressEvent), 0.0

    def ProcessInteractionEvent(self, event) -> bool:
        self._effect.clicked(event.GetWorldPosition())
        return True


TOOLS = {
    "": SegmentationEffectNoTool,
    "belongs": Click,
    "not": Click,
    "paint": SegmentationEffectPaint,
    "erase": SegmentationEffectErase,
    "cut": SegmentationEffectScissors,
}


class Editing:
    """One tool on one structure at a time. There is no undo here: the correction of the result has it.

    Args:
        editor: the segmentation editor of the Slicer application.
        clicked: is called with a place, in RAS.
        touched: is called when voxels may have changed.
    """

    def __init__(self, editor, clicked: Callable[[tuple[float, float, float]], None], touched: Callable[[], None]):
        self._editor = editor
        editor.get_effect(Click).clicked = clicked
        editor.segmentation_modified.connect(touched)

    def use(self, tool: str, structure: str, brush_mm: float) -> None:
        """Take a tool of :data:`TOOLS` to a structure; ``brush_mm`` is the brush's diameter."""
        if structure:
            self._editor.set_active_segment_id(structure)
        effect = self._editor.set_active_effect_type(TOOLS[tool if structure else ""])
        if tool in ("paint", "erase") and structure:
            effect.set_brush_diameter(brush_mm, BrushDiameterMode.Absolute)
            effect.set_use_sphere_brush(True)

    def keep_largest(self) -> None:
        """Remove all pieces of the current structure but the largest."""
        effect = self._editor.set_active_effect_type(SegmentationEffectIslands)
        effect.apply(SegmentationIslandsMode.KEEP_LARGEST_ISLAND)
        self._editor.deactivate_effect()

    def smooth(self) -> None:
        """Smooth the current structure by a median filter, three of the smallest voxel edges wide."""
        effect = self._editor.set_active_effect_type(SegmentationEffectSmoothing)
        effect.set_kernel_size(3 * min(self._editor.active_volume_node.GetSpacing()))
        effect.apply_smoothing(smoothing_mode=SmoothingEffectMode.MEDIAN)
        self._editor.deactivate_effect()
