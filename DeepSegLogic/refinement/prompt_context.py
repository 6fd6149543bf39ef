"""What a prompt is judged by: the voxels around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray, ScalarArray
from .voxel_filters import distance_to, gaussian, resampled

Values: TypeAlias = npt.NDArray[Any]
"""Grey values, (K, J, I), of any real type."""

Float32s: TypeAlias = npt.NDArray[np.float32]
"""float32 of any shape."""


@dataclass(frozen=True, eq=False)
class PromptContext:
    """The voxels around a prompt. All arrays are (K, J, I).

    Attributes:
        image: grey values.
        candidates: bool, voxels that may change.
        seeds: bool, voxels that must change.
        goal: bool, voxels that already are what the seeds will become.
        spacing: mm along (K, J, I).
        scale: largest size in mm that the error can have around the prompt, if it was drawn in the middle of it.
        prior: float32, the network's probability that a voxel is what the seeds will become; None if unknown.
        radius: mm from the seeds at which all influence ends.
    """

    image: Values
    candidates: MaskArray
    seeds: MaskArray
    goal: MaskArray
    spacing: FloatArray
    scale: float
    prior: ScalarArray | None = None
    radius: float = 75.0

    @property
    def voxel(self) -> float:
        """Edge in mm of a cube as large as a voxel."""
        return float(np.cbrt(self.spacing.prod()))

    @cached_property
    def distance(self) -> Float32s:
        """Distance to the nearest seed in mm, float32 (K, J, I)."""
        return distance_to(self.seeds, self.spacing)

    @cached_property
    def smoothed(self) -> Float32s:
        """The grey values without most of their noise, float32 (K, J, I)."""
        exact = self.image.astype(np.float64)  # else rounding would be a detail where there is none
        return gaussian(exact, 0.7 * self.spacing.min() / self.spacing).astype(np.float32)

    @property
    def with_edges(self) -> Float32s:
        """As ``smoothed``, but details that stand out from the noise stay: an edge belongs to one of its sides."""
        detail = self.image.astype(np.float32) - self.smoothed
        return np.asarray(self.smoothed + detail * (1 - bell(detail / (3 * self.noise))))

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the details that smoothing removes; positive also where there is none."""
        inside = self.candidates | self.goal
        detail = np.abs(self.image[inside].astype(np.float32) - self.smoothed[inside])
        return 1.48 * float(np.median(detail)) + 1e-6 if detail.size else 1.0

    def coarser(self, steps: npt.NDArray[np.int64]) -> PromptContext:
        """The same on voxels that are larger by integer factors along (K, J, I), about the same middle."""
        fine = np.array(self.goal.shape)
        shape = -(-fine // steps)
        shape += (fine - shape) % 2  # the middle stays the middle of a voxel, or between two

        def thinned(array: npt.NDArray[Any]) -> ScalarArray:
            # float64, else rounding would decide where a mask is exactly half of a voxel
            return resampled(array, steps, shape, sigma=0.4 * (steps - 1), dtype=np.float64).astype(np.float32)

        seeds = np.zeros(shape, bool)
        middle, half = (shape - 1) / 2, (shape - 1) / 2 % 1
        place = (np.argwhere(self.seeds) - (fine - 1) / 2) / steps
        away = np.floor(np.abs(place) - half + 0.5) + half  # half-way is outwards: what is mirrored stays so
        at = np.rint(middle + np.where(place < 0, -away, away)).astype(int)
        seeds[tuple(np.clip(at, 0, shape - 1).T)] = True
        candidates = (thinned(self.candidates) > 0.5) | seeds
        return replace(
            self,
            image=thinned(self.image),
            candidates=candidates,
            seeds=seeds,
            goal=(thinned(self.goal) > 0.5) & ~candidates,
            spacing=self.spacing * steps,
            prior=None if self.prior is None else thinned(self.prior),
        )


def bell(x: Float32s) -> Float32s:
    """A Gaussian of height 1 and standard deviation 1."""
    return np.asarray(np.exp(-0.5 * x**2))
