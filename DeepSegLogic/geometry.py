"""Voxel grids in space: 4×4 ijk-to-RAS matrices (mm), orientation codes and exact reorientation.

Arrays are (K, J, I), so array axis ``a`` is matrix column ``2 - a``. RAS is Slicer's and NIfTI's
patient coordinate system, LPS that of ITK and DICOM.
"""

from __future__ import annotations

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse
_POSITIVE, _NEGATIVE = "RAS", "LPI"


def spacing_of(ijk_to_ras: np.ndarray) -> np.ndarray:
    """Voxel size in mm along (I, J, K)."""
    return np.linalg.norm(ijk_to_ras[:3, :3], axis=0)


def orientation_of(ijk_to_ras: np.ndarray) -> str:
    """The anatomical direction nearest to each of the axes (I, J, K), e.g. ``"RAS"`` or ``"LPS"``."""
    world, sign = _axes_of(ijk_to_ras)
    return "".join(_POSITIVE[w] if s > 0 else _NEGATIVE[w] for w, s in zip(world, sign, strict=True))


def reorient(array: np.ndarray, ijk_to_ras: np.ndarray, orientation: str) -> tuple[np.ndarray, np.ndarray]:
    """Permute and flip the last three axes (K, J, I) so that they run nearest to ``orientation``.

    No voxel is interpolated: the array returned is a view, and the matrix returned puts every voxel at
    the place in RAS where it was. Leading axes (channels) are kept.

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
    index = [slice(None)] * array.ndim
    for new in flips:
        index[lead + 2 - new] = slice(None, None, -1)
    return view[tuple(index)], matrix


def ras_to_ijk(points_ras: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """Continuous (I, J, K) indices of points (N, 3) in RAS mm."""
    inverse = np.linalg.inv(ijk_to_ras)
    return np.asarray(points_ras, float) @ inverse[:3, :3].T + inverse[:3, 3]


def ijk_to_ras_points(points_ijk: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """RAS mm of (N, 3) continuous (I, J, K) indices; the same to the last digit in whatever array a point is."""
    i, j, k = np.asarray(points_ijk, float).T
    # A matrix product would round by a point's place in the array.
    return np.stack([i * a + j * b + k * c + d for a, b, c, d in ijk_to_ras[:3]], 1)


def sampled(array: np.ndarray, ijk_to_ras: np.ndarray, shape, wanted: np.ndarray, **outside) -> np.ndarray:
    """An array (K, J, I) on another grid, linearly interpolated.

    Args:
        shape, wanted: (K, J, I) and 4×4 matrix of that grid.
        outside: ``mode`` and ``cval`` of :func:`scipy.ndimage.affine_transform`, for what lies beyond the array.

    Returns:
        float32 of that shape.
    """
    from scipy.ndimage import affine_transform

    ijk = np.linalg.inv(ijk_to_ras) @ wanted
    step, offset = ijk[:3, :3][::-1, ::-1], ijk[:3, 3][::-1]
    return affine_transform(array, step, offset, tuple(shape), np.float32, order=1, **outside)


def resampled_matrix(ijk_to_ras: np.ndarray, shape, new_shape) -> np.ndarray:
    """The 4×4 matrix of a grid of ``new_shape`` (K, J, I) over the same extent: voxel edges coincide, not centres."""
    scale = np.array([old / new for old, new in zip(shape, new_shape, strict=True)])[::-1]
    matrix = ijk_to_ras.copy()
    matrix[:3, :3] = ijk_to_ras[:3, :3] * scale
    matrix[:3, 3] = ijk_to_ras[:3, 3] + ijk_to_ras[:3, :3] @ ((scale - 1) / 2)
    return matrix


def same_grid(a: np.ndarray, b: np.ndarray, tolerance_mm: float = 1e-3) -> bool:
    """Whether two ijk-to-RAS matrices describe the same grid."""
    return bool(np.allclose(a, b, rtol=0, atol=tolerance_mm))


def _axes_of(ijk_to_ras) -> tuple[list[int], list[int]]:
    """World axis (0=R, 1=A, 2=S) and sign of each ijk axis, each world axis used once.

    The assignment of the largest total |cosine| wins, so that oblique grids near 45° stay unambiguous.
    """
    from itertools import permutations

    cosines = ijk_to_ras[:3, :3] / spacing_of(ijk_to_ras)
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
