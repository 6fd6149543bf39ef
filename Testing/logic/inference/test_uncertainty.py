"""The map of uncertainty against the softmax of the network's logits."""

import numpy as np
import pytest
import torch

from DeepSegLogic.segmentation import segment

from .tiny import model, network, volume

GRID = (2.0, 2.0, 2.0)


def softmax(source, seed=0):
    image = torch.from_numpy(np.clip(source.array, -1000, 1000).astype(np.float32) / 400)
    with torch.no_grad():
        return network(seed=seed)(image[None, None])[0].softmax(0).numpy()


def test_it_is_one_minus_the_largest_probability():
    source = volume((16, 16, 16), GRID)
    result = segment(source, model(spacing=GRID), uncertainty=True)
    assert result.uncertainty.dtype == np.uint8
    np.testing.assert_allclose(result.uncertainty, 255 * (1 - softmax(source).max(0)), atol=1.01)
    assert result.probabilities is None  # not asked for
    assert result.provenance["settings"]["uncertainty"] is True


def test_it_is_made_on_request_only():
    source = volume((16, 16, 16), GRID)
    result = segment(source, model(spacing=GRID))
    assert result.uncertainty is None
    assert "uncertainty" not in result.provenance["settings"]


@pytest.mark.parametrize("orientation", ["RAS", "LAS"])
def test_on_a_finer_grid_it_reaches_the_border(orientation):
    """Voxels beyond the outermost centres of the network's grid are no more uncertain than their neighbours."""
    source = volume((30, 30, 30), (1.0, 1.0, 1.0))
    changes = {"spacing": (3.0, 3.0, 3.0), "orientation": orientation}
    found = segment(source, model(**changes), uncertainty=True).uncertainty.astype(int)
    assert found.max() < 255
    np.testing.assert_array_equal(found[0], found[1])  # both lie within half a voxel of the network's first centre
    np.testing.assert_array_equal(found[:, :, -1], found[:, :, -2])
    coarse = found[1::3, 1::3, 1::3]
    middle = (coarse[1:] + coarse[:-1]) / 2
    np.testing.assert_allclose((found[2::3][:-1] + found[3::3])[:, 1::3, 1::3] / 2, middle, atol=1.5)
