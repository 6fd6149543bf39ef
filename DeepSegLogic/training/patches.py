"""Patches of labelled images to learn from: drawn, turned, stretched, bent, and changed in their intensities.

Source of the changes and their probabilities: nnU-Net (doi:10.1038/s41592-020-01008-z); MONAI makes those of intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ..data.types import FloatArray
from .fields import linear, nearest, patch_positions
from .losses import IGNORED
from .prepared import PreparedCase

Patch = tuple[torch.Tensor, torch.Tensor, int]
Voxels = npt.NDArray[Any]

_LABELLED = 0.5  # share of patches around a labelled voxel
_BENT = 0.4  # share of patches that are turned, stretched and bent
_TURN, _STRETCH, _BEND = 0.5, 0.3, 8.0  # radians, logarithm, mm


class Patches(Dataset[Patch]):
    """Patch ``n`` is the same whenever it is asked for, so that a training goes on exactly where it stopped.

    Each is an image (channels, Z, Y, X) float32; its labels (Z, Y, X) int16, :data:`~.losses.IGNORED` outside of the
    image; and the number of its case.

    Args:
        cases: at least one.
        patch: voxels (Z, Y, X).
        spacing: mm (Z, Y, X).
        mirror: whether left and right may be exchanged.
        augment: False for patches as they are, to measure.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        patch: Sequence[int],
        spacing: Sequence[float],
        seed: int = 0,
        mirror: bool = False,
        augment: bool = True,
    ):
        self.cases, self.patch, self.spacing, self.seed = cases, tuple(patch), tuple(spacing), seed
        self.mirror, self.augment = mirror, augment

    def __getitem__(self, n: int) -> Patch:
        rng = np.random.default_rng((self.seed, n))
        number = int(rng.integers(len(self.cases)))
        case = self.cases[number]
        voxels = case.image, case.labels
        centre = self._centre(case, voxels[1].shape, rng)
        if self.augment and rng.random() < _BENT:
            image, labels = self._bent(*voxels, centre, rng)
        else:
            image, labels = self._cut(*voxels, centre)
        if self.augment:
            image = torch.cat([changed(channel, int(rng.integers(2**31))) for channel in image.split(1)])
            if self.mirror and rng.random() < 0.5:
                image, labels = image.flip(-1), labels.flip(-1)
        return image, labels, number

    def _centre(self, case: PreparedCase, size: Sequence[int], rng: np.random.Generator) -> FloatArray:
        """A voxel: often near one of a class drawn at random, else anywhere, so that the patch lies in the image."""
        shape, half = np.array(size), np.array(self.patch) / 2
        low, high = np.minimum(half, shape / 2), np.maximum(shape - half, shape / 2)
        centre: FloatArray = rng.uniform(low, high)
        if case.places and rng.random() < _LABELLED:
            places = case.places[sorted(case.places)[rng.integers(len(case.places))]]
            near = places[rng.integers(len(places))] + rng.uniform(-0.25, 0.25, 3) * self.patch
            centre = np.clip(near, low, high)
        return centre

    def _cut(self, intensities: Voxels, classes: Voxels, centre: FloatArray) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.zeros(len(intensities), *self.patch)
        labels = torch.full(self.patch, IGNORED, dtype=torch.int16)
        first = [round(float(c - p / 2)) for c, p in zip(centre, self.patch, strict=True)]
        source, target = [], []
        for start, size, length in zip(first, self.patch, classes.shape, strict=True):
            low, high = max(start, 0), min(start + size, length)
            source.append(slice(low, high))
            target.append(slice(low - start, high - start))
        image[(slice(None), *target)] = _read(intensities, [slice(None), *source]).float()
        labels[tuple(target)] = _read(classes, source)
        return image, labels

    def _bent(
        self, intensities: Voxels, classes: Voxels, centre: FloatArray, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        millimetres = (centre - 0.5) * np.array(self.spacing)
        positions = patch_positions(self.patch, self.spacing, millimetres, rng, _TURN, _STRETCH, _BEND)
        voxels = positions / torch.tensor(self.spacing, dtype=torch.float32).view(3, 1, 1, 1)
        shape = torch.tensor(classes.shape).view(3, 1, 1, 1)
        inside = ((voxels > -0.5) & (voxels < shape - 0.5)).all(0)
        box = []
        for axis, length in enumerate(classes.shape):
            low = int(voxels[axis].min().floor().clamp(0, length - 1))
            high = int(voxels[axis].max().ceil().clamp(low, length - 1)) + 1
            box.append(slice(low, high))
            voxels[axis] -= low
        channels = _read(intensities, [slice(None), *box]).float()
        image = torch.stack([torch.where(inside, linear(channel, voxels), 0.0) for channel in channels])
        labels = torch.where(inside, nearest(_read(classes, box), voxels), IGNORED)
        return image, labels.to(torch.int16)


def _read(array: Voxels, box: Sequence[slice]) -> torch.Tensor:
    return torch.from_numpy(np.array(array[tuple(box)]))


def changed(image: torch.Tensor, seed: int) -> torch.Tensor:
    """An image (1, Z, Y, X) with other intensities, by nnU-Net's rules."""
    changes = _changes()
    changes.set_random_state(seed)
    return torch.as_tensor(changes(image)).as_subclass(torch.Tensor).float()


@cache
def _changes() -> Any:
    """Noise, blur, brightness, contrast, low resolution and gamma, with nnU-Net's ranges."""
    from monai import transforms

    blur = (0.5, 1.0)
    return transforms.Compose(
        [
            transforms.RandGaussianNoise(prob=0.1, std=0.3),
            transforms.RandGaussianSmooth(blur, blur, blur, prob=0.2),
            transforms.RandScaleIntensity(0.25, prob=0.15),
            transforms.RandScaleIntensityFixedMean(prob=0.15, factors=0.25, preserve_range=True),
            transforms.RandSimulateLowResolution(prob=0.25, zoom_range=(0.5, 1.0)),
            transforms.RandAdjustContrast(prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            transforms.RandAdjustContrast(prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        ],
        map_items=False,
    )
