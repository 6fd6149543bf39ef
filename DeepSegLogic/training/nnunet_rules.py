"""nnU-Net's rules for the size of a 3D network: target spacing, patch, depth and batch.

``Testing/reference/check_planning.py`` compares them with nnunetv2's own planners.

Source: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z, and nnunetv2 2.8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.types import FloatArray
from ..inference.resampling import resampled_shape

ANISOTROPIC = 3.0
SMALLEST_EDGE = 4  # voxels of the coarsest feature map
MOST_FEATURES = 320
BATCH, SMALLEST_BATCH = 2, 2
COVERED = 0.05  # largest part of all voxels in one batch
REFERENCE_GB = 8.0
REFERENCE_SIZE = {"unet": 560_000_000, "resenc": 680_000_000}  # values of feature maps that fit in REFERENCE_GB
BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6, 6, 6)  # residual blocks per stage of the encoder

Triple = tuple[int, int, int]


class Topology(NamedTuple):
    """The stages of a U-Net, fine to coarse.

    Attributes:
        strides, kernels: (Z, Y, X) per stage.
        patch: enlarged so that each stage halves evenly.
        multiple: that a patch must be of, per axis.
    """

    strides: list[Triple]
    kernels: list[Triple]
    patch: Triple
    multiple: Triple


def target_spacing(spacings: FloatArray, shapes: FloatArray) -> tuple[float, float, float]:
    """The median spacing; along a much coarser axis its tenth percentile.

    Args:
        spacings: (cases, 3) mm, along (Z, Y, X).
        shapes: (cases, 3) voxels.
    """
    target, size = np.median(spacings, 0), np.median(shapes, 0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    coarse = target[worst] > ANISOTROPIC * target[others].max()
    if coarse and size[worst] * ANISOTROPIC < size[others].min():
        finer = float(np.percentile(spacings[:, worst], 10))
        target[worst] = finer if finer >= target[others].max() else target[others].max() + 1e-5
    z, y, x = map(float, target)
    return z, y, x


def median_shape(spacings: FloatArray, shapes: FloatArray, target: Sequence[float]) -> FloatArray:
    """(3,) voxels along (Z, Y, X): the median of the cases' shapes at the target spacing."""
    resampled = [resampled_shape(s, old, target) for s, old in zip(shapes, spacings, strict=True)]
    median: FloatArray = np.median(np.array(resampled, float), 0)
    return median


def topology(spacing: Sequence[float], patch: Sequence[int]) -> Topology:
    """How often a U-Net halves each axis: until its edge is short, the finest axes first.

    Args:
        spacing: mm along (Z, Y, X).
        patch: voxels along (Z, Y, X).
    """
    spaces, sizes, pools, kernel = list(spacing), list(patch), [0, 0, 0], [1, 1, 1]
    strides, kernels = [(1, 1, 1)], list[Triple]()
    while True:
        axes = [a for a in range(3) if sizes[a] >= 2 * SMALLEST_EDGE]
        axes = [a for a in axes if spaces[a] / min(spaces[b] for b in axes) < 2]
        if not axes or (len(axes) == 1 and sizes[axes[0]] < 3 * SMALLEST_EDGE):
            break
        kernel = [3 if k == 3 or s / min(spaces) < 2 else 1 for k, s in zip(kernel, spaces, strict=True)]
        for a in axes:
            pools[a] += 1
            spaces[a] *= 2
            sizes[a] = -(-sizes[a] // 2)
        strides.append(_triple([2 if a in axes else 1 for a in range(3)]))
        kernels.append(_triple(kernel))
    kernels.append((3, 3, 3))
    multiple = _triple([2**p for p in pools])
    return Topology(strides, kernels, _triple([-(-p // m) * m for p, m in zip(patch, multiple, strict=True)]), multiple)


def features(stages: int, width: int) -> list[int]:
    """Channels per stage, fine to coarse."""
    return [min(width * 2**stage, MOST_FEATURES) for stage in range(stages)]


def encoder_blocks(network: str, stages: int) -> list[int]:
    """Convolutions per stage of the encoder of a plain U-Net, or residual blocks."""
    return list(BLOCKS[:stages]) if network == "resenc" else [2] * stages


def decoder_blocks(network: str, stages: int) -> list[int]:
    """Convolutions per stage of the decoder, coarse to fine."""
    return [1 if network == "resenc" else 2] * (stages - 1)


def feature_map_size(network: str, found: Topology, width: int, classes: int) -> float:
    """Values in all feature maps of one patch, by which nnU-Net estimates memory."""
    channels = features(len(found.strides), width)
    sizes, size = [], list(found.patch)
    for stride in found.strides:
        size = [n // s for n, s in zip(size, stride, strict=True)]
        sizes.append(math.prod(size))
    total = 0.0
    before = channels[0]
    if network == "resenc":
        total += channels[0] * math.prod(found.patch)
    for stage, blocks in enumerate(encoder_blocks(network, len(sizes))):
        maps = blocks
        if network == "resenc":
            changes = channels[stage] != before or max(found.strides[stage]) > 1
            maps = 2 * blocks + int(changes)
        total += maps * channels[stage] * sizes[stage]
        before = channels[stage]
    for stage, blocks in enumerate(decoder_blocks(network, len(sizes))):
        fine = len(sizes) - 2 - stage
        total += (blocks + 1) * channels[fine] * sizes[fine] + classes * sizes[fine]
    return total


def patch_and_batch(
    network: str,
    spacing: Sequence[float],
    shape: FloatArray,
    cases: int,
    classes: int,
    memory_gb: float,
    width: int = 32,
) -> tuple[Topology, int]:
    """The largest patch of the image's proportions that fits in memory, its network, and the batch.

    Args:
        network: ``"unet"`` or ``"resenc"``.
        spacing: target, mm along (Z, Y, X).
        shape: median of the cases at that spacing, voxels.
        cases: number of them.
        classes: output channels.
        memory_gb: for training.
        width: channels at the finest stage.
    """
    reference = REFERENCE_SIZE[network] * memory_gb / REFERENCE_GB
    inverse = 1 / np.array(spacing)
    cube = np.round(inverse * (256**3 / inverse.prod()) ** (1 / 3))
    found = topology(spacing, [max(1, int(min(a, b))) for a, b in zip(cube, shape, strict=True)])
    while (size := feature_map_size(network, found, width, classes)) > reference:
        axis = int(np.argsort(np.array(found.patch) / shape)[-1])
        smaller = list(found.patch)
        smaller[axis] -= found.multiple[axis]
        step = topology(spacing, smaller).multiple[axis]
        smaller[axis] = found.patch[axis] - step
        if smaller[axis] < SMALLEST_EDGE:
            break
        found = topology(spacing, smaller)
    covered = round(float(shape.prod()) * cases * COVERED / math.prod(found.patch))
    return found, max(min(round(reference / size * BATCH), covered), SMALLEST_BATCH)


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = values
    return z, y, x
