"""One picture of a result: three slices with outlined structures, and the organs in 3D."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .geometry import reorient, spacing_of
from .labels import LabelMap
from .surfaces import SurfaceSet
from .volume import Volume

_PANEL = 520  # px
_LEGEND = 250
_GAP = 8
_BACKGROUND, _INK, _FAINT = (22, 24, 28), (235, 235, 235), (150, 155, 165)
_WINDOW_HU = (-160, 240)  # soft tissue
_OPACITY = 0.38
# Axis of the slice in (K, J, I) of a RAS grid, letters at the picture's left, right, top and bottom.
_VIEWS = {"Axial": (0, "RLAP"), "Coronal": (1, "RLSI"), "Sagittal": (2, "APSI")}


def write_preview(volume: Volume, label_map: LabelMap, surfaces: SurfaceSet, path: Path) -> None:
    """Draw a preview as PNG. Slices are shown as radiologists see them: the patient's right is at the left.

    Args:
        surfaces: drawn in 3D; seen from the front.
    """
    from PIL import Image, ImageDraw

    image, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
    labels, _ = reorient(label_map.array, label_map.ijk_to_ras, "RAS")
    spacing = spacing_of(matrix)[::-1]
    palette = np.zeros((max([s.value for s in label_map.structures], default=0) + 1, 3), np.uint8)
    for structure in label_map.structures:
        palette[structure.value] = structure.color

    width, height = 2 * _PANEL + _LEGEND + 4 * _GAP, 2 * _PANEL + 3 * _GAP
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    corners = [(_GAP, _GAP), (2 * _GAP + _PANEL, _GAP), (_GAP, 2 * _GAP + _PANEL), (2 * _GAP + _PANEL,) * 2]
    for (title, (axis, letters)), corner in zip(_VIEWS.items(), corners, strict=False):
        index = _richest_slice(labels, axis)
        panel = _slice_picture(image.take(index, axis), labels.take(index, axis), np.delete(spacing, axis), palette)
        canvas.paste(_annotated(panel, title, letters), corner)
    canvas.paste(_annotated(render(surfaces, _PANEL), "3D, from the front", "RLSI"), corners[3])
    _legend(ImageDraw.Draw(canvas), label_map, labels, 2 * _PANEL + 3 * _GAP, height)
    canvas.save(path, optimize=True)


def render(surfaces: SurfaceSet, size: int):
    """The surfaces seen from the front, as a square RGB picture of ``size`` pixels, drawn off-screen."""
    import vtk
    from PIL import Image
    from vtk.util import numpy_support

    renderer = vtk.vtkRenderer()
    renderer.SetBackground([c / 255 for c in _BACKGROUND])
    for surface in surfaces:
        renderer.AddActor(_actor(surface))
    camera = renderer.GetActiveCamera()
    camera.SetPosition(0, 1, 0.12)  # RAS: anterior, a little from above
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCamera()
    camera.Zoom(1.35)
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)  # it warns of no display, then does without
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(8)
    window.SetSize(size, size)
    window.AddRenderer(renderer)
    window.Render()
    capture = vtk.vtkWindowToImageFilter()
    capture.SetInput(window)
    capture.ReadFrontBufferOff()
    capture.Update()
    pixels = numpy_support.vtk_to_numpy(capture.GetOutput().GetPointData().GetScalars())
    window.Finalize()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_INFO)
    return Image.fromarray(np.ascontiguousarray(pixels.reshape(size, size, 3)[::-1]))


def _actor(surface):
    import vtk

    from .surfaces.convert import polydata

    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(polydata(surface.points, surface.triangles))
    normals.SplittingOff()
    normals.ConsistencyOff()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetColor([c / 255 for c in surface.structure.color])
    look.SetAmbient(0.15)
    look.SetDiffuse(0.85)
    look.SetSpecular(0.15)
    return actor


def _richest_slice(labels: np.ndarray, axis: int) -> int:
    """The slice that shows the most structures; of several, the one with the most labelled voxels."""
    planes = np.moveaxis(labels, axis, 0)
    counts = [(np.unique(plane).size, np.count_nonzero(plane)) for plane in planes]
    return max(range(len(counts)), key=counts.__getitem__)


def _slice_picture(gray: np.ndarray, labels: np.ndarray, spacing: np.ndarray, palette: np.ndarray):
    """A square panel: rows downwards, columns to the right, voxels in true proportion."""
    from PIL import Image

    gray, labels = gray[::-1, ::-1], labels[::-1, ::-1]  # RAS indices run up and to the right
    extent = np.array(gray.shape) * spacing
    size = np.maximum(1, np.round(extent / extent.max() * _PANEL)).astype(int)
    low, high = _WINDOW_HU
    shades = (np.clip((gray.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    picture = np.asarray(Image.fromarray(shades).resize(size[::-1], Image.Resampling.BICUBIC), np.float32)
    large = np.asarray(Image.fromarray(labels.astype(np.int32)).resize(size[::-1], Image.Resampling.NEAREST))
    colors = palette[large].astype(np.float32)
    rgb = np.repeat(picture[..., None], 3, 2)
    inside = large > 0
    rgb[inside] = (1 - _OPACITY) * rgb[inside] + _OPACITY * colors[inside]
    border = np.zeros_like(inside)
    border[1:] |= large[1:] != large[:-1]
    border[:, 1:] |= large[:, 1:] != large[:, :-1]
    border &= inside
    rgb[border] = colors[border]
    panel = Image.new("RGB", (_PANEL, _PANEL), (0, 0, 0))
    panel.paste(Image.fromarray(rgb.astype(np.uint8)), tuple(((_PANEL - size[::-1]) // 2).tolist()))
    return panel


def _annotated(panel, title: str, letters: str):
    from PIL import ImageDraw

    draw = ImageDraw.Draw(panel)
    middle, far = _PANEL // 2, _PANEL - 10
    places = {0: (10, middle, "lm"), 1: (far, middle, "rm"), 2: (middle, 8, "mt"), 3: (middle, far + 2, "mb")}
    for letter, (x, y, anchor) in zip(letters, places.values(), strict=True):
        draw.text((x, y), letter, fill=_INK, font=_font(16), anchor=anchor)
    draw.text((10, 8), title, fill=_FAINT, font=_font(15), anchor="lt")
    return panel


def _legend(draw, label_map: LabelMap, labels: np.ndarray, left: int, height: int) -> None:
    present = [s for s in label_map.structures if (labels == s.value).any()]
    line = max(9, min(26, (height - 110) // max(1, len(present))))
    top = 14
    for structure in present:
        draw.rounded_rectangle((left, top, left + line - 6, top + line - 6), 3, fill=structure.color)
        place = (left + line + 4, top + (line - 6) // 2)
        draw.text(place, structure.title, fill=_INK, font=_font(min(16, line - 4)), anchor="lm")
        top += line
    draw.text((left, height - 46), "DeepSeg", fill=_INK, font=_font(18), anchor="lm")
    draw.text((left, height - 22), "Research use only", fill=_FAINT, font=_font(14), anchor="lm")


def _font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size)
