"""Bending: the last steps of fairing for slices thicker than their voxels are wide.

The net's own Laplacian counts its edges the same along all axes, whatever their lengths, which makes staircases flat.
But where a surface of thick slices turns sharply, as at the rim of a spleen, its least energy leaves pleats. So a few
steps follow towards the least energy of the triangles in mm: Σ |L x|², where L is the Laplacian with the cotangents of
their angles as weights, which gives the mean curvature (Meyer et al., Discrete differential-geometry operators for
triangulated 2-manifolds, VisMath 2002).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..util.openmp import usable_cores
from .surface import PIECE, IndexArray
from .surface_net import Columns, cross

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_STEPS = 5
_STEP = np.float32(0.4)  # of the gradient; up to half, steps converge if no weight is negative
MOMENTUM = np.float32(0.8)  # how much of a step the next one begins with
_LEAST, _MOST = np.float32(0.02), np.float32(4)  # limits of a cotangent: angles beyond 90° count a little
_FLAT = np.float32(1e-6)  # twice the area of a triangle that has none


def bend_less(quads: IndexArray, places: Columns, low: Columns, high: Columns) -> Columns:
    """Places of vertices nearer to the least bending energy, within their box.

    Args:
        quads: (F, 4) corners of the faces, which are split along the diagonal from the first to the third.
        places: (3, V) of the vertices within the box, in widths of the smallest side of a voxel.
        low, high: (3, V) sides of the box; the same for a vertex that stays.
    """
    along = partial(_bend_less_along, mean_of_neighbours(quads, places))
    with ThreadPoolExecutor(min(3, usable_cores())) as pool:
        return np.stack(list(pool.map(along, places, low, high)))


def _bend_less_along(
    mean: csr_matrix, places: npt.NDArray[np.float32], low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Projected gradient steps with momentum, along one axis."""
    before = places
    for _ in range(_STEPS):
        ahead = places + MOMENTUM * (places - before)
        before = places
        pull = mean @ ahead - ahead
        places = np.minimum(np.maximum(ahead - _STEP * (mean @ pull - pull), low), high)
    return places


def mean_of_neighbours(quads: IndexArray, places: Columns) -> csr_matrix:
    """Sparse matrix (V, V) with the means of neighbours, weighted with cotangents; see :func:`bend_less`."""
    means = _edges(quads, places)
    sums = np.maximum(np.add.reduceat(means.data, means.indptr[:-1]), _LEAST)  # each vertex has edges
    means.data /= np.repeat(sums, np.diff(means.indptr))
    return means


def _edges(quads: IndexArray, places: Columns) -> csr_matrix:
    """Sparse matrix (V, V) with the cotangents of all edges, in both directions. Those of two faces are in it twice, as
    adding them up takes many times as long."""
    from scipy.sparse import coo_matrix

    a, b, c, d = quads.T
    start, end = np.concatenate([a, c, a, c, a, b, b, d, d, c]), np.concatenate([b, b, d, d, c, a, c, a, c, a])
    weights = np.tile(_cotangents(quads, places).ravel(), 2)
    edges = coo_matrix((weights, (start, end)), (places.shape[1],) * 2)
    edges.has_canonical_format = True  # else SciPy adds up
    return edges.tocsr()


def _cotangents(quads: IndexArray, places: Columns) -> npt.NDArray[np.float32]:
    """(5, F) of the sides ab, cb, ad and cd of faces, and of their diagonal ac: sums of the cotangents of the angles
    opposite to them, in these faces."""
    weights = np.empty((5, len(quads)), np.float32)
    for at in range(0, len(quads), PIECE):
        piece = weights[:, at : at + PIECE]
        a, b, c, d = places.take(quads[at : at + PIECE].T, 1).swapaxes(0, 1)
        diagonal = c - a
        piece[4] = 0
        for corner, (side_a, side_c) in ((b, piece[:2]), (d, piece[2:4])):
            from_a, from_c = corner - a, corner - c
            area = np.maximum(np.sqrt((cross(from_a, from_c) ** 2).sum(0)), _FLAT)
            side_a[:] = _limited(-(from_c * diagonal).sum(0) / area)
            side_c[:] = _limited((from_a * diagonal).sum(0) / area)
            piece[4] += _limited((from_a * from_c).sum(0) / area)
    return weights


def _limited(cotangents: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.minimum(np.maximum(cotangents, _LEAST), _MOST)
