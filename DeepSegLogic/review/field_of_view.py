"""Structures that the field of view cuts: their volumes are lower bounds."""

from __future__ import annotations

import numpy as np

from ..data.label_map import LabelMap
from ..data.types import MaskArray
from ..data.volume import Volume
from ..data.volume_checks import PADDING_HU

CUT_LEGEND = "≥: cut by the field of view or the region of interest; the volume is a lower bound."
"""Below a table of volumes."""
_PADDED = 1e-3  # share of the voxels from which the lowest value is padding, not an artifact


def cut_labels(label_map: LabelMap, volume: Volume) -> set[int]:
    """Values of the labels that reach the border of the grid, or the padding around a round field of view.

    Args:
        label_map, volume: on the same grid. Structures of its layers are not looked at.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, Volume
        >>> from DeepSegLogic.review.field_of_view import cut_labels
        >>> array = np.zeros((8, 8, 8), np.uint8)
        >>> array[2:5, 2:5, 2:5], array[6:, 6, 6] = 1, 2
        >>> cut_labels(LabelMap(array, np.eye(4)), Volume(np.zeros((8, 8, 8), np.int16), np.eye(4)))
        {2}
    """
    labels = label_map.array
    found = {int(value) for axis in range(3) for end in (0, -1) for value in np.unique(labels.take(end, axis))}
    padding = _padding(volume)
    if padding is not None:
        for values, here in zip(volume.array, labels, strict=True):
            found.update(np.unique(here[_beside(values == padding)]).tolist())
    return found - {0}


def bounded(number: str, cut: bool) -> str:
    """A number in words, as a lower bound where the field of view cuts what it is about.

    Example:
        >>> from DeepSegLogic.review.field_of_view import bounded
        >>> bounded("261.0 ml", cut=True), bounded("261.0 ml", cut=False)
        ('≥ 261.0 ml', '261.0 ml')
    """
    return f"≥ {number}" if cut else number


def cut_note(cut: bool) -> str:
    """What it means that a structure is cut, for a tooltip; empty if it is not."""
    return "Cut by the field of view: the volume is a lower bound." if cut else ""


def _padding(volume: Volume) -> float | None:
    """The value that fills the volume outside a round field of view; None if there is none."""
    low = volume.array.min(initial=0)
    padded = low < PADDING_HU and np.count_nonzero(volume.array == low) > _PADDED * volume.array.size
    return float(low) if padded else None


def _beside(padding: MaskArray) -> MaskArray:
    """The pixels of a slice (J, I) that share an edge with padding."""
    near = np.zeros_like(padding)
    near[1:] |= padding[:-1]
    near[:-1] |= padding[1:]
    near[:, 1:] |= padding[:, :-1]
    near[:, :-1] |= padding[:, 1:]
    return near & ~padding
