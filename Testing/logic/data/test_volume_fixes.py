"""Cropping to the body and resampling, against SimpleITK's and closed-form answers."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.itk import sitk_image
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.data.volume_fixes import body_box, body_share, cropped_to_body, resampled

from ..grids import oblique


@pytest.fixture
def patient():
    """A body in air, with a couch below it that it does not touch; 2×2×4 mm, oblique."""
    array = np.full((40, 120, 120), -1000, np.int16)
    array[:, 40:80, 45:95] = 40
    array[:, 50:60, 60:75] = -900  # lungs do not count as outside
    array[:, 108:110, 10:110] = 200
    return Volume(array, oblique((2.0, 2.0, 4.0)), "CT", "CT")


def test_the_box_holds_the_body_and_its_margin_and_not_the_couch(patient):
    k, j, i = body_box(patient)
    assert (k.start, k.stop) == (0, 40)
    assert 24 <= j.start <= 30 and 90 <= j.stop <= 96  # 10 voxels of margin, and what the coarse look leaves open
    assert 29 <= i.start <= 35 and 105 <= i.stop <= 111
    assert body_share(patient) < 0.5


def test_cropping_moves_nothing(patient):
    cropped = cropped_to_body(patient)
    k, j, i = body_box(patient)
    np.testing.assert_array_equal(cropped.array, patient.array[k, j, i])
    first = ijk_to_ras_points(np.array([[i.start, j.start, k.start]]), patient.ijk_to_ras)
    np.testing.assert_allclose(cropped.ijk_to_ras[:3, 3], first[0])
    assert (cropped.name, cropped.modality) == ("CT", "CT")


def test_without_a_body_nothing_is_cropped():
    air = Volume(np.full((5, 6, 7), -1000, np.int16), np.eye(4))
    assert body_share(air) == 1 and cropped_to_body(air).shape_kji == (5, 6, 7)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize(
    ("spacing", "wanted"), [((0.8, 0.8, 9.0), (0.8, 0.8, 3.0)), ((0.5, 0.25, 2.0), (1.0, 1.0, 2.0))]
)
def test_resampling_keeps_the_box_and_the_values(spacing, wanted, left_handed):
    """A linear ramp in space stays what it is: the value at a place does not depend on the grid."""
    shape = (12, 40, 48)
    place = oblique(spacing, left_handed)
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)[..., ::-1]
    slope = np.array([3.0, -2.0, 1.5])
    ramp = ijk_to_ras_points(ijk.reshape(-1, 3), place).reshape(*shape, 3) @ slope
    volume = Volume(ramp.astype(np.float32), place)
    made = resampled(volume)
    np.testing.assert_allclose(made.spacing_ijk, wanted, rtol=1e-6)
    for grid in (volume, made):
        grid.corners = ijk_to_ras_points(np.array([[-0.5] * 3, np.array(grid.shape_ijk) - 0.5]), grid.ijk_to_ras)
    np.testing.assert_allclose(made.corners, volume.corners, atol=1e-6)
    inner = (slice(3, -3),) * 3
    ijk = np.stack(np.meshgrid(*[np.arange(n) for n in made.shape_kji], indexing="ij"), -1)[..., ::-1][inner]
    there = ijk_to_ras_points(ijk.reshape(-1, 3), made.ijk_to_ras) @ slope
    np.testing.assert_allclose(made.array[inner].ravel(), there, atol=1e-2)


def test_it_is_where_itk_says(patient):
    made = resampled(Volume(patient.array, oblique((1.0, 1.0, 8.0))))
    image = sitk_image(patient.array, oblique((1.0, 1.0, 8.0)))
    point = sitk_image(made.array, made.ijk_to_ras).TransformIndexToPhysicalPoint((60, 60, 50))
    assert made.array[50, 60, 60] == pytest.approx(image.EvaluateAtPhysicalPoint(point, sitk.sitkLinear), abs=1)
