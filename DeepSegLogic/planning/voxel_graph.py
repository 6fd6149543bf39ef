"""The voxels of a structure as a graph, for ways along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.types import FloatArray, PointsRas
from ..surfaces.surface import IndexArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def neighbors(voxels: IndexArray, places: PointsRas, weights: FloatArray | None = None) -> csr_matrix[np.float64]:
    """The graph of voxels that share a corner at least, weighted by their distance.

    Args:
        voxels: (N, 3), indices (k, j, i).
        places: (N, 3), their centers in RAS mm.
        weights: (N,) what a mm costs at each of them; None for 1.
    """
    from scipy.sparse import coo_matrix

    low, high = voxels.min(0), voxels.max(0)
    number = np.full(high - low + 3, -1)
    inner = voxels - low + 1
    number[tuple(inner.T)] = np.arange(len(voxels))
    offsets = [o for o in np.ndindex(3, 3, 3) if o > (1, 1, 1)]  # one of each two opposite ones
    rows, columns = [], []
    for offset in offsets:
        beside = number[tuple((inner + np.array(offset) - 1).T)]
        rows.append(np.flatnonzero(beside >= 0))
        columns.append(beside[beside >= 0])
    a, b = np.concatenate(rows), np.concatenate(columns)
    lengths = np.linalg.norm(places[a] - places[b], axis=1)
    if weights is not None:
        lengths *= (weights[a] + weights[b]) / 2
    both = np.concatenate([a, b]), np.concatenate([b, a])
    return coo_matrix((np.tile(lengths, 2), both), shape=(len(voxels),) * 2).tocsr()
