"""Short distances to the boundary of a mask."""

from __future__ import annotations

import numpy as np

from ..geometry import ras_to_ijk, spacing_of


def distances_to_boundary(points: np.ndarray, mask: np.ndarray, offset, ijk_to_ras: np.ndarray) -> np.ndarray:
    """Distance in mm of each point (N, 3), RAS, to the nearest face between a voxel of a mask and one outside it.

    The twelve faces between the eight voxels around a point are looked at; all others lie beyond those voxels. It is
    inf where one of these could be nearer, and everywhere if the grid's axes are not at right angles.

    Args:
        mask: (K, J, I) bool.
        offset: (K, J, I) index of its first voxel on the grid of ``ijk_to_ras``.
    """
    spacing, nearest = spacing_of(ijk_to_ras), np.full(len(points), np.inf)
    axes = ijk_to_ras[:3, :3] / spacing
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-6):
        return nearest
    padded = np.pad(mask, 2)  # so that the neighbourhood of points just outside is there
    places = ras_to_ijk(points, ijk_to_ras) - np.asarray(offset)[::-1] + 2
    voxel = np.floor(places).astype(np.intp)  # the first of the eight
    inside = ((voxel >= 0) & (voxel + 1 < padded.shape[::-1])).all(1)
    strides = np.array([1, padded.shape[2], padded.shape[1] * padded.shape[2]])
    at = np.where(inside, voxel @ strides, 0)
    full = [padded.ravel().take(at + np.array([b & 1, b >> 1 & 1, b >> 2]) @ strides) for b in range(8)]
    away = ((places - voxel - 0.5) * spacing).T  # (3, N), from the corner that the eight share
    squared = away**2
    beside = np.where(away > 0, squared, 0), np.where(away < 0, squared, 0)  # of what lies before it, and behind
    for axis in range(3):
        u, v = (a for a in range(3) if a != axis)
        for b in (b for b in range(8) if not b >> axis & 1):
            distance = squared[axis] + beside[b >> u & 1][u] + beside[b >> v & 1][v]
            np.minimum(nearest, distance, out=nearest, where=full[b] != full[b | 1 << axis])
    proven = inside & (np.sqrt(nearest) <= (spacing[:, None] - np.abs(away)).min(0))
    return np.where(proven, np.sqrt(nearest), np.inf)
