"""A segmentation that is opened on its CT: on the CT's grid, and never on another patient's."""

import shutil
from dataclasses import replace

import dicom_series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from DeepSegLogic import read_volume, write_dicom_seg, write_label_map, write_rtstruct
from DeepSegLogic.data.affine import reorient
from DeepSegLogic.io.segmentations import holds_segmentation, read_segmentation_of
from DeepSegLogic.util.errors import InputError


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A series, its volume, labels on it, and files with the labels."""
    pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')
    folder = tmp_path_factory.mktemp("given")
    series = dicom_series.write_series(folder / "ct")
    volume = read_volume(series)
    labels = dicom_series.organs(volume.ijk_to_ras)
    write_dicom_seg(labels, folder / "organs.dcm", source=series)
    write_rtstruct(labels, folder / "contours.dcm", source=series)
    write_label_map(labels, folder / "organs.seg.nrrd")
    return folder, volume, labels


@pytest.mark.parametrize("name", ["organs.dcm", "contours.dcm", "organs.seg.nrrd"])
def test_it_comes_on_the_grid_of_the_volume_as_it_is_shown(given, name):
    folder, volume, labels = given
    array, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")  # as another program may hold it
    for shown in (volume, replace(volume, array=array, ijk_to_ras=matrix)):
        found = read_segmentation_of(shown, folder / name)
        assert found.array.shape == shown.shape_kji
        np.testing.assert_allclose(found.ijk_to_ras, shown.ijk_to_ras, atol=1e-6)
        for structure in labels.structures[:3]:
            expected, _ = reorient(labels.mask(structure.name), labels.ijk_to_ras, shown.orientation)
            np.testing.assert_array_equal(found.mask(structure.name), expected)


def test_another_patients_is_refused_without_names(given, tmp_path):
    folder, _, _ = given
    other = read_volume(dicom_series.write_series(tmp_path / "ct", PatientID="P2", PatientName="Other^Name"))
    for name in ("organs.dcm", "contours.dcm"):
        with pytest.raises(InputError, match="belong to different patients") as refused:
            read_segmentation_of(other, folder / name)
        assert not any(text in str(refused.value) for text in ("Case", "Other", "P1", "P2"))
    again = read_volume(dicom_series.write_series(tmp_path / "again"))  # the same patient, another frame of reference
    with pytest.raises(InputError, match="different frames of reference"):
        read_segmentation_of(again, folder / "organs.dcm")


def test_a_volume_that_is_not_dicom(given, tmp_path):
    folder, volume, labels = given
    plain = replace(volume, source="")
    found = read_segmentation_of(plain, folder / "organs.dcm")
    assert (found.mask("liver") == labels.mask("liver")).all()
    assert any("of the same patient is unknown" in warning for warning in found.warnings)
    with pytest.raises(InputError, match="without their CT"):
        read_segmentation_of(plain, folder / "contours.dcm")
    away = plain.ijk_to_ras.copy()
    away[0, 3] += 500 * 0.8
    with pytest.raises(InputError, match="lies outside"):
        read_segmentation_of(replace(plain, ijk_to_ras=away), folder / "organs.seg.nrrd")
    away[0, 3] += 0.4
    with pytest.raises(InputError, match="does not have the voxels"):
        read_segmentation_of(replace(plain, ijk_to_ras=away), folder / "organs.seg.nrrd")
    with pytest.raises(InputError, match="no file"):
        read_segmentation_of(replace(volume, source=str(tmp_path / "gone")), folder / "organs.dcm")


def test_what_is_a_segmentation(given, tmp_path):
    folder, _, _ = given
    assert all(holds_segmentation(folder / name) for name in ("organs.dcm", "contours.dcm", "organs.seg.nrrd"))
    (tmp_path / "single").mkdir()
    shutil.copy(folder / "organs.dcm", tmp_path / "single" / "1-1")
    assert holds_segmentation(tmp_path / "single")
    sitk.WriteImage(sitk.Image(3, 3, 3, sitk.sitkInt16), str(tmp_path / "ct.nrrd"))
    slice_ = next((folder / "ct").iterdir())
    assert not any(holds_segmentation(path) for path in (folder, folder / "ct", slice_, tmp_path / "ct.nrrd"))
    with pytest.raises(InputError):
        holds_segmentation(tmp_path / "missing")
    pydicom.dcmread(slice_).save_as(tmp_path / "cut.dcm")
    (tmp_path / "cut.dcm").write_bytes((tmp_path / "cut.dcm").read_bytes()[:200])
    assert not holds_segmentation(tmp_path / "cut.dcm")
