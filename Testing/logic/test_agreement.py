"""The engine against nnU-Net's own predictor, and against itself on turned and resampled volumes.

The reference label maps were made by ``Testing/reference/predict_reference.py`` with nnunetv2 in an
environment of its own; ``manifest.json`` says with which weights.
"""

import hashlib
import json
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.geometry import orientation_of, reorient
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.pipeline import segment
from DeepSegLogic.volume import Volume

REFERENCE = Path(__file__).parent.parent / "data" / "nnunet_reference"


@pytest.fixture(scope="module")
def model(demo_model):
    return load_model(find_model(demo_model))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def assert_agrees(ours, theirs):
    values = [v for v in np.unique(theirs) if v]
    scores = {v: dice(ours == v, theirs == v) for v in values}
    assert np.mean(list(scores.values())) >= 0.995
    large = {v: s for v, s in scores.items() if np.count_nonzero(theirs == v) > 500}
    assert min(large.values()) >= 0.98, large


def test_reference_was_made_with_these_weights(demo_model):
    manifest = json.loads((REFERENCE / "manifest.json").read_text())
    weights = (demo_model / "fold_0" / "checkpoint_final.pth").read_bytes()
    assert manifest["ct_demo"]["checkpoint"] == f"sha256:{hashlib.sha256(weights).hexdigest()}"


def test_chest_agrees_with_nnunet(model, chest_ct):
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(REFERENCE / "chest.nii.gz")))
    assert_agrees(segment(read_volume(chest_ct), model).label_map.array, theirs)


def test_abdomen_agrees_with_nnunet(model, shared_data):
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(REFERENCE / "abdomen.nii.gz")))
    volume = read_volume(shared_data / "abdomen_ct" / "ct.nii.gz")
    assert_agrees(segment(volume, model).label_map.array, theirs)


@pytest.fixture(scope="module")
def straight(model, chest_ct):
    """The chest CT and its labels as they come, and the axis-aligned grid in RAS."""
    volume = read_volume(chest_ct)
    return volume, segment(volume, model).label_map


ORIENTATIONS = [
    "".join(("RAS", "LPI")[flip][axis] for axis, flip in zip(order, flips, strict=True))
    for order in permutations(range(3))
    for flips in product((0, 1), repeat=3)
]


@pytest.mark.parametrize("orientation", ORIENTATIONS[5::9])
def test_any_axis_order_gives_the_same_labels_at_the_same_place(model, straight, orientation):
    """Exactly: reorientation moves no voxel and interpolates none."""
    volume, expected = straight
    array, matrix = reorient(volume.array, volume.ijk_to_ras, orientation)
    turned = Volume(np.ascontiguousarray(array), matrix)
    result = segment(turned, model).label_map
    assert orientation_of(result.ijk_to_ras) == orientation
    np.testing.assert_array_equal(result.ijk_to_ras, turned.ijk_to_ras)
    back, _ = reorient(result.array, result.ijk_to_ras, orientation_of(volume.ijk_to_ras))
    np.testing.assert_array_equal(back, expected.array)


def test_an_oblique_grid_is_left_as_it_is(model, straight):
    """The patient lies turned by 20 degrees: labels follow the voxels."""
    volume, expected = straight
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    result = segment(Volume(volume.array, turn @ volume.ijk_to_ras), model).label_map
    np.testing.assert_array_equal(result.ijk_to_ras, turn @ volume.ijk_to_ras)
    np.testing.assert_array_equal(result.array, expected.array)


def test_anisotropic_resampling_keeps_structures_in_place(model, straight):
    """On a grid of 2×4.5×5 mm large structures stay where they were: centre within 4 mm, volume within 12 %."""
    volume, expected = straight
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing.tolist())
    size = [int(n * s / t) for n, s, t in zip(image.GetSize(), volume.spacing, (2.0, 4.5, 5.0), strict=True)]
    finer = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, (0, 0, 0), (2.0, 4.5, 5.0), image.GetDirection(), -1000
    )
    matrix = volume.ijk_to_ras @ np.diag([*(np.array([2.0, 4.5, 5.0]) / volume.spacing), 1])
    result = segment(Volume(sitk.GetArrayFromImage(finer), matrix), model).label_map
    for name in ("lung_left", "lung_right"):
        assert result.volume_ml(name) == pytest.approx(expected.volume_ml(name), rel=0.12)
        centres = [(m.ijk_to_ras @ [*np.argwhere(m.mask(name)).mean(0)[::-1], 1])[:3] for m in (result, expected)]
        assert np.linalg.norm(centres[0] - centres[1]) < 4
