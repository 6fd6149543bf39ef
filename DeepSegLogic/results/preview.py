"""A preview of a result in one picture: three slices with outlined structures, and the organs in 3D."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.affine import reorient, spacing_kji
from ..data.boxes import box_of, boxes_by_label
from ..data.label_map import LabelMap
from ..data.types import FloatArray
from ..data.volume import Volume
from ..surfaces import SurfaceSet
from ..util.errors import InputError
from .relief import relief
from .surface_relief import surface_relief

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

_PANEL = 520  # px
_LEGEND = 250
_GAP = 8
_SIZE = (2 * _PANEL + _LEGEND + 4 * _GAP, 2 * _PANEL + 3 * _GAP)
_BACKGROUND, _INK, _FAINT = (22, 24, 28), (235, 235, 235), (150, 155, 165)
SOFT_TISSUE_HU = (-160.0, 240.0)
_OPACITY = 0.38
_PNG_LEVEL = 3  # half the time of the default, and the same size
_COARSE = 128  # voxels along each axis at most, to choose slices
# Slice axis in (K, J, I) of a RAS grid; letters at the left, right, top and bottom of the picture.
_VIEWS = {"Axial": (0, "RLAP"), "Coronal": (1, "RLSI"), "Sagittal": (2, "APSI")}


def write_preview(
    volume: Volume,
    label_map: LabelMap,
    path: Path,
    window: tuple[float, float] = SOFT_TISSUE_HU,
    surfaces: SurfaceSet | None = None,
) -> None:
    """Write a preview as PNG. Slices are in radiological orientation: the patient's right is on the left.

    Args:
        window: intensities that are shown black and white.
        surfaces: of the label map, if there are any: then these are shown in 3D, else its frontmost voxels.
    """
    from PIL import Image, ImageDraw

    image, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
    labels, _ = reorient(label_map.array, label_map.ijk_to_ras, "RAS")
    spacing = spacing_kji(matrix)
    palette = np.zeros((max([s.value for s in label_map.structures], default=0) + 1, 3), np.uint8)
    for structure in label_map.structures:
        palette[structure.value] = structure.color

    indices = _richest_slices(labels)
    canvas = Image.new("RGB", _SIZE, _BACKGROUND)
    corners = [(_GAP, _GAP), (2 * _GAP + _PANEL, _GAP), (_GAP, 2 * _GAP + _PANEL), (2 * _GAP + _PANEL,) * 2]
    for (title, (axis, letters)), corner in zip(_VIEWS.items(), corners, strict=False):
        index = indices[axis]
        gray, marked = (np.moveaxis(voxels, axis, 0)[index] for voxels in (image, labels))
        panel = _slice_picture(gray, marked, np.delete(spacing, axis), palette, window)
        canvas.paste(_annotated(panel, title, letters), corner)
    box = box_of(labels) if surfaces else None
    if surfaces and box is not None:
        front = surface_relief(surfaces, box, matrix, _BACKGROUND, _PANEL)
    else:
        front = relief(labels, spacing, palette, _BACKGROUND, _PANEL)
    canvas.paste(_annotated(Image.fromarray(front), "3D, from the front", "RLSI"), corners[3])
    _legend(ImageDraw.Draw(canvas), label_map, 2 * _PANEL + 3 * _GAP, _SIZE[1])
    canvas.save(path, "PNG", compress_level=_PNG_LEVEL)


def key_slices(preview: Path) -> bytes:
    """The slices of a preview as PNG, without the names beside them and without what else the file holds.

    Raises:
        InputError: it is no preview by :func:`write_preview`.
    """
    from PIL import Image

    try:
        with Image.open(preview, formats=["PNG"]) as picture:
            if picture.size != _SIZE:
                raise ValueError("another size")
            slices = Image.new("RGB", (_SIZE[0] - _LEGEND - _GAP, _SIZE[1]))
            slices.paste(picture.convert("RGB"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{preview} is missing, or is no preview by DeepSeg.", "Segment the volume again.", code="input.preview"
        ) from error
    with io.BytesIO() as file:
        slices.save(file, "PNG")
        return file.getvalue()


def _richest_slices(labels: npt.NDArray[Any]) -> list[int]:
    """Along each axis the slice with the most structures; of several, the one with the most labelled voxels.

    A coarse copy of the voxels decides.
    """
    steps = [-(-n // _COARSE) for n in labels.shape]
    coarse = labels[tuple(slice(step // 2, None, step) for step in steps)]
    indices = []
    for axis, step in enumerate(steps):
        planes = np.moveaxis(coarse, axis, 0)
        counts = [(np.unique(plane).size, np.count_nonzero(plane)) for plane in planes]
        indices.append(step // 2 + step * max(range(len(counts)), key=counts.__getitem__))
    return indices


def _slice_picture(
    gray: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    spacing: FloatArray,
    palette: npt.NDArray[np.uint8],
    window: tuple[float, float],
) -> Image:
    """A square panel with one slice, with true proportions.

    Args:
        gray: (rows, columns), HU.
        labels: of the same shape.
        spacing: of rows and columns, mm.
        palette: color by label value (N, 3).
        window: intensities that are shown black and white.
    """
    from PIL import Image

    gray, labels = gray[::-1, ::-1], labels[::-1, ::-1]  # RAS indices run up and to the right
    extent = np.array(gray.shape) * spacing
    size = np.maximum(1, np.round(extent / extent.max() * _PANEL)).astype(int)
    low, high = window
    shades = (np.clip((np.nan_to_num(gray).astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
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


def _annotated(panel: Image, title: str, letters: str) -> Image:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(panel)
    middle, far = _PANEL // 2, _PANEL - 10
    places = {0: (10, middle, "lm"), 1: (far, middle, "rm"), 2: (middle, 8, "mt"), 3: (middle, far + 2, "mb")}
    for letter, (x, y, anchor) in zip(letters, places.values(), strict=True):
        draw.text((x, y), letter, fill=_INK, font=_font(16), anchor=anchor)
    draw.text((10, 8), title, fill=_FAINT, font=_font(15), anchor="lt")
    return panel


def _legend(draw: ImageDraw, label_map: LabelMap, left: int, height: int) -> None:
    held = boxes_by_label(label_map.array)
    present = [s for s in label_map.structures if s.value in held]
    line = max(9, min(26, (height - 110) // max(1, len(present))))
    top = 14
    for structure in present:
        draw.rounded_rectangle((left, top, left + line - 6, top + line - 6), 3, fill=structure.color)
        place = (left + line + 4, top + (line - 6) // 2)
        draw.text(place, structure.title, fill=_INK, font=_font(min(16, line - 4)), anchor="lm")
        top += line
    draw.text((left, height - 46), "DeepSeg", fill=_INK, font=_font(18), anchor="lm")
    draw.text((left, height - 22), "Research use only", fill=_FAINT, font=_font(14), anchor="lm")


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
