"""Where the windows lie and how much each contributes: nnU-Net's grid and Gaussian, as shares per axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch

from ..data.types import Shape
from ..models.plan import Padding

SIGMA = 1 / 8  # of the patch, as nnU-Net
_FLOOR = 1e-4  # relative weight at which an axis' Gaussian is cut off, so that no share is 0/0
_PADDING: dict[str, Literal["reflect", "edge", "wrap"]] = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}

Level = tuple[int, list[tuple[int, int]]]


def window_starts(size: int, patch: int, step: float) -> list[int]:
    """Starts of evenly spaced windows that cover ``size`` >= ``patch`` voxels.

    Args:
        step: largest distance of two windows, as a fraction of the patch, in (0, 1].
    """
    if patch == 1:  # of a 2D network, which sees every slice once
        return list(range(size))
    last = size - patch
    count = int(np.ceil(last / (patch * step))) + 1
    return [0] if count == 1 else [int(np.round(last / (count - 1) * i)) for i in range(count)]


def axis_shares(size: int, patch: int, starts: Sequence[int]) -> dict[int, torch.Tensor]:
    """By start, the share (patch,) of each voxel that its window contributes; the shares of a voxel sum to 1.

    Since the grid of windows is a Cartesian product and the Gaussian separable, the product of three such
    shares is the normalized weight of a voxel: no volume of weights is needed.
    """
    centre = patch // 2
    weight = np.exp(-0.5 * ((np.arange(patch) - centre) / (patch * SIGMA)) ** 2).clip(_FLOOR)
    total = np.zeros(size)
    for start in starts:
        total[start : start + patch] += weight
    return {s: torch.from_numpy((weight / total[s : s + patch]).astype(np.float32)) for s in starts}


class WindowGrid:
    """The windows over an image, in the order in which they are run: slowest axis outermost.

    An image smaller than a window is padded on both sides, as nnU-Net and MONAI do.

    Args:
        shape, patch: (Z, Y, X) voxels of the image and of a window.
        step: see :func:`window_starts`.
        asked: box of the image whose voxels are needed; None for all. Windows that do not touch it are left out. The
            others keep their place and weight, so the result inside the box does not change.

    Attributes:
        patch: as given.
        shape: (Z, Y, X) voxels of the hull, the part of the padded image that the windows cover.
        first: (Z, Y, X) of the first voxel asked for, in the hull.
    """

    def __init__(self, shape: Sequence[int], patch: Shape, step: float, asked: Sequence[slice] | None = None):
        self.patch = patch
        self._starts: list[list[int]] = []  # per axis, relative to the hull
        self._shares: list[dict[int, torch.Tensor]] = []
        self._pads: list[tuple[int, int]] = []
        self._hull: list[slice] = []
        first = []
        for size, width, box in zip(shape, patch, asked or [slice(0, n) for n in shape], strict=True):
            before = max(0, width - size) // 2
            after = max(0, width - size) - before
            starts = window_starts(size + before + after, width, step)
            shares = axis_shares(size + before + after, width, starts)
            kept = [s for s in starts if s < before + box.stop and s + width > before + box.start]
            self._pads.append((before, after))
            self._hull.append(slice(kept[0], kept[-1] + width))
            self._starts.append([s - kept[0] for s in kept])
            self._shares.append({s - kept[0]: shares[s] for s in kept})
            first.append(before + box.start - kept[0])
        self.first: Shape = (first[0], first[1], first[2])
        depth, height, breadth = (s.stop - s.start for s in self._hull)
        self.shape: Shape = (depth, height, breadth)

    def __len__(self) -> int:
        return int(np.prod([len(s) for s in self._starts]))

    def covered(self, image: torch.Tensor, padding: Padding) -> torch.Tensor:
        """The hull of an image (C, Z, Y, X)."""
        if padding.mode == "constant" and any(any(pad) for pad in self._pads):
            sides = [side for pad in reversed(self._pads) for side in pad]
            image = torch.nn.functional.pad(image, sides, value=padding.value)
        elif padding.mode != "constant":
            for axis, pad in enumerate(self._pads):  # torch pads by less than the image's own size only
                if any(pad):
                    source = np.pad(np.arange(image.shape[axis + 1]), pad, _PADDING[padding.mode])
                    image = image.index_select(axis + 1, torch.from_numpy(source).to(image.device))
        return image[(slice(None), *self._hull)]

    def levels(self) -> Iterator[Level]:
        """Yield (start along the slow axis, [(start Y, start X), …]) for each level of windows."""
        inner = list(product(self._starts[1], self._starts[2]))
        for start in self._starts[0]:
            yield start, inner

    def share(self, start: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The three axis shares of the window at ``start``, shaped to multiply (C, Z, Y, X)."""
        z, y, x = (shares[s] for shares, s in zip(self._shares, start, strict=True))
        return z[:, None, None], y[:, None], x
