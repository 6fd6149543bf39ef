"""Tidying steps against SimpleITK, scikit-image and closed formulas."""

import numpy as np
import pytest
import SimpleITK as sitk
from skimage import measure

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.refinement import postprocess as steps
from DeepSegLogic.util.errors import UsageError

SPACING = (3.0, 1.0, 1.5)  # K, J, I


def map_of(array):
    return LabelMap(
        array.astype(np.uint8),
        np.diag([SPACING[2], SPACING[1], SPACING[0], 1.0]),
        [structure_for("liver", 5), structure_for("spleen", 1)],
    )


@pytest.fixture
def blobs():
    """Random pieces of liver and spleen of many sizes."""
    rng = np.random.default_rng(3)
    image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rng.normal(size=(24, 40, 36))), 1.4)
    smooth = sitk.GetArrayFromImage(image)
    return map_of(np.where(smooth > 0.06, 5, np.where(smooth < -0.08, 1, 0)))


def test_components_are_kept_by_size(blobs):
    pieces = measure.label(blobs.array == 5, connectivity=1)
    sizes = np.bincount(pieces.ravel())[1:]
    assert len(sizes) > 5
    kept = steps.keep_largest_component(blobs, "liver").array
    np.testing.assert_array_equal(kept == 5, pieces == sizes.argmax() + 1)
    np.testing.assert_array_equal(kept == 1, blobs.array == 1)
    limit = int(np.median(sizes)) + 1
    kept = steps.remove_small_components(blobs, "liver", limit * blobs.voxel_ml).array
    np.testing.assert_array_equal(kept == 5, np.isin(pieces, np.flatnonzero(sizes >= limit) + 1))


def test_holes_of_background_are_filled(blobs):
    array = np.zeros((20, 20, 20), np.uint8)
    array[4:16, 4:16, 4:16] = 5
    array[6:9, 6:9, 6:9] = 0
    array[11:13, 11:13, 11:13] = 1
    filled = steps.fill_holes(map_of(array), "liver").array
    assert (filled[6:9, 6:9, 6:9] == 5).all() and (filled[11:13, 11:13, 11:13] == 1).all()
    expected = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray((blobs.array == 5).astype(np.uint8))))
    found = steps.fill_holes(blobs, "liver").array
    np.testing.assert_array_equal(found == 5, (expected > 0) & (blobs.array != 1))


@pytest.mark.parametrize("mm", [4.0, -3.0])
def test_margin_is_a_distance(blobs, mm):
    image = sitk.GetImageFromArray((blobs.array == 5).astype(np.uint8))
    image.SetSpacing(SPACING[::-1])
    apart = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True))
    found = steps.margin(blobs, "liver", mm).array
    np.testing.assert_array_equal(found == 1, blobs.array == 1)
    if mm > 0:
        np.testing.assert_array_equal(found == 5, (apart <= mm) & (blobs.array != 1))
    else:  # to the border voxels that map measures from inside, one voxel off
        inside = sitk.GetArrayFromImage(
            sitk.DanielssonDistanceMap(image == 0, useImageSpacing=True, squaredDistance=False)
        )
        assert ((found == 5) == (inside > -mm + 1e-4)).mean() > 0.999


@pytest.mark.parametrize("method", ["gaussian", "median"])
def test_smoothing_takes_a_spike_and_keeps_a_flat_border(method):
    array = np.zeros((24, 40, 40), np.uint8)
    array[:, :20] = 5
    array[12, 20:30, 20] = 5
    array[:, 35:] = 1
    found = steps.smooth(map_of(array), "liver", 3.0, method).array
    assert (found[4:-4, :20, 4:-4] == 5).all() and not (found[:, 21:] == 5).any()
    np.testing.assert_array_equal(found == 1, array == 1)


def test_unknown_structures_are_refused_and_empty_ones_stay(blobs):
    with pytest.raises(UsageError):
        steps.fill_holes(blobs, "lifer")
    empty = map_of(np.zeros((4, 4, 4)))
    assert not steps.keep_largest_component(empty, "liver").array.any()
