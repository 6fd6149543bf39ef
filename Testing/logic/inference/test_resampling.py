"""The matrices do what scikit-image and torch do, whom nnU-Net calls."""

import numpy as np
import pytest
import torch
from skimage.transform import resize

from DeepSegLogic.inference.resampling import axis_matrices, resample_image, resampled_shape, separate_axis
from DeepSegLogic.models.plan import Resampling

CASES = [
    ((20, 41, 50), (2.0, 0.97, 0.97), (3.0, 3.0, 3.0)),
    ((20, 41, 50), (5.0, 4.7, 4.1), (1.5, 1.5, 1.5)),
    ((7, 9, 30), (3.0, 3.0, 1.0), (1.5, 3.0, 1.0)),
]


def image(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def resample(array, rule, old, new):
    shape = resampled_shape(array.shape, old, new)
    matrices = axis_matrices(rule, array.shape, shape, old, new)
    separate = separate_axis(rule, old, new)
    return resample_image(torch.from_numpy(array), matrices, lambda x: x.float(), separate).numpy()


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize(("shape", "old", "new"), CASES)
def test_splines_equal_scikit_image(shape, old, new, order):
    array = image(shape)
    ours = resample(array, Resampling(order=order), old, new)
    reference = resize(array.astype(float), ours.shape, order, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(ours, reference, atol=2e-5)


def test_coarse_axis_is_resampled_on_its_own():
    """At 10 mm against 3 mm: cubic within slices, nearest across them."""
    array = image((9, 20, 20))
    old, new = (10.0, 3.0, 3.0), (3.0, 1.5, 1.5)
    ours = resample(array, Resampling(order=3), old, new)
    slices = [resize(s.astype(float), ours.shape[1:], 3, mode="edge", anti_aliasing=False) for s in array]
    nearest = np.floor((np.arange(len(ours)) + 0.5) * len(array) / len(ours)).astype(int)
    np.testing.assert_allclose(ours, np.array(slices)[nearest], atol=2e-5)
    together = resample(array, Resampling(order=3, separate=False), old, new)
    assert np.abs(together - ours).max() > 0.1


@pytest.mark.parametrize(("shape", "old", "new"), CASES)
def test_torch_rule_equals_torch(shape, old, new):
    array = image(shape)
    ours = resample(array, Resampling(kind="torch"), old, new)
    reference = torch.nn.functional.interpolate(torch.from_numpy(array)[None, None], ours.shape, mode="trilinear")
    np.testing.assert_allclose(ours, reference[0, 0], atol=2e-5)


def test_parts_of_a_large_volume_equal_the_whole(monkeypatch):
    array = image((30, 40, 50))
    whole = resample(array, Resampling(order=3), (1, 1, 1), (2, 2, 2))
    monkeypatch.setattr("DeepSegLogic.inference.resampling._CHUNK_ELEMENTS", 5000)
    np.testing.assert_array_equal(resample(array, Resampling(order=3), (1, 1, 1), (2, 2, 2)), whole)
