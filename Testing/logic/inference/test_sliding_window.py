"""The grid of windows is nnU-Net's, and what the windows contribute to a voxel sums to one."""

import numpy as np
import pytest
import torch

from DeepSegLogic.inference.sliding_window import WindowGrid, axis_shares, window_starts


@pytest.mark.parametrize(
    ("size", "patch", "step", "expected"),
    [
        (110, 64, 0.5, [0, 23, 46]),  # the example in nnU-Net's own source
        (64, 64, 0.5, [0]),
        (65, 64, 0.5, [0, 1]),
        (128, 64, 0.5, [0, 32, 64]),
        (100, 64, 1.0, [0, 36]),
    ],
)
def test_starts(size, patch, step, expected):
    assert window_starts(size, patch, step) == expected


@pytest.mark.parametrize(("size", "patch"), [(110, 64), (64, 64), (301, 32), (9, 8)])
def test_shares_of_a_voxel_sum_to_one(size, patch):
    starts = window_starts(size, patch, 0.5)
    total = np.zeros(size)
    for start, share in axis_shares(size, patch, starts).items():
        total[start : start + patch] += share.numpy()
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_share_is_the_gaussian_normalised():
    """Against weights made and summed in 3D, as the reference implementation does."""
    shape = (20, 16, 24)
    grid = WindowGrid(shape, (16, 16, 16), 0.5)
    centred = torch.arange(16) - 8
    axis = torch.exp(-0.5 * (centred / 2.0) ** 2).clamp_min(1e-4)
    weight = axis[:, None, None] * axis[:, None] * axis
    total = torch.zeros(shape)
    for z, inner in grid.levels():
        for y, x in inner:
            total[z : z + 16, y : y + 16, x : x + 16] += weight
    z, inner = list(grid.levels())[-1]
    y, x = inner[-1]
    a, b, c = grid.share((z, y, x))
    expected = weight / total[z : z + 16, y : y + 16, x : x + 16]
    torch.testing.assert_close(a * b * c, expected, atol=1e-5, rtol=1e-4)
