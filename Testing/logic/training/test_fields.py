"""Deformation and interpolation, against scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from DeepSegLogic.training.fields import linear, nearest, patch_positions, smooth_noise


def positions(seed, **options):
    return patch_positions((20, 22, 24), 4.0, (50.0, 60.0, 70.0), np.random.default_rng(seed), **options)


def test_without_deformation_a_patch_is_a_straight_grid_about_its_centre():
    z, y, x = positions(0, turn=0, scale=0, bend=0)
    spread = [np.diff(z[:, 0, 0]), np.diff(y[0, :, 0]), np.diff(x[0, 0, :])]
    sizes = [s.mean() / 4 for s in spread]  # only the small stretch of each axis is left
    assert np.abs(np.log(sizes)).max() <= 0.081
    assert all(np.allclose(s, s[0], atol=1e-4) for s in spread)
    np.testing.assert_allclose([z.mean(), y.mean(), x.mean()], [50, 60, 70], atol=1e-3)


def test_left_and_right_are_never_exchanged():
    for seed in range(40):
        grid = positions(seed).numpy()
        steps = np.stack([np.diff(grid, axis=a)[:, :19, :19, :19] for a in (1, 2, 3)])
        mean = steps.mean((2, 3, 4))
        assert np.linalg.det(mean) > 0 and (np.diag(mean) > 0).all()


@pytest.mark.parametrize(
    ("shape", "spacing"), [((16, 16, 16), 1.0), ((20, 64, 64), (5.0, 0.8, 0.8)), ((48, 48, 48), 3.0)]
)
def test_nothing_folds(shape, spacing):
    sizes = np.broadcast_to(spacing, 3)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        grid = patch_positions(shape, spacing, (50.0, 60.0, 70.0), rng, 0.5, 0.3, 8.0).double().numpy()
        change = [
            np.diff(grid, axis=a + 1)[:, : shape[0] - 1, : shape[1] - 1, : shape[2] - 1] / sizes[a] for a in range(3)
        ]
        assert np.linalg.det(np.stack(change).transpose(2, 3, 4, 1, 0)).min() > 0


def test_the_seed_decides():
    torch.testing.assert_close(positions(3), positions(3), rtol=0, atol=0)
    assert not torch.equal(positions(3), positions(4))


def test_interpolation_is_scipys():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(9, 11, 13)).astype(np.float32)
    where = rng.uniform(-2, 14, (3, 5, 6, 7)).astype(np.float32)
    expected = ndimage.map_coordinates(array, where, order=1, mode="nearest")
    np.testing.assert_allclose(linear(torch.from_numpy(array), torch.from_numpy(where)), expected, atol=1e-5)
    labels = rng.integers(1, 200, array.shape).astype(np.uint8)
    expected = ndimage.map_coordinates(labels, where.round(), order=0, mode="nearest")
    np.testing.assert_array_equal(nearest(torch.from_numpy(labels), torch.from_numpy(where)), expected)


def test_beyond_the_sides_lies_what_is_asked_for():
    labels = torch.ones(4, 4, 4, dtype=torch.uint8)
    where = torch.tensor([[9.0, 1.0, 1.0], [1.0, 9.0, 1.0], [1.0, 1.0, -3.0]]).T.reshape(3, 3, 1, 1)
    assert nearest(labels, where, outside=0).flatten().tolist() == [1, 0, 0]


def test_noise_is_standardised_and_smooth():
    field = smooth_noise((30, 40, 50), 10, np.random.default_rng(0))
    assert field.shape == (30, 40, 50) and abs(float(field.std()) - 1) < 1e-5
    assert float(field.diff(dim=2).std()) < 0.3
