"""Pictures of where a prediction and its reference differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.types import ByteArray, FloatArray, MaskArray

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = {"both": (150, 155, 165), "missed": (230, 159, 0), "extra": (86, 180, 233)}
"""RGB of voxels that both have, that only the reference has, and that only the prediction has."""

_PANEL = 300  # px
_GAP = 6
_BACKGROUND = (22, 24, 28)


@dataclass(frozen=True)
class DifferencePicture:
    """Where one structure of one case differs.

    Attributes:
        case, title, dice: of the picture's caption.
        slices: axial, coronal and sagittal, (rows, columns) each: 0 neither, 1 both, 2 only the reference, 3 only the
            prediction. Rows run downwards, the patient's right is on the left.
        spacings: mm of rows and columns of each.
    """

    case: str
    title: str
    dice: float
    slices: list[ByteArray]
    spacings: list[FloatArray]

    def drawn(self) -> Image:
        """The three slices side by side, with true proportions."""
        from PIL import Image

        palette = np.array([(0, 0, 0), *COLORS.values()], np.uint8)
        canvas = Image.new("RGB", (3 * _PANEL + 2 * _GAP, _PANEL), _BACKGROUND)
        for n, (codes, spacing) in enumerate(zip(self.slices, self.spacings, strict=True)):
            extent = np.array(codes.shape) * spacing
            height, width = np.maximum(1, np.round(extent / extent.max() * _PANEL)).astype(int).tolist()
            panel = Image.fromarray(palette[codes]).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(panel, (n * (_PANEL + _GAP) + (_PANEL - width) // 2, (_PANEL - height) // 2))
        return canvas


class Worst:
    """The pictures of the lowest Dice, at most ``number``."""

    def __init__(self, number: int = 6):
        self._number = number
        self.found: list[DifferencePicture] = []

    def offer(
        self,
        case: str,
        title: str,
        dice: float,
        prediction: MaskArray,
        reference: MaskArray,
        spacing_kji: FloatArray,
    ) -> None:
        """Keep the picture if it is among the worst; arguments as of :func:`difference_picture`.

        None of a Dice that is no number, where both masks are empty.
        """
        if not dice < 1 or (len(self.found) == self._number and dice >= self.found[-1].dice):
            return
        self.found.append(difference_picture(case, title, dice, prediction, reference, spacing_kji))
        self.found = sorted(self.found, key=lambda one: one.dice)[: self._number]


def difference_picture(
    case: str, title: str, dice: float, prediction: MaskArray, reference: MaskArray, spacing_kji: FloatArray
) -> DifferencePicture:
    """The slices with the most voxels that only one side has.

    Args:
        prediction, reference: (K, J, I) bool of the same shape, in RAS order.
        spacing_kji: mm.
    """
    differs = prediction ^ reference
    slices = []
    for axis in range(3):
        index = int(np.argmax(differs.sum(tuple(a for a in range(3) if a != axis))))
        p, r = (np.asarray(mask.take(index, axis))[::-1, ::-1] for mask in (prediction, reference))
        slices.append((p & r) * np.uint8(1) + (r & ~p) * np.uint8(2) + (p & ~r) * np.uint8(3))
    return DifferencePicture(case, title, dice, slices, [np.delete(spacing_kji, axis) for axis in range(3)])
