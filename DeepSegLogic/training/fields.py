"""Random smooth fields and random places: what deformation and synthetic CT are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ..data.types import FloatArray


def noise(shape: Sequence[int], rng: np.random.Generator) -> torch.Tensor:
    """White noise of ``shape``, mean 0, sd 1."""
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def smooth_noise(shape: Sequence[int], scale: float | Sequence[float], rng: np.random.Generator) -> torch.Tensor:
    """Noise (Z, Y, X) that varies over about ``scale`` voxels (of all axes or of each), mean 0, sd 1."""
    coarse = [max(3, round(n / s) + 1) for n, s in zip(shape, _per_axis(scale), strict=True)]
    field: torch.Tensor = functional.interpolate(
        noise(coarse, rng)[None, None], tuple(shape), mode="trilinear", align_corners=True
    )
    return (field / field.std())[0, 0]


def patch_positions(
    shape: Sequence[int],
    spacing: float | Sequence[float],
    centre: FloatArray,
    rng: np.random.Generator,
    turn: float = 0.15,
    scale: float = 0.22,
    bend: float = 14.0,
) -> torch.Tensor:
    """Where the voxels of a patch come from: a random affine map and a smooth elastic one.

    Args:
        shape: of the patch, voxels (Z, Y, X).
        spacing: of the patch, mm, the same along all axes or of each.
        centre: of the patch in the source, mm (Z, Y, X).
        turn: largest rotation about each axis, radians.
        scale: largest logarithm of the change in size.
        bend: largest sd of the coarse elastic displacement, mm; the fine one has a quarter of it. Both are halved until
            nothing folds, as they would in a patch that is small beside them.

    Returns:
        (3, Z, Y, X) float32, mm along (Z, Y, X) in the source.
    """
    z, y, x = rng.uniform(-turn, turn, 3)
    matrix = _turned(2, 1, z) @ _turned(2, 0, y) @ _turned(1, 0, x)
    size = rng.uniform(-scale, scale) + rng.uniform(-0.08, 0.08, 3)
    affine = torch.tensor(matrix @ np.diag(np.exp(size)), dtype=torch.float32)
    sizes = _per_axis(spacing)
    axes = [(torch.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, sizes, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    positions = torch.einsum("ab,bzyx->azyx", affine, grid)
    amount, scales = bend * rng.uniform(0, 1), [[mm / s for s in sizes] for mm in (80, 30)]
    fields = [smooth_noise(shape, scale, rng) for _ in range(3) for scale in scales]
    bent = amount * torch.stack(fields[::2]) + amount / 4 * torch.stack(fields[1::2])
    while _folds(positions + bent):
        bent /= 2
    return positions + bent + torch.as_tensor(centre, dtype=torch.float32).view(3, 1, 1, 1)


def _folds(positions: torch.Tensor) -> bool:
    """Whether the neighbours of a voxel (3, Z, Y, X) are somewhere those of its mirror image."""
    z, y, x = positions[:, 1:, :-1, :-1], positions[:, :-1, 1:, :-1], positions[:, :-1, :-1, 1:]
    first = positions[:, :-1, :-1, :-1]
    return bool(((z - first).cross(y - first, dim=0) * (x - first)).sum(0).le(0).any())


def _per_axis(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else [value] * 3


def _turned(a: int, b: int, angle: float) -> FloatArray:
    matrix = np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def nearest(array: torch.Tensor, voxels: torch.Tensor, outside: int | None = None) -> torch.Tensor:
    """Values of ``array`` (K, J, I) at voxel positions (3, Z, Y, X).

    Beyond its ends along K its last slices go on. Beyond those along J and I lies ``outside``, or the same if None.
    """
    index, inside = [], torch.ones(voxels.shape[1:], dtype=torch.bool)
    for axis, size in enumerate(array.shape):
        place = voxels[axis].round()
        if axis and outside is not None:
            inside = inside & (place >= 0) & (place < size)
        index.append(place.clamp_(0, size - 1).long())
    values = array[tuple(index)]
    return values if outside is None else torch.where(inside, values, outside)


def linear(array: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    """``array`` (K, J, I) float32, linearly interpolated at (3, Z, Y, X); its border goes on beyond it."""
    sizes = torch.tensor(array.shape, dtype=torch.float32).view(3, 1, 1, 1)
    grid = (2 * voxels / (sizes - 1).clamp(min=1) - 1).flip(0).permute(1, 2, 3, 0)[None]
    sampled: torch.Tensor = functional.grid_sample(
        array[None, None], grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[0, 0]
