"""Boxes of voxels: (K, J, I) slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .affine import ijk_to_ras_points
from .types import Affine, PointsRas, Slices


def whole(shape: Sequence[int]) -> Slices:
    """The box that holds all voxels of a grid (K, J, I)."""
    return _box(slice(0, n) for n in shape)


def box_of(mask: npt.NDArray[Any]) -> Slices | None:
    """The smallest box that holds all non-zero voxels of a (K, J, I) array; None if there are none."""
    rows = np.asarray(mask.any(axis=2))  # the fast axis first: the others then have little left to look at
    where = [np.flatnonzero(hit) for hit in (rows.any(1), rows.any(0), mask.any((0, 1)))]
    return _box(slice(int(w[0]), int(w[-1]) + 1) for w in where) if len(where[0]) else None


def grown(box: Slices, margin: npt.ArrayLike, shape: Sequence[int]) -> Slices:
    """A box enlarged by ``margin`` voxels, one number or (K, J, I), on each side, within a grid of this shape."""
    voxels = np.broadcast_to(np.ceil(margin).astype(int), 3)
    return _box(
        slice(max(0, s.start - int(m)), min(n, s.stop + int(m))) for s, m, n in zip(box, voxels, shape, strict=True)
    )


def matrix_of(box: Slices, ijk_to_ras: Affine) -> Affine:
    """The 4×4 matrix of the part of a grid that lies in a box."""
    matrix = ijk_to_ras.copy()
    matrix[:3, 3] = ijk_to_ras_points([[s.start for s in box[::-1]]], ijk_to_ras)[0]
    return matrix


def common(a: Slices, b: Slices) -> Slices | None:
    """The intersection of two boxes; None if it is empty."""
    both = _box(slice(max(p.start, q.start), min(p.stop, q.stop)) for p, q in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None


def within(inner: Slices, outer: Slices) -> Slices:
    """The slices of the box ``inner`` in an array cut out at ``outer``."""
    return _box(slice(s.start - o.start, s.stop - o.start) for s, o in zip(inner, outer, strict=True))


def size_of(box: Slices) -> tuple[int, int, int]:
    """Voxels along each axis of a box."""
    k, j, i = (s.stop - s.start for s in box)
    return k, j, i


def between(start: Iterable[int], stop: Iterable[int]) -> Slices:
    """The box from a first voxel to before a last one, both (K, J, I)."""
    return _box(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def placed(inner: Slices, outer: Slices) -> Slices:
    """The box on the grid that is ``inner`` in an array cut out at ``outer``; the inverse of :func:`within`."""
    return _box(slice(o.start + s.start, o.start + s.stop) for s, o in zip(inner, outer, strict=True))


def hull(boxes: Sequence[Slices]) -> Slices:
    """The smallest box that holds all of some boxes, one at least."""
    return _box(slice(min(b[a].start for b in boxes), max(b[a].stop for b in boxes)) for a in range(3))


def boxes_by_label(labels: npt.NDArray[Any]) -> dict[int, Slices]:
    """Label value → the smallest box that holds it in a (K, J, I) array, for labels with voxels; found in one pass."""
    from scipy.ndimage import find_objects

    return {value: _box(box) for value, box in enumerate(find_objects(labels), start=1) if box}


def corners_of(box: Slices, ijk_to_ras: Affine) -> PointsRas:
    """The centers of the eight voxels in the corners of a box, (8, 3) in RAS mm."""
    ends = np.array([[s.start, s.stop - 1] for s in box[::-1]], float)
    return ijk_to_ras_points(np.stack(np.meshgrid(*ends), -1).reshape(-1, 3), ijk_to_ras)


def _box(slices: Iterable[slice]) -> Slices:
    k, j, i = slices
    return k, j, i
