"""What is drawn in a view: a click, a stroke, a box, a closed curve."""

from __future__ import annotations

import numpy as np
from DeepSegLib.volumeNodes import toNumpy
from slicer import vtkMRMLSliceNode
from trame_slicer.segmentation import SegmentationEffect, SegmentationEffectPipeline
from vtkmodules.vtkCommonCore import vtkCommand
from vtkmodules.vtkFiltersSources import vtkPolyLineSource
from vtkmodules.vtkRenderingCore import vtkActor2D, vtkPolyDataMapper2D

from DeepSegLogic.refinement import Box, Lasso, Point, Scribble
from DeepSegLogic.refinement.prompts import Prompt

SHAPES = ("stroke", "box", "lasso")
CLICK_PX = 4  # the mouse moves a little in a click too


class Drawing(SegmentationEffect):
    """Shows what is drawn with the left button in slice views, and in 3D if wanted.

    What is drawn comes from the page itself, see :meth:`places`: of the moves that wait for the server, trame tells the
    last only.

    Attributes:
        shape: one of :data:`SHAPES`.
        positive: what is drawn is green, else red.
        in_3d: whether 3D views take part.
    """

    shape = SHAPES[0]
    positive = True
    in_3d = False

    def drop(self) -> None:
        """Forget what is being drawn."""
        for pipeline in filter(None, (known() for known in self.pipelines)):
            pipeline.LoseFocus(None)

    def places(self, view: str, places: np.ndarray, end: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """What is drawn; None if this view takes no part.

        Args:
            view: its singleton tag.
            places: (N, 2), from (0, 0) at the view's lower left corner to (1, 1).
            end: whether the button was released.

        Returns:
            The pixels, (N, 2), one of which is a click; and the 4×4 matrix from RAS to the view: homogeneous; in a
            slice view, its inverse leads from (x, y, 0, 1) back into the slice.
        """
        for pipeline in filter(None, (known() for known in self.pipelines)):
            if pipeline.GetViewNode().GetSingletonTag() == view and pipeline.takes_part:
                return pipeline.places(places, end)
        return None

    def _create_pipeline(self, _view_node, _parameter):
        return _Pipeline()


class _Pipeline(SegmentationEffectPipeline[Drawing]):
    """Draws a line in one view while the button is down."""

    def __init__(self):
        super().__init__()
        self._pixels: list[np.ndarray] = []  # of the mouse, in the view; none: the button is up
        self._late = False  # the next press belongs to what was finished already
        self._renderer = None
        self._line = vtkPolyLineSource()
        mapper = vtkPolyDataMapper2D()
        mapper.SetInputConnection(self._line.GetOutputPort())
        self._actor = vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetLineWidth(3)
        self._actor.VisibilityOff()
        self._answers = {
            int(vtkCommand.LeftButtonPressEvent): self._begin,
            int(vtkCommand.MouseMoveEvent): self._go_on,
            int(vtkCommand.LeftButtonReleaseEvent): self._end,
        }

    @property
    def takes_part(self) -> bool:
        """Whether one can draw here now."""
        return bool(self.IsActive() and (self._effect.in_3d or isinstance(self.GetViewNode(), vtkMRMLSliceNode)))

    def places(self, places: np.ndarray, end: bool) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Drawing.places`."""
        pixels = list(places * self._renderer.GetSize())
        if end:
            self._late = not self._pixels
            self._end()
        elif self._pixels:
            self._pixels = pixels
            self._show()
        return self._simplified(pixels), self._ras_to_view()

    def CanProcessInteractionEvent(self, event) -> tuple[bool, float]:
        begins = event.GetType() == int(vtkCommand.LeftButtonPressEvent)
        mine = begins or (self._pixels and event.GetType() in self._answers)
        return bool(self.takes_part and mine), 0.0

    def ProcessInteractionEvent(self, event) -> bool:
        self._answers[event.GetType()](np.array(event.GetDisplayPosition(), float))
        return True

    def LoseFocus(self, event) -> None:
        super().LoseFocus(event)
        self._end()

    def OnRendererAdded(self, renderer) -> None:
        super().OnRendererAdded(renderer)
        self._renderer = renderer
        if renderer:
            renderer.AddViewProp(self._actor)

    def OnRendererRemoved(self, renderer) -> None:
        super().OnRendererRemoved(renderer)
        if renderer:
            renderer.RemoveViewProp(self._actor)

    def _begin(self, pixel) -> None:
        self._late, late = False, self._late
        if not late:
            self._pixels = [pixel]

    def _go_on(self, pixel) -> None:
        self._pixels.append(pixel)
        self._show()

    def _end(self, _pixel=None) -> None:
        self._pixels = []
        self._show()

    def _simplified(self, pixels: list[np.ndarray]) -> np.ndarray:
        if self._effect.shape == "box":
            pixels = [pixels[0], pixels[-1]]
        if np.ptp(pixels, axis=0).max() < CLICK_PX:
            pixels = pixels[:1]
        return np.array(pixels)

    def _ras_to_view(self) -> np.ndarray:
        node, renderer = self.GetViewNode(), self._renderer
        if isinstance(node, vtkMRMLSliceNode):
            return np.linalg.inv(toNumpy(node.GetXYToRAS()))
        camera, (width, height) = renderer.GetActiveCamera(), renderer.GetSize()
        projected = camera.GetCompositeProjectionTransformMatrix(renderer.GetTiledAspectRatio(), -1, 1)
        to_pixels = np.diag([width / 2, height / 2, 1.0, 1.0])
        to_pixels[:2, 3] = width / 2, height / 2
        return to_pixels @ toNumpy(projected)

    def _show(self) -> None:
        corners = self._pixels
        if corners and self._effect.shape == "box":
            (x0, y0), (x1, y1) = corners[0], corners[-1]
            corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        self._actor.SetVisibility(len(corners) > 1)
        if len(corners) > 1:
            self._line.SetNumberOfPoints(len(corners))
            for index, (x, y) in enumerate(corners):
                self._line.SetPoint(index, x, y, 0.0)
            self._line.GetPoints().Modified()  # moving them does not tell
            self._line.SetClosed(self._effect.shape != "stroke")
            self._actor.GetProperty().SetColor((0.4, 0.9, 0.4) if self._effect.positive else (1.0, 0.45, 0.35))
        self.RequestRender()


def prompt_of(shape: str, structure: str, positive: bool, places: np.ndarray, normal: np.ndarray) -> Prompt:
    """What was drawn, as a prompt.

    Args:
        shape: one of :data:`SHAPES`; a single place is a click, whatever the shape.
        places: (N, 3), in RAS; of a box, two opposite corners in the slice.
        normal: of the slice, (3,); a box is as deep as its sides are long in the mean, half to either side.
    """
    points = tuple(tuple(place) for place in places.tolist())
    if len(points) == 1:
        return Point(structure, positive, points[0])
    if shape == "stroke":
        return Scribble(structure, positive, points)
    if shape == "lasso":
        return Lasso(structure, positive, points)
    sides = np.abs(places[1] - places[0])
    depth = normal / np.linalg.norm(normal) * sides.sum() / 2
    low, high = places[0] - depth / 2, places[1] + depth / 2
    return Box(structure, positive, (tuple(low.tolist()), tuple(high.tolist())))
