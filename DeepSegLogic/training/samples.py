"""Patches to learn from: drawn, deformed, painted or taken from a real image, and scanned."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from ..data.types import FloatArray
from .cases import Case, depth_positions
from .fields import linear, nearest, patch_positions
from .synthetic_ct import kind_of, paint, scanned, tissue_values

LOWER, UPPER, MEAN, SD = -1000.0, 800.0, 0.0, 200.0
"""nnU-Net's CT normalisation: clipped to this range of HU, then standardised."""


class Samples(Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """Sample ``n`` is the same whenever it is asked for, so that a training goes on exactly where it stopped.

    Each is a patch (1, Z, Y, X) float32, normalised; its labels (Z, Y, X) uint8; and the number of its case. Labels
    are indices of the case's names, or the number of these where there is nothing to learn.
    """

    def __init__(self, cases: list[Case], patch: tuple[int, int, int], spacing: float, seed: int = 0):
        self.cases, self.patch, self.spacing, self.seed = cases, patch, spacing, seed
        shares = np.array([c.share for c in cases], float)
        self.shares = shares / shares.sum()

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        rng = np.random.default_rng((self.seed, n))
        number = int(rng.choice(len(self.cases), p=self.shares))
        case = self.cases[number]
        image, labels = self._sample(case, rng)
        kept = _field_of_view(self.patch, rng)
        normal = torch.zeros(self.patch)
        normal[kept] = (image[kept].clamp(LOWER, UPPER) - MEAN) / SD
        known = torch.full(self.patch, len(case.names), dtype=torch.uint8)
        known[kept] = labels[kept]
        return normal[None], known, number

    def _sample(self, case: Case, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        centre = self._within(case, case.place(rng))
        positions = patch_positions(self.patch, self.spacing, centre, rng)
        voxels = positions / torch.tensor(case.spacing, dtype=torch.float32).view(3, 1, 1, 1)
        labels = nearest(case.labels, voxels, outside=None if case.body else 0)
        if rng.random() < case.painted or case.image is None:
            depth = None if case.depth is None else linear(case.depth, depth_positions(positions))
            image = paint(labels, case.names, depth, self.spacing, rng)
        else:
            image = linear(case.image, voxels)
            if case.recoloured and rng.random() > 0.3:
                image = _recoloured(image, labels, case, rng)
        return scanned(image, self.spacing, rng), labels

    def _within(self, case: Case, centre: FloatArray) -> FloatArray:
        """So that a patch does not reach far beyond the subject's ends."""
        size = np.array(case.labels.shape) * case.spacing
        half = np.minimum(np.array(self.patch) * self.spacing, size) / 2
        slack = np.array([0.0, 30.0, 30.0])
        within: FloatArray = np.clip(centre, half - slack, size - half + slack)
        return within


def _recoloured(image: torch.Tensor, labels: torch.Tensor, case: Case, rng: np.random.Generator) -> torch.Tensor:
    """A real image with its organs shifted to another contrast phase."""
    values, strength = tissue_values(rng), rng.uniform(0.3, 1)
    index = labels.long()
    count = torch.bincount(index.ravel(), minlength=len(case.names)).clamp(min=1)
    mean = torch.bincount(index.ravel(), image.ravel(), len(case.names)) / count
    shift = torch.zeros(len(case.names))
    for label, name in enumerate(case.names[1:], 1):
        if (kind := kind_of(name)) not in ("lung", "air", "fat", "soft", "trachea", "bowel", "colon", "rib"):
            shift[label] = strength * np.clip(values[kind] - float(mean[label]), -80, 400)
    return image + shift[index]


def _field_of_view(shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[slice, ...]:
    """Most often all of the patch; else a slab or a box in its middle, as an image smaller than a patch is padded."""
    sizes = list(shape)
    for axis, often, least in ((0, 0.25, 0.15), (1, 0.08, 0.5), (2, 0.08, 0.5)):
        if rng.random() < often:
            sizes[axis] = round(shape[axis] * rng.uniform(least, 1))
    starts = [(n - m) // 2 for n, m in zip(shape, sizes, strict=True)]
    return tuple(slice(a, a + m) for a, m in zip(starts, sizes, strict=True))
