"""Triangles of a surface that cross each other: found with libigl, if it is installed, and repaired."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..data.affine import ijk_to_ras_points
from ..data.types import Affine, PointsIjk, PointsRas, Triangles
from ..util.progress import Cancel, check, never_cancel
from .corners import faces_at
from .manifold import ManifoldSurfaces
from .surface import IndexArray
from .surface_net import Net, Places
from .voxel_faces import voxel_faces

_ROUNDS = 14  # the last one moves vertices all the way back

IndexPairs: TypeAlias = npt.NDArray[np.int32 | np.int64]


def crossing_pairs(points: PointsRas, triangles: Triangles, suspects: IndexArray | None = None) -> IndexPairs | None:
    """Pairs (N, 2) of triangles that cross each other; None if libigl is not installed.

    Found with exact predicates. libigl's modules under the GPL are not used.

    Args:
        suspects: indices of the triangles to look at; None for all.
    """
    try:
        from igl.predicates import find_self_intersections
    except ImportError:
        return None
    if suspects is None:
        suspects = np.arange(len(triangles))
    if len(suspects) == 0:
        return np.empty((0, 2), np.int64)
    pairs = find_self_intersections(points, np.ascontiguousarray(triangles[suspects]))[1]
    return suspects[np.asarray(pairs, np.int64).reshape(-1, 2)]


def repaired(
    net: Net, positions: PointsIjk, corners: Places, ijk_to_ras: Affine, cancel: Cancel = never_cancel
) -> PointsIjk:
    """Positions of the net's vertices with which no triangles of a structure cross each other.

    In each round, vertices of crossing triangles move a quarter of the way back to their corners of voxels, where
    nothing crosses. A shared boundary moves for both structures, so no gap opens. Without libigl nothing changes.

    Args:
        positions, corners: (V, 3) (I, J, K) indices, after and before the smoothing.

    Returns:
        The same, as a new array.

    Raises:
        Cancelled: ``cancel`` returned True.
    """
    positions, labels = positions.copy(), None
    for remaining in reversed(range(_ROUNDS)):
        manifold, crossed = ManifoldSurfaces(net, positions), np.zeros(len(positions), bool)
        for label in manifold.labels if labels is None else labels:
            check(cancel)
            points, triangles, vertices = manifold.of(label)
            known = voxel_faces(points, triangles, np.eye(4))
            suspects = known.folded() if known else None
            pairs = crossing_pairs(ijk_to_ras_points(points, ijk_to_ras), triangles, suspects)
            if pairs is None:
                return positions
            vertices = vertices.take(triangles[pairs.ravel()])
            crossed[vertices[vertices >= 0]] = True
        if not crossed.any():
            break
        walls = net.facing[1:]
        crossed[walls[:, crossed.take(walls).any(0)]] = True  # walls that face each other stay in order
        moves = positions[crossed] - corners[crossed]
        positions[crossed] -= moves / 4 if remaining else moves
        faces = faces_at(crossed, net.quads)
        labels = (set(net.low[faces].tolist()) | set(net.high[faces].tolist())) - {0}
    return positions
