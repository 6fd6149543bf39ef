"""What makes a CT worse, against projections and closed forms."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from DeepSegLogic.enhance.degradations import (
    REFERENCE_MM,
    WATER_MU,
    between,
    low_dose,
    noise_levels,
    slice_profile,
    thickened,
)


def cylinder(diameter_mm, pixel=4.0, size=120):
    y, x = (np.mgrid[:size, :size] - size // 2) * pixel
    return np.where(np.hypot(y, x) < diameter_mm / 2, 0, -1000).astype(np.float32)


@pytest.mark.parametrize("diameter", [200.0, REFERENCE_MM, 400.0])
def test_noise_in_the_middle_grows_with_the_attenuation_of_the_water_around(diameter):
    """The rays through the middle of a cylinder all have the same length."""
    pytest.importorskip("skimage")
    level = noise_levels(cylinder(diameter), np.array([4.0, 4.0]))[60, 60]
    assert level == pytest.approx(np.exp(WATER_MU * (diameter - REFERENCE_MM) / 2), rel=0.06)


def test_the_map_of_noise_is_that_of_reconstructed_photon_counts():
    """Poisson counts of the rays of an elliptic body, through scikit-image's filtered back-projection."""
    transform = pytest.importorskip("skimage.transform")
    y, x = (np.mgrid[:64, :64] - 32) * 6.0
    body = np.where(np.hypot(y / 90, x / 160) < 1, 0, -1000).astype(np.float32)
    angles, rng = np.linspace(0, 180, 60, endpoint=False), np.random.default_rng(0)
    rays = transform.radon(WATER_MU * (1 + body / 1000), angles, circle=False) * 6
    images = []
    for _ in range(30):
        counts = np.maximum(rng.poisson(1e5 * np.exp(-rays)), 1)
        images.append(transform.iradon(-np.log(counts / 1e5) - rays, angles, output_size=64, circle=False))
    seen = np.sqrt(uniform_filter(np.var(images, 0), 5))  # of 30 images alone, each pixel is 13 % off
    told = noise_levels(body, np.array([6.0, 6.0]))
    inside = np.hypot(y / 80, x / 150) < 1
    assert np.corrcoef(seen[inside], told[inside])[0, 1] > 0.9
    for place in ((32, 32), (32, 12), (20, 32)):  # relative to the middle
        assert told[place] / told[32, 32] == pytest.approx(seen[place] / seen[32, 32], rel=0.12)


def test_low_dose_noise_has_the_stated_size_no_bias_and_is_correlated_in_the_plane_only():
    pytest.importorskip("skimage")
    water = np.stack([cylinder(REFERENCE_MM, 2.0, 240)] * 4)
    noise = low_dose(water, np.array([3.0, 2.0, 2.0]), 30.0, 0.2, np.random.default_rng(1)) - water
    middle = noise[:, 90:150, 90:150]
    assert middle.std() == pytest.approx(30, rel=0.15) and abs(middle.mean()) < 3
    beside = np.corrcoef(middle[:, :, 1:].ravel(), middle[:, :, :-1].ravel())[0, 1]
    across = np.corrcoef(middle[1:].ravel(), middle[:-1].ravel())[0, 1]
    assert beside > 0.2 and abs(across) < 0.05


@pytest.mark.parametrize("factor", range(2, 7))
def test_a_slice_profile_sums_to_one_is_even_and_as_wide_as_the_thickness(factor):
    weights = slice_profile(factor)
    assert weights.sum() == pytest.approx(1) and weights == pytest.approx(weights[::-1])
    assert (weights > weights.max() / 2 + 1e-9).sum() <= factor <= (weights >= weights.max() / 2 - 1e-9).sum() + 1


@pytest.mark.parametrize("axis", range(3))
def test_thick_slices_keep_a_ramp_and_their_places_and_interpolation_keeps_them(axis):
    ramp = np.moveaxis(np.broadcast_to(np.arange(25, dtype=np.float32)[:, None, None], (25, 3, 4)), 0, axis)
    thick = thickened(ramp, 4, axis)
    inner = np.moveaxis(thick, axis, 0)[1:-1]
    assert inner[:, 0, 0] == pytest.approx(np.arange(4, 21, 4))
    fine = between(thick, 4, axis)
    assert fine.shape == ramp.shape
    np.testing.assert_allclose(np.moveaxis(fine, axis, 0)[::4], np.moveaxis(thick, axis, 0), atol=1e-4)
