"""Boxes of voxels: (K, J, I) slices."""

from __future__ import annotations

import numpy as np

Slices = tuple[slice, slice, slice]


def box_of(mask: np.ndarray) -> Slices | None:
    """The smallest box that holds a mask; None if it is empty."""
    ends = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        if not len(found):
            return None
        ends.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(ends)


def grown(box: Slices, margin, shape) -> Slices:
    """A box with so many voxels more on each side, (K, J, I), as far as the grid reaches."""
    margin = np.broadcast_to(np.ceil(margin).astype(int), 3)
    return tuple(
        slice(max(0, s.start - int(m)), min(n, s.stop + int(m))) for s, m, n in zip(box, margin, shape, strict=True)
    )


def common(a: Slices, b: Slices) -> Slices | None:
    """What two boxes share; None if they are apart."""
    both = tuple(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None


def within(inner: Slices, outer: Slices) -> Slices:
    """The slices of a box in an array that was cut out at another."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(inner, outer, strict=True))
