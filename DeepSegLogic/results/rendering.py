"""Meshes drawn off-screen by VTK, in parallel projection, so that a picture has one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.types import FloatArray, PointsRas
from ..planning.looks import RGB, View

if TYPE_CHECKING:
    from PIL.Image import Image
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    from vtkmodules.vtkRenderingCore import vtkActor, vtkCamera, vtkRenderWindow

BACKGROUND: RGB = (21, 24, 28)
_BORDER = 0.12  # of the picture, around what is drawn
_LINE = 1 / 250  # width of a line, of the picture's height


@dataclass(frozen=True)
class Drawn:
    """A mesh in a picture.

    Attributes:
        mesh: triangles or lines, RAS mm.
        color, opacity: of all of it.
        colored: whether the array ``color`` of its points counts instead.
    """

    mesh: vtkPolyData
    color: RGB
    opacity: float
    colored: bool = False


@dataclass(frozen=True)
class Frame:
    """Where things are in a picture.

    Attributes:
        middle: (3,) RAS, in the middle of the picture.
        axes: (3, 3) unit vectors as rows: to the right and up in the picture, and towards the viewer.
        mm_per_pixel: the scale.
        size: width and height in pixels.
        depth: half the extent along the third axis, mm.
    """

    middle: FloatArray
    axes: FloatArray
    mm_per_pixel: float
    size: tuple[int, int]
    depth: float

    @classmethod
    def around(cls, meshes: Sequence[vtkPolyData], view: View, size: tuple[int, int]) -> Frame:
        """The frame in which all meshes fill the picture, but for its border."""
        towards = np.array(view.towards, float) / np.linalg.norm(view.towards)
        right = np.cross(np.array(view.up, float), towards)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(towards, right), towards])
        boxes = np.array([mesh.GetBounds() for mesh in meshes]).reshape(-1, 3, 2)
        low, high = (boxes[:, :, 0].min(0), boxes[:, :, 1].max(0)) if len(boxes) else np.array([[-1.0] * 3, [1.0] * 3])
        corners = np.stack(np.meshgrid(*np.stack([low, high], 1)), -1).reshape(-1, 3)
        half = np.abs((corners - (low + high) / 2) @ axes.T).max(0)
        scale = max(2 * half[0] / size[0], 2 * half[1] / size[1]) / (1 - 2 * _BORDER)
        return cls((low + high) / 2, axes, float(scale), size, float(half[2]))

    def pixels(self, points: PointsRas) -> FloatArray:
        """Where points (N, 3) are in the picture: (N, 2), to the right and down from its upper left corner."""
        flat = (points - self.middle) @ self.axes[:2].T / self.mm_per_pixel
        return np.asarray(np.array(self.size) / 2 + flat * (1, -1))


def render(drawn: Sequence[Drawn], frame: Frame) -> Image:
    """Draw meshes."""
    return next(rendered(drawn, [frame]))


def rendered(drawn: Sequence[Drawn], frames: Sequence[Frame]) -> Iterator[Image]:
    """Draw the same meshes in several frames of one size, each when it is asked for.

    One window draws them all: it takes longer to set up than to draw.
    """
    import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  # without it, there is nothing that draws
    from vtkmodules.vtkCommonCore import vtkObject
    from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow

    warns = vtkObject.GetGlobalWarningDisplay()
    vtkObject.GlobalWarningDisplayOff()  # without a screen, it says so and goes on
    window, renderer = vtkRenderWindow(), vtkRenderer()
    vtkObject.SetGlobalWarningDisplay(warns)
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)  # with it, Mesa's software renderer loses everything translucent
    window.SetSize(*frames[0].size)
    window.AddRenderer(renderer)
    renderer.SetBackground(*(c / 255 for c in BACKGROUND))
    renderer.SetUseDepthPeeling(True)
    renderer.SetMaximumNumberOfPeels(6)
    renderer.SetUseFXAA(True)
    for one in drawn:
        renderer.AddActor(_actor(one, frames[0].size[1]))
    try:
        for frame in frames:
            _look(renderer.GetActiveCamera(), frame)
            window.Render()
            yield _shown(window)
    finally:
        window.Finalize()


def _look(camera: vtkCamera, frame: Frame) -> None:
    """Look at what a frame holds."""
    away = 3 * frame.depth + 10
    camera.SetParallelProjection(True)
    camera.SetParallelScale(frame.mm_per_pixel * frame.size[1] / 2)
    camera.SetFocalPoint(*frame.middle)
    camera.SetPosition(*(frame.middle + away * frame.axes[2]))
    camera.SetViewUp(*frame.axes[1])
    camera.SetClippingRange(1, 2 * away)


def _shown(window: vtkRenderWindow) -> Image:
    """What a window has drawn."""
    from PIL import Image
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    grab = vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.ShouldRerenderOff()
    grab.Update()
    image = grab.GetOutput()
    width, height, _ = image.GetDimensions()
    colors = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3]
    return Image.fromarray(np.ascontiguousarray(colors))


def _actor(one: Drawn, height: int) -> vtkActor:
    """A mesh as VTK draws it, in a picture of this height in pixels."""
    from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper, actor = vtkPolyDataMapper(), vtkActor()
    if one.mesh.GetNumberOfPolys():
        normals = vtkPolyDataNormals()
        normals.SetInputData(one.mesh)
        normals.SetFeatureAngle(60)
        mapper.SetInputConnection(normals.GetOutputPort())
    else:
        mapper.SetInputData(one.mesh)
        actor.GetProperty().SetLighting(False)
        actor.GetProperty().SetLineWidth(max(1.0, _LINE * height))
    mapper.SetScalarVisibility(one.colored)
    if one.colored:
        mapper.SetScalarModeToUsePointFieldData()
        mapper.SelectColorArray("color")
        mapper.SetColorModeToDirectScalars()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*(c / 255 for c in one.color))
    actor.GetProperty().SetOpacity(one.opacity)
    actor.GetProperty().SetSpecular(0.15)
    return actor
