"""Reorientation keeps every voxel where it was in RAS; SimpleITK's DICOMOrient is the reference."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data import affine as geometry

ORIENTATIONS = [
    "".join(("RAS", "LPI")[flip[axis]][axis] for axis in order)
    for order in permutations(range(3))
    for flip in product((0, 1), repeat=3)
]


@pytest.fixture(scope="module")
def oblique():
    """A small oblique, anisotropic, left-handed grid."""
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(np.eye(3) + 0.2 * rng.standard_normal((3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([1.0, -2.0, 3.0]) * np.sign(np.diag(rotation))
    matrix[:3, 3] = 10, -20, 30
    return rng.standard_normal((4, 5, 6)), matrix


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_reorient_keeps_voxels_in_place(oblique, orientation):
    array, matrix = oblique
    turned, turned_matrix = geometry.reorient(array, matrix, orientation)
    assert geometry.orientation_of(turned_matrix) == orientation
    kji = np.argwhere(np.ones(turned.shape))
    ras = geometry.ijk_to_ras_points(kji[:, ::-1], turned_matrix)
    ijk = np.rint(geometry.ras_to_ijk(ras, matrix)).astype(int)
    np.testing.assert_array_equal(turned[tuple(kji.T)], array[ijk[:, 2], ijk[:, 1], ijk[:, 0]])
    back, back_matrix = geometry.reorient(turned, turned_matrix, geometry.orientation_of(matrix))
    np.testing.assert_array_equal(back, array)
    np.testing.assert_allclose(back_matrix, matrix, atol=1e-9)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SAL"])
def test_reorient_equals_simpleitk(orientation):
    rng = np.random.default_rng(1)
    image = sitk.GetImageFromArray(rng.standard_normal((4, 5, 6)))
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((5, 6, 7))
    reference = sitk.DICOMOrient(image, orientation)
    matrix = geometry.LPS_TO_RAS @ np.array([[1, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    # SimpleITK and this module both name the direction that an axis runs towards.
    turned, turned_matrix = geometry.reorient(sitk.GetArrayFromImage(image), matrix, orientation)
    np.testing.assert_array_equal(turned, sitk.GetArrayFromImage(reference))
    np.testing.assert_allclose((geometry.LPS_TO_RAS @ turned_matrix)[:3, 3], reference.GetOrigin())


@pytest.mark.parametrize("orientation", ["RA", "RRS", "XYZ", "RASL"])
def test_reorient_refuses_what_is_no_orientation(orientation):
    with pytest.raises(ValueError, match="orientation"):
        geometry.reorient(np.zeros((2, 2, 2)), np.eye(4), orientation)
