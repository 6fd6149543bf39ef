"""A made-up CT for measurements of time and memory. Needs numpy only."""

from collections.abc import Sequence

import numpy as np


def body(shape: Sequence[int]) -> np.ndarray:
    """A body of ellipsoids with noise, the same one each time: (K, J, I) int16 HU; ``shape`` is (I, J, K)."""
    rng = np.random.default_rng(0)
    size = np.array(shape)
    array = np.full(shape, -1000, np.float32, order="F")

    def ellipsoid(at, radii, value):
        box = tuple(slice(max(0, int(c - r)), min(n, int(c + r) + 2)) for c, r, n in zip(at, radii, shape, strict=True))
        grid = np.ogrid[box]
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, at, radii, strict=True)) < 1
        array[box][inside] = value

    ellipsoid(size / 2, size * (0.42, 0.32, 0.7), 20)
    for _ in range(60):
        at = size / 2 + rng.uniform(-0.28, 0.28, 3) * size
        ellipsoid(at, rng.uniform(0.02, 0.1, 3) * size, rng.uniform(-800, 1000))
    for plane in array.T:  # a plane at a time bounds the memory
        plane += rng.standard_normal(plane.shape, np.float32) * 15
    return array.T.astype(np.int16)
