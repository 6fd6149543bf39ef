"""Face-connected pieces of masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .types import FloatArray, MaskArray


def pieces(mask: MaskArray, wanted: Callable[[FloatArray], MaskArray]) -> MaskArray:
    """The face-connected pieces of a mask whose sizes in voxels are wanted; the mask itself if all are."""
    from scipy.ndimage import label

    numbers, count = label(mask)
    inside = numbers[mask]
    sizes = np.bincount(inside, minlength=count + 1).astype(float)
    kept = wanted(sizes) & (sizes > 0)
    if kept[1:].all():
        return mask
    found = np.zeros_like(mask)
    found[mask] = kept[inside]
    return found
