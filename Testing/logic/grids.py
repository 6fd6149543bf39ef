"""Grids that lie askew in space."""

import numpy as np


def oblique(spacing, left_handed=False):
    """4×4 ijkToRAS of a turned grid with this spacing (I, J, K) in mm."""
    rotation, _ = np.linalg.qr(np.eye(3) + 0.3 * np.random.default_rng(1).standard_normal((3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag(spacing)
    if (np.linalg.det(matrix[:3, :3]) < 0) != left_handed:
        matrix[:3, 0] *= -1
    matrix[:3, 3] = 100, -50, 900
    return matrix
