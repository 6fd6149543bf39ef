"""The engine against nnU-Net's own predictor, and against itself on turned and resampled volumes.

The reference label maps were made by ``Testing/reference/predict_reference.py`` with nnunetv2 in an
environment of its own; ``manifest.json`` says with which weights.
"""

import hashlib
import json
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data.affine import orientation_of, reorient
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.segmentation import segment

DATA = Path(__file__).parents[2] / "data"
REFERENCES = {
    "ct_demo": DATA / "nnunet_reference",
    "anisotropic": DATA / "nnunet_anisotropic" / "predicted",
    "2d": DATA / "nnunet_2d" / "predicted",
}


@pytest.fixture(scope="module")
def folders(demo_model):
    """The bundled model, one whose slices are so far apart that nnU-Net resamples them on their own, and a 2D one."""
    return {"ct_demo": demo_model, "anisotropic": DATA / "nnunet_anisotropic", "2d": DATA / "nnunet_2d"}


@pytest.fixture(scope="module")
def models(folders):
    """Their networks alone: what the bundled model's card leaves out, nnU-Net keeps."""
    plain = {"min_piece_ml": {}, "one_piece": []}
    return {name: load_model(replace(find_model(folder), **plain)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def model(models):
    return models["ct_demo"]


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("name", REFERENCES)
def test_reference_was_made_with_these_weights(name, folders):
    (facts,) = json.loads((REFERENCES[name] / "manifest.json").read_text("utf-8")).values()
    weights = (folders[name] / "fold_0" / "checkpoint_final.pth").read_bytes()
    assert facts["checkpoint"] == f"sha256:{hashlib.sha256(weights).hexdigest()}"


@pytest.fixture(params=["chest", "abdomen", "dicom"])
def image(request):
    """A real CT: its name, and where it is."""
    if request.param == "chest":
        return request.param, request.getfixturevalue("chest_ct")
    inside = {"abdomen": "abdomen_ct/ct.nii.gz", "dicom": "abdomen_ct_dicom/series"}[request.param]
    return request.param, request.getfixturevalue("shared_data") / inside


@pytest.mark.parametrize("name", REFERENCES)
def test_labels_are_those_of_nnunet(name, image, models):
    """Mean Dice of 0.999 at least; what differs are borders, where two classes are equally probable."""
    title, source = image
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(REFERENCES[name] / f"{title}.nii.gz")))
    ours = segment(read_volume(source), models[name]).label_map.array
    scores = {v: dice(ours == v, theirs == v) for v in np.unique(theirs) if v}
    assert np.mean(list(scores.values())) >= 0.999
    large = {v: s for v, s in scores.items() if np.count_nonzero(theirs == v) > 500}
    assert min(large.values()) >= 0.998, large
    assert np.count_nonzero(ours != theirs) <= 1e-3 * np.count_nonzero(theirs)


@pytest.mark.parametrize("name", REFERENCES)
def test_fast_is_close_to_nnunet(name, image, models):
    """In the patient's box, mean Dice of 0.99 at least over structures of more than 500 voxels, in half precision
    where there is one. Beyond it, 20 mm around all that is above -500 HU, nothing is labelled."""
    title, source = image
    volume = read_volume(source)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(REFERENCES[name] / f"{title}.nii.gz")))
    ours = segment(volume, models[name], quality="fast").label_map.array
    patient = sitk.GetImageFromArray((volume.array > -500).astype(np.uint8))
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(patient)
    x, y, z, dx, dy, dz = statistics.GetBoundingBox(1)
    margin = np.ceil(20 / volume.spacing_kji).astype(int)
    box = tuple(slice(max(0, a - m), a + n + m) for a, n, m in zip((z, y, x), (dz, dy, dx), margin, strict=True))
    assert np.count_nonzero(ours) == np.count_nonzero(ours[box])
    ours, theirs = ours[box], theirs[box]
    large = [v for v in np.unique(theirs) if v and np.count_nonzero(theirs == v) > 500]
    assert np.mean([dice(ours == v, theirs == v) for v in large]) >= 0.99


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


def test_a_region_of_interest_has_the_labels_of_the_whole(model, straight):
    volume, expected = straight
    centre = (volume.ijk_to_ras @ [*np.array(volume.shape_ijk) / 2, 1])[:3]
    part = segment(volume, model, roi=[*(centre - 40), *(centre + 40)]).label_map.array
    touched = np.nonzero(part)
    inside = tuple(slice(t.min(), t.max() + 1) for t in touched)
    assert len(np.unique(part)) > 3
    np.testing.assert_array_equal(part[inside], expected.array[inside])


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
    image.SetSpacing(volume.spacing_ijk.tolist())
    size = [int(n * s / t) for n, s, t in zip(image.GetSize(), volume.spacing_ijk, (2.0, 4.5, 5.0), strict=True)]
    finer = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, (0, 0, 0), (2.0, 4.5, 5.0), image.GetDirection(), -1000
    )
    matrix = volume.ijk_to_ras @ np.diag([*(np.array([2.0, 4.5, 5.0]) / volume.spacing_ijk), 1])
    result = segment(Volume(sitk.GetArrayFromImage(finer), matrix), model).label_map
    for name in ("lung_left", "lung_right"):
        assert result.volume_ml(name) == pytest.approx(expected.volume_ml(name), rel=0.12)
        centres = [(m.ijk_to_ras @ [*np.argwhere(m.mask(name)).mean(0)[::-1], 1])[:3] for m in (result, expected)]
        assert np.linalg.norm(centres[0] - centres[1]) < 4
