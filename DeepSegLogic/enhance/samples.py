"""Patches to train on: good ones, and the same ones made worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data.types import FloatArray, ScalarArray
from ..data.volume import Volume
from ..data.volume_fixes import BODY_HU
from .degradations import between, low_dose, thickened
from .grids import ratio_of, slow_axis

PATCH, DRAWN = 64, 48  # pixels of a patch, and patches from the same slices
COARSEST_MM = 3.2  # pixels to learn from: planes are also binned, up to this size
NOISE_HU, CUTOFFS, FACTORS = (6.0, 90.0), (0.3, 0.7), (2, 7)
_TRIES = 20

Sample = tuple[torch.Tensor, torch.Tensor]
"""Worse patches (DRAWN, inputs, PATCH, PATCH) and the good planes in their middle (DRAWN, 1, PATCH, PATCH), in HU."""


@dataclass(frozen=True)
class Planes:
    """A CT with its slices along the first axis.

    Attributes:
        array: (K, J, I) HU.
        spacing: mm along (K, J, I).
    """

    array: ScalarArray
    spacing: FloatArray


def planes_of(volume: Volume) -> Planes:
    """A CT to draw from, its slow axis first."""
    axis = slow_axis(volume)
    order = [axis, *(a for a in range(3) if a != axis)]
    return Planes(np.ascontiguousarray(volume.array.transpose(order)), volume.spacing_kji[order])


def noisy_pairs(cts: Sequence[Planes], rng: np.random.Generator) -> Sample:
    """Patches of three adjacent slices with the noise of a low dose, and the middle slice without it."""
    slab, spacing = _slab(cts, 3, rng)
    sd = float(np.exp(rng.uniform(*np.log(NOISE_HU))))
    worse = low_dose(slab, spacing, sd, rng.uniform(*CUTOFFS), rng)
    return _patches(worse, slab[1:2], rng)


def thick_pairs(cts: Sequence[Planes], rng: np.random.Generator) -> Sample:
    """Patches as a coronal or sagittal plane through thick slices would look, interpolated, and with thin slices.

    They are axial slices, made worse along one of their axes: there the truth is known (Zhao et al., IEEE TMI 2021,
    doi:10.1109/TMI.2020.3037187).
    """
    plane = _slab(cts, 1, rng)[0]
    plane = plane.swapaxes(1, 2) if rng.random() < 0.5 else plane
    factor = int(rng.integers(*FACTORS))
    count = (plane.shape[1] - 1) // factor
    good = plane[:, : count * factor + 1]
    worse = between(thickened(good, factor, 1), factor, 1)
    return _patches(worse, good, rng, turns=False)


PAIRS: dict[str, Callable[[Sequence[Planes], np.random.Generator], Sample]] = {
    "denoise": noisy_pairs,
    "slices": thick_pairs,
}
"""By task."""


def plain_patches(task: str, cts: Sequence[Planes], kind: str, rng: np.random.Generator) -> torch.Tensor:
    """Patches of planes as they are, for training without pairs.

    Args:
        kind: ``"good"`` or ``"worse"``. Worse ones for ``"slices"`` are planes across thick slices, interpolated.

    Returns:
        (DRAWN, 1, PATCH, PATCH) HU.
    """
    if task == "slices" and kind == "worse":
        plane = _across(cts[int(rng.integers(len(cts)))], rng)
        return _patches(plane, plane, rng, turns=False)[0]
    plane, _ = _slab(cts, 1, rng)
    return _patches(plane, plane, rng)[0]


def _across(ct: Planes, rng: np.random.Generator) -> ScalarArray:
    """A coronal or sagittal plane (1, K, J or I) with as many slices interpolated as :func:`thinner_by` says."""
    turned = ct.array if rng.random() < 0.5 else ct.array.swapaxes(1, 2)
    plane = turned[:, rng.integers(turned.shape[1])].astype(np.float32)
    factor = ratio_of(ct.spacing[0], float(ct.spacing[1:].max()))
    return between(plane, factor, 0)[None] if factor > 1 else plane[None]


def _slab(cts: Sequence[Planes], count: int, rng: np.random.Generator) -> tuple[ScalarArray, FloatArray]:
    """Adjacent slices of a CT, binned at random, and their spacing."""
    ct = cts[int(rng.integers(len(cts)))]
    start = int(rng.integers(max(1, len(ct.array) - count + 1)))
    slab = ct.array[start : start + count].astype(np.float32)
    slab = slab[np.minimum(np.arange(count), len(slab) - 1)]
    most = int(min(COARSEST_MM / ct.spacing[1:].max(), min(slab.shape[1:]) / PATCH))
    factor = int(rng.integers(1, max(1, most) + 1))
    high, wide = (n // factor for n in slab.shape[1:])
    binned = slab[:, : high * factor, : wide * factor].reshape(count, high, factor, wide, factor).mean((2, 4))
    return np.asarray(binned, np.float32), ct.spacing * [1, factor, factor]


def _patches(worse: ScalarArray, good: ScalarArray, rng: np.random.Generator, turns: bool = True) -> Sample:
    """Patches at the same places of both, most of them in the body, turned, mirrored and shifted in HU at random."""
    xs, ys = [], []
    size = [min(PATCH, n) for n in good.shape[1:]]
    for _ in range(DRAWN):
        for _ in range(_TRIES):
            low = [int(rng.integers(n - s + 1)) for n, s in zip(good.shape[1:], size, strict=True)]
            box = (slice(None), slice(low[0], low[0] + size[0]), slice(low[1], low[1] + size[1]))
            if good[box].mean() > BODY_HU:
                break
        x, y = _filled(worse[box]), _filled(good[box])
        flips = tuple((np.flatnonzero(rng.random(2) < 0.5) + 1).tolist())
        quarter = int(rng.integers(4)) if turns else 0
        shift = rng.uniform(-30, 30)
        xs.append(np.rot90(np.flip(x, flips), quarter, (1, 2)) + shift)
        ys.append(np.rot90(np.flip(y, flips), quarter, (1, 2)) + shift)
    return torch.from_numpy(np.stack(xs).astype(np.float32)), torch.from_numpy(np.stack(ys).astype(np.float32))


def _filled(patch: ScalarArray) -> ScalarArray:
    """Small ones are mirrored up to the size of a patch."""
    missing = [PATCH - n for n in patch.shape[1:]]
    return np.pad(patch, ((0, 0), (0, missing[0]), (0, missing[1])), mode="symmetric") if any(missing) else patch
