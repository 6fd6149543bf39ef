"""Calibration: whether the probabilities that a model gives are those with which it is right."""

from __future__ import annotations

import numpy as np

from ..data.types import MaskArray, ScalarArray

_BINS = 15  # as Guo et al., ICML 2017


def expected_calibration_error(probability: ScalarArray, reference: MaskArray) -> float:
    """The mean difference between probability and frequency over 15 equal bins, weighted by their voxels (ECE).

    Args:
        probability: (K, J, I) float32 in [0, 1], that a voxel belongs to the structure.
        reference: (K, J, I) bool, whether it does.
    """
    p = probability.ravel()
    bins = np.minimum((p * _BINS).astype(np.intp), _BINS - 1)
    believed, true = (np.bincount(bins, values, _BINS) for values in (p, reference.ravel()))
    return float(np.abs(believed - true).sum() / p.size)
