"""Trame-slicer's brush, which shows where it passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from DeepSegLib.volumeNodes import toNumpy
from slicer import vtkMRMLSliceNode
from trame_slicer.segmentation import SegmentationEffectPaint, SegmentationEffectPipeline, SegmentationPaintPipeline3D
from vtk.util.numpy_support import vtk_to_numpy

SAME = 0.01
"""Of the sides of a view: two places that are no farther apart are those of one press."""


class Brush(SegmentationEffectPaint):
    """Shows where it passes. What Slicer would do then takes over a second on a large CT.

    What is painted in a slice comes from the page itself, as for :class:`~.drawing.Drawing`: what trame tells of a
    finger may come after a second one has touched the view. In 3D, where the brush keeps to surfaces, the brush tells,
    and the page whether that counts.

    Attributes:
        painted: called with the places in 3D, (N, 3) in RAS.
    """

    painted: Callable[[np.ndarray], None]

    def places(self, view: str, places: np.ndarray, end: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """See :meth:`.drawing.Drawing.places`; None in 3D."""
        for pipeline in self._known:
            node = pipeline.GetViewNode()
            if node.GetSingletonTag() != view:
                continue
            if isinstance(node, vtkMRMLSliceNode):
                return places * node.GetDimensions()[:2], np.linalg.inv(toNumpy(node.GetXYToRAS()))
            if end:
                pipeline.confirm(places[0])
        return None

    def paint_glyph_at_world_coordinates(self, _polydata, _places) -> None:
        """Nothing: strokes in slices come from the page."""

    def drop(self) -> None:
        """Drop the stroke that is being painted."""
        for pipeline in self._known:
            if pipeline.widget:
                pipeline.widget.clear()
                pipeline.widget.stop_painting()
            if isinstance(pipeline, _Pipeline3D):
                pipeline.forget()

    @property
    def _known(self) -> list[SegmentationEffectPipeline]:
        return [pipeline for pipeline in (known() for known in self.pipelines) if pipeline is not None]

    def _create_pipeline(self, view_node, parameter):
        made = super()._create_pipeline(view_node, parameter)
        return _Pipeline3D() if isinstance(made, SegmentationPaintPipeline3D) else made


class _Pipeline3D(SegmentationPaintPipeline3D):
    """Keeps a stroke until the page says, by where it began, that one finger drew it; or the page's word until then."""

    def __init__(self):
        super().__init__()
        self._began = np.zeros(2)
        self.forget()

    def forget(self) -> None:
        """Neither a stroke nor the page's word waits any more."""
        self._stroke: np.ndarray | None = None
        self._confirmed: np.ndarray | None = None

    def confirm(self, place: np.ndarray) -> None:
        """The page says that the stroke counts that began at a place, from (0, 0) to (1, 1)."""
        self._confirmed = place
        self._apply()

    def OnPaintInteractionStopped(self) -> None:
        self._stroke = vtk_to_numpy(self.widget._paint_coordinates_world.GetData()).astype(float)
        self.widget.clear()
        self._apply()

    def _LeftButtonPress(self, event) -> bool:
        if not self.widget.is_painting():
            self._stroke, self._began = None, np.array(event.GetDisplayPosition()) / self.GetRenderer().GetSize()
        return super()._LeftButtonPress(event)

    def _apply(self) -> None:
        if self._stroke is None or self._confirmed is None or np.abs(self._began - self._confirmed).max() > SAME:
            return
        stroke = self._stroke
        self.forget()
        self._effect.painted(stroke)
