"""Masks and label maps for the tests of the evaluation."""

import numpy as np
from scipy.ndimage import gaussian_filter

from DeepSegLogic import LabelMap, Structure

SPACING = np.array([2.5, 0.7, 1.1])  # (K, J, I)
ORGANS = [Structure(1, "liver", "Liver"), Structure(2, "aorta", "Aorta")]


def blob(seed, share=0.15, shape=(14, 30, 26)):
    """A random, bumpy mask that also touches the border of its array."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    return noise > np.quantile(noise, 1 - share)


def ball(centre, radius=5, shape=(20, 24, 22)):
    place = np.moveaxis(np.indices(shape), 0, -1) - centre
    return np.linalg.norm(place, axis=-1) <= radius


def label_map(*masks, structures=ORGANS, matrix=None):
    """One label per mask, with the structure's value."""
    array = np.zeros(masks[0].shape, np.uint8)
    for mask, structure in zip(masks, structures, strict=True):
        array[mask] = structure.value
    return LabelMap(array, np.diag([1.1, 0.7, 2.5, 1.0]) if matrix is None else matrix, list(structures))


ORGAN_MAP = (ball((8, 9, 9)), ball((14, 15, 14), 3))
