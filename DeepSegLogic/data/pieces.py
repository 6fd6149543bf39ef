"""Face-connected pieces of masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .types import FloatArray, MaskArray


def pieces(mask: MaskArray, wanted: Callable[[FloatArray], MaskArray]) -> MaskArray:
    """The face-connected pieces of a mask whose sizes in voxels are wanted."""
    from scipy.ndimage import label

    found = label(mask)[0]
    sizes = np.bincount(found.ravel()).astype(float)
    sizes[0] = 0
    return np.asarray((wanted(sizes) & (sizes > 0))[found])
