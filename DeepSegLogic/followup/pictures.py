"""Difference pictures: the follow-up with the outlines of both times, and what became brighter or darker."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..data.affine import reorient
from ..data.boxes import grown, matrix_of, whole
from ..data.itk import sitk_image
from ..data.types import MaskArray, ScalarArray, Slices
from ..io.read import ijk_to_ras
from ..results.preview import SOFT_TISSUE_HU
from .coarse import coarse_grid
from .registration import Registration
from .time_point import TimePoint

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = {"baseline": (230, 159, 0), "follow-up": (86, 180, 233)}
"""RGB of the outlines."""
BRIGHTER, DARKER = (240, 90, 90), (90, 140, 240)
"""RGB of voxels whose HU rose or fell by :data:`_SPAN_HU`."""

_SPAN_HU = 150.0
_PANEL, _GAP, _BACKGROUND = 300, 6, (22, 24, 28)
_VOXELS = 1.5e6  # of the grid that is drawn
_MARGIN_MM = 15.0

Rgb: TypeAlias = npt.NDArray[np.uint8]
Pixels: TypeAlias = npt.NDArray[np.float32]


def picture(
    points: tuple[TimePoint, TimePoint],
    registration: Registration,
    masks: tuple[MaskArray, MaskArray],
    box: Slices | None,
) -> Image:
    """Axial, coronal and sagittal slice where the masks differ most; below, the difference of HU if both scans are
    known.

    Slices are in radiological orientation: the patient's right is on the left.

    Args:
        points: baseline and follow-up.
        masks: what is outlined of each, (K, J, I) on their own grids.
        box: of the follow-up's grid that is shown, with a margin; None for all.
    """
    from PIL import Image

    here = points[1].label_map
    around = whole(here.shape_kji)
    if box is not None:
        around = grown(box, _MARGIN_MM / here.spacing_kji, here.shape_kji)
    part = sitk_image(masks[1][around].astype(np.uint8), matrix_of(around, here.ijk_to_ras))
    grid, still = coarse_grid(part, _VOXELS), sitk.Transform(3, sitk.sitkIdentity)
    earlier = sitk_image(masks[0].astype(np.uint8), points[0].label_map.ijk_to_ras)
    outlines = [
        _on(grid, image, transform, sitk.sitkNearestNeighbor, 0)
        for image, transform in ((earlier, registration.transform), (part, still))
    ]
    scans = [
        _on(grid, sitk_image(p.volume.array, p.volume.ijk_to_ras), transform, sitk.sitkLinear, np.nan)
        for p, transform in zip(points, (registration.transform, still), strict=True)
        if p.volume is not None
    ]
    scan = scans[-1] if points[1].volume is not None else np.full_like(outlines[1], np.nan)
    at = _slices(outlines[0] > 0, outlines[1] > 0)
    rows = [[_outlined(_cut(scan, *s), [_cut(mask, *s, sharp=True) > 0 for mask in outlines]) for s in at]]
    if len(scans) == 2:
        rows.append([_difference(_cut(scans[1], *s) - _cut(scans[0], *s)) for s in at])
    canvas = Image.new("RGB", (3 * _PANEL + 2 * _GAP, len(rows) * (_PANEL + _GAP) - _GAP), _BACKGROUND)
    for y, row in enumerate(rows):
        for x, rgb in enumerate(row):
            corner = ((_PANEL - rgb.shape[1]) // 2, (_PANEL - rgb.shape[0]) // 2)
            place = (x * (_PANEL + _GAP) + corner[0], y * (_PANEL + _GAP) + corner[1])
            canvas.paste(Image.fromarray(rgb), place)
    return canvas


def _on(
    grid: sitk.Image, image: sitk.Image, transform: sitk.Transform, interpolator: int, outside: float
) -> ScalarArray:
    """An image on a grid, its axes in RAS order."""
    moved = sitk.Resample(image, grid, transform, interpolator, outside, sitk.sitkFloat32)
    return np.asarray(reorient(sitk.GetArrayFromImage(moved), ijk_to_ras(grid), "RAS")[0], np.float32)


def _slices(old: MaskArray, new: MaskArray) -> list[tuple[int, int]]:
    """Axis and index of the slices with the largest difference; of equal masks, with the most voxels."""
    shown = old ^ new if (old ^ new).any() else old | new
    return [(axis, int(np.argmax(shown.sum(tuple(a for a in range(3) if a != axis))))) for axis in range(3)]


def _cut(array: ScalarArray, axis: int, index: int, *, sharp: bool = False) -> Pixels:
    """A slice of an isotropic array that fits into a panel."""
    from PIL import Image

    pixels = np.moveaxis(array, axis, 0)[index, ::-1, ::-1]
    height, width = (max(1, round(n / max(pixels.shape) * _PANEL)) for n in pixels.shape)
    how = Image.Resampling.NEAREST if sharp else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), how), np.float32)


def _outlined(gray: Pixels, masks: list[npt.NDArray[np.bool_]]) -> Rgb:
    low, high = SOFT_TISSUE_HU
    shade = np.clip((np.nan_to_num(gray, nan=low) - low) / (high - low), 0, 1) * 255
    rgb = np.repeat(shade[..., None], 3, 2).astype(np.uint8)
    for mask, color in zip(masks, COLORS.values(), strict=True):
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        rgb[mask & ~inner] = color
    return rgb


def _difference(change: Pixels) -> Rgb:
    """Gray where nothing changed, and where one scan shows nothing."""
    share = np.clip(np.nan_to_num(change / _SPAN_HU), -1, 1)[..., None]
    ground = np.full((*change.shape, 3), 40.0)
    color = np.where(share > 0, np.array(BRIGHTER, float), np.array(DARKER, float))
    return np.asarray(ground + (color - ground) * np.abs(share), np.uint8)
