"""Whether a scan lies upside down, front to back or mirrored: simple rules on a coarse copy and its regions.

They hold for the abdomen and chest, and for scans of two regions or more; elsewhere nothing is told. What they were
measured on is in ``docs/classify.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.types import FloatArray, MaskArray, ScalarArray
from .coarse import STEP_MM

LEAST_SLICES = 5
MOST_IN_FRONT_MM = 12.0  # of the bones before the middle of the body; in real CTs they lie 24 to 90 mm behind it
MOST_TO_THE_LEFT_MM = 8.0  # of the soft tissue of the abdomen; in real CTs the liver draws it 5 to 24 mm to the right
ODDS = 10.0  # logarithm: by how much the wrong order of the regions must be more probable than the right one


def turned(array: ScalarArray, regions: Sequence[str], odds_down: float) -> tuple[str, ...]:
    """Those of :data:`~DeepSegLogic.classify.names.FLIPS` that seem to apply.

    Args:
        array: (S, A, R), HU, see :class:`~DeepSegLogic.classify.coarse.Coarse`.
        regions: of each slice; ``""`` where unknown.
        odds_down: logarithm of how much more probable it is that the regions come in the opposite order.
    """
    bones, soft = [], []
    for hu, region in zip(array, regions, strict=True):
        if region not in ("abdomen", "chest"):
            continue
        body = _body(hu)
        middle = _centre(body)
        bone, tissue = body & (hu > 180), body & (hu > 20) & (hu < 180)
        if bone.sum() > 3:
            bones.append(_centre(bone)[0] - middle[0])
        if region == "abdomen" and tissue.sum() > 3:
            soft.append(_centre(tissue)[1] - middle[1])
    found = ["upside_down"] if odds_down > ODDS else []
    if len(bones) >= LEAST_SLICES and STEP_MM * np.mean(bones) > MOST_IN_FRONT_MM:
        found.append("front_to_back")
    if len(soft) >= LEAST_SLICES and STEP_MM * np.mean(soft) < -MOST_TO_THE_LEFT_MM:
        found.append("mirrored")
    return tuple(found)


def _body(hu: ScalarArray) -> MaskArray:
    """The largest connected part of a slice (A, R), filled, without the table."""
    from scipy.ndimage import binary_fill_holes, binary_opening, label

    parts, count = label(binary_fill_holes(binary_opening(hu > -300)))
    mask: MaskArray = parts == (1 + np.bincount(parts.ravel())[1:].argmax() if count else -1)
    return mask


def _centre(mask: MaskArray) -> FloatArray:
    centre: FloatArray = np.argwhere(mask).mean(0) if mask.any() else np.zeros(2)
    return centre
