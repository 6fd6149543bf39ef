"""Calibration: whether the probabilities that a model gives are those with which it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.types import FloatArray, MaskArray, ScalarArray

BINS = 15  # as Guo et al., ICML 2017


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what is believed is true, in 15 equal bins of probability.

    Attributes:
        voxels: (15,) how many there are in each bin.
        believed: (15,) the sum of their probabilities.
        true: (15,) how many of them belong to the structure.
    """

    voxels: FloatArray
    believed: FloatArray
    true: FloatArray

    @classmethod
    def of(cls, probability: ScalarArray | FloatArray, reference: MaskArray) -> Reliability:
        """From arrays of the same shape.

        Args:
            probability: in [0, 1], that a voxel belongs to the structure.
            reference: bool, whether it does.
        """
        p = probability.ravel()
        bins = np.minimum((p * BINS).astype(np.intp), BINS - 1)
        counts = np.bincount(bins, minlength=BINS).astype(float)
        believed, true = (np.bincount(bins, values, BINS).astype(float) for values in (p, reference.ravel()))
        return cls(counts, believed, true)

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.voxels + other.voxels, self.believed + other.believed, self.true + other.true)

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean difference between probability and frequency, weighted by voxels."""
        return float(np.abs(self.believed - self.true).sum() / max(1.0, self.voxels.sum()))

    @property
    def points(self) -> list[tuple[float, float, int]]:
        """For each bin with voxels: mean probability, frequency, and number of voxels."""
        return [
            (float(b / n), float(t / n), int(n))
            for n, b, t in zip(self.voxels, self.believed, self.true, strict=True)
            if n
        ]

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        bins = [{"probability": p, "frequency": f, "voxels": n} for p, f, n in self.points]
        return {"ece": self.ece, "bins": bins}
