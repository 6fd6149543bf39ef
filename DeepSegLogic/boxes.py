"""Boxes of voxels: (K, J, I) slices."""

from __future__ import annotations

import numpy as np

from .geometry import ijk_to_ras_points

Slices = tuple[slice, slice, slice]


def box_of(mask: np.ndarray) -> Slices | None:
    """The smallest box that holds a mask; None if it is empty."""
    rows = mask.any(2)  # the fast axis first: the others then have little left to look at
    where = [np.flatnonzero(hit) for hit in (rows.any(1), rows.any(0), mask.any((0, 1)))]
    return tuple(slice(int(w[0]), int(w[-1]) + 1) for w in where) if len(where[0]) else None


def grown(box: Slices, margin, shape) -> Slices:
    """A box with so many voxels more on each side, (K, J, I), as far as the grid reaches."""
    margin = np.broadcast_to(np.ceil(margin).astype(int), 3)
    return tuple(
        slice(max(0, s.start - int(m)), min(n, s.stop + int(m))) for s, m, n in zip(box, margin, shape, strict=True)
    )


def matrix_of(box: Slices, ijk_to_ras: np.ndarray) -> np.ndarray:
    """The 4×4 matrix of the part of a grid that lies in a box."""
    matrix = ijk_to_ras.copy()
    matrix[:3, 3] = ijk_to_ras_points([[s.start for s in box[::-1]]], ijk_to_ras)[0]
    return matrix


def common(a: Slices, b: Slices) -> Slices | None:
    """What two boxes share; None if they are apart."""
    both = tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None


def within(inner: Slices, outer: Slices) -> Slices:
    """The slices of a box in an array that was cut out at another."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(inner, outer, strict=True))
