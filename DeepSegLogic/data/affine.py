"""Voxel grids in space: 4×4 ijk-to-RAS matrices (mm), orientation codes and exact reorientation.

Arrays are (K, J, I), so array axis ``a`` is matrix column ``2 - a``. RAS is Slicer's and NIfTI's
patient coordinate system, LPS that of ITK and DICOM.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .types import Affine, FloatArray, PointsIjk, PointsRas, ScalarArray

LPS_TO_RAS: Affine = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse
_POSITIVE, _NEGATIVE = "RAS", "LPI"
_PIECE = 16384  # points per step, so that they stay in the processor's cache


def spacing_ijk(ijk_to_ras: Affine) -> FloatArray:
    """Voxel size in mm along (I, J, K)."""
    return np.asarray(np.linalg.norm(ijk_to_ras[:3, :3], axis=0), np.float64)


def has_orthogonal_axes(ijk_to_ras: Affine) -> bool:
    """Whether the axes are at right angles to each other, so that distances along them add up as squares."""
    directions = ijk_to_ras[:3, :3] / spacing_ijk(ijk_to_ras)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-6))


def spacing_kji(ijk_to_ras: Affine) -> FloatArray:
    """Voxel size in mm along (K, J, I), the axes of arrays."""
    return spacing_ijk(ijk_to_ras)[::-1]


def orientation_of(ijk_to_ras: Affine) -> str:
    """The anatomical direction nearest to each of the axes (I, J, K), e.g. ``"RAS"`` or ``"LPS"``."""
    world, sign = _axes_of(ijk_to_ras)
    return "".join(_POSITIVE[w] if s > 0 else _NEGATIVE[w] for w, s in zip(world, sign, strict=True))


def reorient(array: npt.NDArray[Any], ijk_to_ras: Affine, orientation: str) -> tuple[npt.NDArray[Any], Affine]:
    """Permute and flip the last three axes (K, J, I) so that they run nearest to ``orientation``.

    Nothing is interpolated: the returned array is a view, and the returned matrix leaves every voxel where it is in
    RAS. Leading axes (channels) are kept.

    Raises:
        ValueError: ``orientation`` is not three letters naming three different axes.
    """
    world, sign = _axes_of(ijk_to_ras)
    target_world, target_sign = _parse(orientation)
    source = [world.index(w) for w in target_world]  # new ijk axis n was old axis source[n]
    matrix = np.eye(4)
    shape_ijk = array.shape[-3:][::-1]
    flips = []
    for new, old in enumerate(source):
        column = ijk_to_ras[:3, old]
        if sign[old] != target_sign[new]:
            flips.append(new)
            column = -column
        matrix[:3, new] = column
    origin = ijk_to_ras[:3, 3].astype(float).copy()
    for new in flips:
        origin += ijk_to_ras[:3, source[new]] * (shape_ijk[source[new]] - 1)
    matrix[:3, 3] = origin
    lead = array.ndim - 3
    axes = [*range(lead), *(lead + 2 - source[2 - a] for a in range(3))]
    view = array.transpose(axes)
    index: list[slice] = [slice(None)] * array.ndim
    for new in flips:
        index[lead + 2 - new] = slice(None, None, -1)
    return view[tuple(index)], matrix


def ras_to_ijk(points_ras: npt.ArrayLike, ijk_to_ras: Affine) -> PointsIjk:
    """Continuous (I, J, K) indices of points (N, 3) in RAS mm."""
    inverse = np.linalg.inv(ijk_to_ras)
    return np.asarray(np.asarray(points_ras, float) @ inverse[:3, :3].T + inverse[:3, 3])


def ijk_to_ras_points(points_ijk: npt.ArrayLike, ijk_to_ras: Affine) -> PointsRas:
    """RAS mm of (N, 3) continuous (I, J, K) indices; a point gets the same coordinates whatever others are given."""
    places = np.asarray(points_ijk, float)
    points = np.empty_like(places)
    for at in range(0, len(places), _PIECE):
        i, j, k = places[at : at + _PIECE].T
        for axis, (a, b, c, d) in enumerate(ijk_to_ras[:3]):
            # A matrix product would round by a point's place in the array.
            points[at : at + _PIECE, axis] = i * a + j * b + k * c + d
    return points


def sampled(
    array: npt.NDArray[Any],
    ijk_to_ras: Affine,
    shape: Sequence[int],
    wanted: Affine,
    *,
    mode: Literal["constant", "nearest"] = "constant",
    cval: float = 0.0,
    order: Literal[0, 1] = 1,
) -> ScalarArray:
    """An array (K, J, I) on another grid.

    Args:
        shape, wanted: (K, J, I) and 4×4 matrix of that grid.
        order: 1 interpolates linearly, 0 takes the nearest voxel.
        mode, cval: what voxels outside the array get: ``cval``, or the nearest voxel's value.

    Returns:
        float32 of that shape.
    """
    from scipy.ndimage import affine_transform

    ijk = np.linalg.inv(ijk_to_ras) @ wanted
    step, offset = ijk[:3, :3][::-1, ::-1], ijk[:3, 3][::-1]
    result = np.empty(tuple(shape), np.float32)
    affine_transform(array, step, offset, output=result, order=order, mode=mode, cval=cval)
    return result


def resampled_matrix(ijk_to_ras: Affine, shape: Sequence[int], new_shape: Sequence[int]) -> Affine:
    """The 4×4 matrix of a grid of ``new_shape`` (K, J, I) over the same extent: outer edges coincide, not centres."""
    scale = np.array([old / new for old, new in zip(shape, new_shape, strict=True)])[::-1]
    matrix = ijk_to_ras.copy()
    matrix[:3, :3] = ijk_to_ras[:3, :3] * scale
    matrix[:3, 3] = ijk_to_ras[:3, 3] + ijk_to_ras[:3, :3] @ ((scale - 1) / 2)
    return matrix


def same_grid(a: Affine, b: Affine, tolerance_mm: float = 1e-3) -> bool:
    """Whether two ijk-to-RAS matrices describe the same grid."""
    return bool(np.allclose(a, b, rtol=0, atol=tolerance_mm))


def _axes_of(ijk_to_ras: Affine) -> tuple[list[int], list[int]]:
    """World axis (0=R, 1=A, 2=S) and sign of each ijk axis, each world axis used once.

    The assignment with the largest sum of |cosine| wins, so that oblique grids near 45° stay unambiguous.
    """
    cosines = ijk_to_ras[:3, :3] / spacing_ijk(ijk_to_ras)
    world = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, i]) for i, w in enumerate(p)))
    return list(world), [1 if cosines[w, i] >= 0 else -1 for i, w in enumerate(world)]


def _parse(orientation: str) -> tuple[list[int], list[int]]:
    world, sign = [], []
    for letter in orientation.upper():
        if letter in _POSITIVE:
            world.append(_POSITIVE.index(letter))
            sign.append(1)
        elif letter in _NEGATIVE:
            world.append(_NEGATIVE.index(letter))
            sign.append(-1)
    if sorted(world) != [0, 1, 2] or len(orientation) != 3:
        raise ValueError(f"{orientation!r} is not an orientation such as 'RAS' or 'LPS'")
    return world, sign
