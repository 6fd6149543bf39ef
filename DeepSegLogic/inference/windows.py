"""Where the windows lie and how much each one says: nnU-Net's grid and Gaussian, as shares per axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

SIGMA = 1 / 8  # of the patch, as nnU-Net
_FLOOR = 1e-4  # relative weight at which an axis' Gaussian is cut off, so that no share is 0/0


def window_starts(size: int, patch: int, step: float) -> list[int]:
    """Starts of evenly spaced windows that cover ``size`` >= ``patch`` voxels.

    Args:
        step: largest distance of two windows, as a fraction of the patch, in (0, 1].
    """
    last = size - patch
    count = int(np.ceil(last / (patch * step))) + 1
    return [0] if count == 1 else [int(np.round(last / (count - 1) * i)) for i in range(count)]


def axis_shares(size: int, patch: int, starts: Sequence[int]) -> dict[int, torch.Tensor]:
    """By start, the share (patch,) of each voxel that its window contributes; the shares of a voxel sum to 1.

    Since the grid of windows is a Cartesian product and the Gaussian separable, the product of three such
    shares is the normalised weight of a voxel: no volume of weights is needed.
    """
    centre = patch // 2
    weight = np.exp(-0.5 * ((np.arange(patch) - centre) / (patch * SIGMA)) ** 2).clip(_FLOOR)
    total = np.zeros(size)
    for start in starts:
        total[start : start + patch] += weight
    return {s: torch.from_numpy((weight / total[s : s + patch]).astype(np.float32)) for s in starts}


class WindowGrid:
    """The windows of an image, in the order in which they are run: slowest axis outermost.

    Args:
        shape, patch: (Z, Y, X) voxels; ``shape`` is at least ``patch`` on every axis.
        step: see :func:`window_starts`.
        asked: the box of voxels that is asked for. Windows that do not touch it are left out; those that do lie where
            they lie without it and weigh as much, so the voxels asked for get what they get without it.

    Attributes:
        patch: as given.
        hull: the part of the image that the windows cover.
        starts: per axis, relative to ``hull``.
    """

    def __init__(self, shape: Sequence[int], patch: Sequence[int], step: float, asked: Sequence[slice] | None = None):
        self.patch = tuple(patch)
        self.starts, self._shares, hull = [], [], []
        for size, width, box in zip(shape, patch, asked or [slice(0, n) for n in shape], strict=True):
            starts = window_starts(size, width, step)
            shares = axis_shares(size, width, starts)
            kept = [s for s in starts if s < box.stop and s + width > box.start]
            hull.append(slice(kept[0], kept[-1] + width))
            self.starts.append([s - kept[0] for s in kept])
            self._shares.append({s - kept[0]: shares[s] for s in kept})
        self.hull = tuple(hull)

    def __len__(self):
        return int(np.prod([len(s) for s in self.starts]))

    def levels(self):
        """Yield (start along the slow axis, [(start Y, start X), …]) for each level of windows."""
        inner = list(product(self.starts[1], self.starts[2]))
        for start in self.starts[0]:
            yield start, inner

    def share(self, start: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """The three axis shares of the window at ``start``, shaped to multiply (C, Z, Y, X)."""
        z, y, x = (shares[s] for shares, s in zip(self._shares, start, strict=True))
        return z[:, None, None], y[:, None], x
