"""What of a CT follows from its density alone: the air around the body, and the lungs."""

import numpy as np
from scipy import ndimage

AIR, LEFT, RIGHT, UNSURE = 1, 2, 3, 4


def outside_body(ct: np.ndarray) -> np.ndarray:
    """The air around the body, slice by slice. (K, J, I) HU to bool."""
    air = np.pad(ndimage.binary_opening(ct < -300, iterations=1), ((0, 0), (1, 1), (1, 1)), constant_values=True)
    regions = np.stack([ndimage.label(slice_)[0] for slice_ in air])
    return (regions == 1)[:, 1:-1, 1:-1]


def lungs_and_air(ct: np.ndarray, spacing) -> np.ndarray:
    """``AIR`` around the body, ``LEFT`` and ``RIGHT`` lung, and ``UNSURE`` near the midline: either lung, or airways.

    Args:
        ct: (K, J, I) HU on a RAS grid, of about 2 mm in the plane.
        spacing: mm along (K, J, I).

    Returns:
        (K, J, I) uint8; 0 is anything else, but no lung.
    """
    outside = outside_body(ct)
    regions, count = ndimage.label(ndimage.binary_opening((ct < -400) & ~outside))
    numbers = np.arange(1, count + 1)
    litres = ndimage.sum_labels(np.ones_like(ct), regions, numbers) * np.prod(spacing) / 1e6
    density = ndimage.mean(ct, regions, numbers)
    lungs = np.isin(regions, numbers[(litres > 0.1) & (density > -900)])  # gas in the bowel is thinner
    lungs = ndimage.binary_closing(lungs, iterations=1) & ~outside
    bone = np.nonzero((ct > 250) & ndimage.binary_dilation(~outside, iterations=3))
    columns = np.broadcast_to((np.arange(ct.shape[2]) - np.median(bone[2])) * spacing[2], ct.shape)
    labels = outside.astype(np.uint8)  # which is AIR
    labels[lungs & (columns < 0)], labels[lungs & (columns >= 0)] = LEFT, RIGHT  # I runs to the right
    labels[lungs & (np.abs(columns) < 35)] = UNSURE
    return labels
