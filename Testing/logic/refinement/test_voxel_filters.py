"""Distances, holes, smoothing and interpolation, against SciPy's; and corrections do not import SciPy."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from DeepSegLogic.refinement.prompt_context import PromptContext
from DeepSegLogic.refinement.voxel_filters import distance_to, filled, gaussian, resampled

SHAPES = [(7, 12, 15), (1, 9, 4), (16, 16, 16), (40, 50, 60)]
SPACING = np.array([3.0, 0.8, 1.25])


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


@pytest.mark.parametrize("share", [0.003, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("furthest", [np.inf, 4.5, 3.0])
def test_distances_are_those_of_scipy(shape, share, furthest):
    marked = np.random.default_rng(0).random(shape) < share
    marked[-1, -1, -1] = True
    wanted = ndimage.distance_transform_edt(~marked, sampling=SPACING)
    found = distance_to(marked, SPACING, furthest)
    near = wanted <= furthest
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[near], wanted[near], rtol=1e-6)
    assert np.isinf(found[~near]).all()


def test_without_marks_all_is_infinitely_far(shape):
    assert np.isinf(distance_to(np.zeros(shape, bool), SPACING)).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.6, 0.69, 0.75, 1.0])
def test_holes_are_those_of_scipy(shape, share):
    mask = np.random.default_rng(1).random(shape) < share
    np.testing.assert_array_equal(filled(mask), ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize("widths", [4.0, 2.5])
@pytest.mark.parametrize("sigma", [0.4, 2.0, (0.0, 0.7, 6.0)])
def test_smoothing_is_that_of_scipy(shape, sigma, widths):
    """Also where the kernel is larger than the array."""
    array = np.random.default_rng(2).normal(0, 100, shape)
    wanted = ndimage.gaussian_filter(array, sigma, truncate=widths)
    np.testing.assert_allclose(gaussian(array, sigma, widths), wanted, atol=1e-9)
    np.testing.assert_allclose(gaussian(array.astype(np.float32), sigma, widths), wanted, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.0, (0.4, 0.0, 0.8)])
@pytest.mark.parametrize("steps", [(2, 1, 3), (0.5, 1 / 3, 1.0)])
def test_interpolation_is_that_of_scipy(shape, steps, sigma):
    array = np.random.default_rng(3).random(shape).astype(np.float32)
    new = np.maximum(np.rint(np.array(shape) / steps).astype(int), 1)
    offset = (np.array(shape) - 1) / 2 - np.array(steps) * (new - 1) / 2
    smooth = ndimage.gaussian_filter(array, sigma)
    wanted = ndimage.affine_transform(smooth, steps, offset, output_shape=tuple(new), order=1, mode="nearest")
    np.testing.assert_allclose(resampled(array, steps, new, sigma=sigma), wanted, atol=1e-6)
    part = (slice(0, 1), slice(new[1] // 2, new[1]), slice(0, new[2]))
    np.testing.assert_allclose(resampled(array, steps, new, part, sigma), wanted[part], atol=1e-6)


def test_what_is_mirrored_gives_the_mirrored_result(shape):
    array = np.random.default_rng(4).normal(0, 100, shape).astype(np.float32)
    flip = (slice(None, None, -1),) * 3
    np.testing.assert_array_equal(gaussian(array[flip], 1.5), gaussian(array, 1.5)[flip])
    marked = array > 150
    np.testing.assert_array_equal(distance_to(marked[flip], SPACING), distance_to(marked, SPACING)[flip])
    new = np.array(shape) * (3, 2, 5)
    np.testing.assert_array_equal(
        resampled(array[flip], (1 / 3, 1 / 2, 1 / 5), new), resampled(array, (1 / 3, 1 / 2, 1 / 5), new)[flip]
    )


@pytest.mark.parametrize("steps", [(2, 2, 2), (1, 2, 2), (2, 3, 3)])
def test_coarse_masks_are_those_of_exact_sums(steps):
    """Also where a mask is exactly half of a voxel: its border runs through the middles of voxels of twice the size."""
    k, j, i = np.indices((40, 44, 47)) - 20
    candidates, seeds = k**2 + j**2 + i**2 < 200, (k == 0) & (j == 0) & (i == 0)
    goal = ~candidates & (i < 8)
    context = PromptContext(candidates.astype(np.int16), candidates, seeds, goal, np.ones(3), 5.0)
    coarse = context.coarser(np.array(steps))
    new = np.array(coarse.goal.shape)
    offset = (np.array(goal.shape) - 1) / 2 - np.array(steps) * (new - 1) / 2

    def half(mask):
        smooth = ndimage.gaussian_filter(mask.astype(np.float64), 0.4 * (np.array(steps) - 1))
        exact = ndimage.affine_transform(smooth, steps, offset, output_shape=tuple(new), order=1, mode="nearest")
        return exact.astype(np.float32) > 0.5

    np.testing.assert_array_equal(coarse.candidates, half(candidates) | coarse.seeds)
    np.testing.assert_array_equal(coarse.goal, half(goal) & ~coarse.candidates)


def test_a_correction_does_not_import_scipy():
    """Its import would take several times as long as the correction."""
    script = (
        "import sys, numpy as np\n"
        "from DeepSegLogic import LabelMap, Point, Structure, Volume, refine\n"
        "organ = np.zeros((24, 24, 24), np.uint8)\n"
        "organ[6:18, 6:18, 6:18] = 1\n"
        "volume = Volume((organ * 150 - 90).astype(np.int16), np.eye(4))\n"
        "organ[8:16, 8:16, 6:12] = 0\n"
        "labels = LabelMap(organ, np.eye(4), [Structure(1, 'liver', 'Liver')])\n"
        "assert refine(labels, [Point('liver', True, (8.0, 12.0, 12.0))], volume=volume).changes_ml\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'scipy']\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
