"""Triangles of a surface that cross each other: found by libigl, where it is installed, and mended."""

from __future__ import annotations

import numpy as np

from ..geometry import ijk_to_ras_points
from ..progress import Cancel, check, never_cancel
from .net import Net, faces_at
from .sheets import Sheets

_ROUNDS = 14  # of which the last takes vertices all the way back


def crossing_pairs(points: np.ndarray, triangles: np.ndarray) -> np.ndarray | None:
    """Pairs (N, 2) of triangles that cross each other; None if libigl is not installed.

    Found with exact predicates, without libigl's GPL parts, which are modules of their own.
    """
    try:
        from igl.predicates import find_self_intersections
    except ImportError:
        return None
    return find_self_intersections(points, triangles)[1]


def uncrossed(net: Net, positions: np.ndarray, ijk_to_ras: np.ndarray, cancel: Cancel = never_cancel) -> np.ndarray:
    """Positions (V, 3) of the net's vertices, (I, J, K), with which no triangles of a structure cross each other.

    Vertices of triangles that cross go back towards their corners of voxels, where nothing crosses, a quarter of the
    way in each round. What structures share moves for both: no gap opens. Without libigl everything stays as it is.

    Raises:
        Cancelled: ``cancel`` said so.
    """
    positions, labels = positions.copy(), None
    for remaining in reversed(range(_ROUNDS)):
        sheets, crossed = Sheets(net, positions), np.zeros(len(positions), bool)
        for label in sheets.faces if labels is None else labels:
            check(cancel)
            points, triangles, vertex = sheets.of(label)
            pairs = crossing_pairs(ijk_to_ras_points(points, ijk_to_ras), triangles)
            if pairs is None:
                return positions
            corners = np.unique(triangles[pairs.ravel()])
            crossed[vertex[corners[corners < len(vertex)]]] = True
        if not crossed.any():
            break
        moves = positions[crossed] - net.vertices[crossed]
        positions[crossed] -= moves / 4 if remaining else moves
        faces = faces_at(crossed, net.quads)
        labels = (set(net.low[faces].tolist()) | set(net.high[faces].tolist())) - {0}
    return positions
