"""A rigid transform from the centres of structures, to start from."""

from __future__ import annotations

import numpy as np

from ..data.types import Affine, PointsRas

_LEAST = 3  # centres for a rotation
_WIDE_MM = 15.0  # how far centres must spread in a second direction: those of a straight spine do not tell how it turns
_FAR = 2.5  # times the median distance: a centre this far off is left out once


def rigid_from_centres(source: PointsRas, target: PointsRas) -> Affine:
    """The 4×4 rigid matrix that brings centres (N, 3) nearest to others in the sense of least squares.

    Rotations come from the singular value decomposition (Kabsch, 1976). Centres that lie far off, as of a full and an
    empty bladder, are left out. Where there are too few, or they lie on a line, the result is a translation.
    """
    matrix = _fitted(source, target)
    distance = np.linalg.norm(source @ matrix[:3, :3].T + matrix[:3, 3] - target, axis=1)
    near = distance <= _FAR * np.median(distance) + 1e-6
    return _fitted(source[near], target[near])


def _fitted(source: PointsRas, target: PointsRas) -> Affine:
    matrix = np.eye(4)
    middle, goal = source.mean(0), target.mean(0)
    if len(source) >= _LEAST:
        spread = np.linalg.svd(source - middle, compute_uv=False) / np.sqrt(len(source))
        if spread[1] > _WIDE_MM:
            u, _, vt = np.linalg.svd((source - middle).T @ (target - goal))
            mirror = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
            matrix[:3, :3] = vt.T @ mirror @ u.T
    matrix[:3, 3] = goal - matrix[:3, :3] @ middle
    return matrix
