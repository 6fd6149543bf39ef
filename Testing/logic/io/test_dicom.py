"""DICOM folders as hospitals send them: real slices, and series made to go wrong in one way each."""

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from DeepSegLogic.errors import InputError
from DeepSegLogic.io import read_volume
from DeepSegLogic.io.reading import ijk_to_ras

ROWS, COLUMNS, COUNT = 12, 10, 8
STEP = 2.5
VOXELS = np.random.default_rng(0).integers(0, 2000, (COUNT, ROWS, COLUMNS)).astype(np.uint16)


def write_slice(path, k, z, pixels=None, origin=(-50.0, -60.0), orientation=(1, 0, 0, 0, 1, 0), **tags):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    d.Modality, d.SeriesDescription, d.SeriesNumber = "CT", "Abdomen", 2
    d.SeriesInstanceUID = d.StudyInstanceUID = d.PatientID = ""
    d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.InstanceNumber = k + 1
    d.ImagePositionPatient = [*origin, z]
    d.ImageOrientationPatient = list(orientation)
    d.PixelSpacing, d.SliceThickness = [0.8, 0.7], STEP
    d.RescaleSlope, d.RescaleIntercept = 1, -1024
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    pixels = VOXELS[k] if pixels is None else pixels
    d.Rows, d.Columns = pixels.shape
    d.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(d, name)
        else:
            setattr(d, name, value)
    d.save_as(path, enforce_file_format=True)


def write_series(folder, positions=None, name="s", **tags):
    folder.mkdir(exist_ok=True, parents=True)
    positions = [k * STEP for k in range(COUNT)] if positions is None else positions
    for k, z in enumerate(positions):
        # names that sort otherwise than positions
        write_slice(folder / f"{name}{(k * 5) % 97:02d}", k, z, **tags)
    return folder


def test_positions_give_order_and_grid(tmp_path):
    volume = read_volume(write_series(tmp_path / "mit Leerzeichen ä"))
    np.testing.assert_array_equal(volume.array, VOXELS.astype(int) - 1024)
    expected = np.diag([-0.7, -0.8, STEP, 1.0])  # columns are I; LPS to RAS
    expected[:3, 3] = 50, 60, 0
    np.testing.assert_allclose(volume.ijk_to_ras, expected)
    assert volume.modality == "CT"
    assert volume.warnings == []


def test_real_series_equals_its_slices(shared_data):
    """JPEG 2000, empty UIDs; pydicom for the geometry, ITK's own series reader for the voxels."""
    folder = shared_data / "abdomen_ct_dicom" / "series"
    volume = read_volume(folder)
    headers = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    first = headers[0]
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3] * [-1, -1, 1], first.ImagePositionPatient)
    np.testing.assert_allclose(volume.spacing, [*first.PixelSpacing[::-1], 2.0])
    names = [str(d.filename) for d in headers]
    reference = sitk.ReadImage(names, imageIO="GDCMImageIO")
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(reference))
    np.testing.assert_allclose(volume.ijk_to_ras, ijk_to_ras(reference), atol=1e-6)


def test_one_file_names_its_series(tmp_path):
    folder = write_series(tmp_path / "d")
    assert read_volume(next(folder.iterdir())).shape == VOXELS.shape


def test_a_missing_slice_is_an_error(tmp_path):
    positions = [k * STEP + (STEP if k > 3 else 0) for k in range(COUNT)]
    with pytest.raises(InputError, match="missing") as caught:
        read_volume(write_series(tmp_path / "d", positions))
    assert "5.00 mm instead of 2.50 mm" in caught.value.message


def test_slightly_uneven_slices_are_interpolated(tmp_path):
    positions = [k * STEP + (0.3 if k == 3 else 0) for k in range(COUNT)]
    ramp = {"pixels": None}
    folder = tmp_path / "d"
    folder.mkdir()
    for k, z in enumerate(positions):  # grey value = 100 z + 500: linear interpolation restores it
        write_slice(folder / f"{k}", k, z, **(ramp | {"pixels": np.full((ROWS, COLUMNS), round(100 * z + 500))}))
    volume = read_volume(folder)
    np.testing.assert_allclose(volume.array[:, 0, 0], [100 * k * STEP + 500 - 1024 for k in range(COUNT)], atol=1)
    assert "unevenly" in volume.warnings[0]


def test_a_tilted_gantry_is_straightened(tmp_path):
    """A tilted bar, constant along the tilt's own direction, stands upright afterwards."""
    folder, shift = tmp_path / "d", 0.8  # one voxel per slice
    folder.mkdir()
    for k in range(COUNT):
        pixels = np.zeros((ROWS, COLUMNS))
        pixels[9 - k] = 1000  # seen at the same y in space: -60 + k * 0.8 + (9 - k) * 0.8
        write_slice(folder / f"{k}", k, k * STEP, pixels, origin=(-50.0, -60.0 + k * shift))
    volume = read_volume(folder)
    assert "tilted by 17.7°" in volume.warnings[0]
    assert (volume.array[:, 9] == 1000 - 1024).all()
    np.testing.assert_allclose(volume.spacing, [0.7, 0.8, STEP])


def test_copies_of_slices_are_left_out(tmp_path):
    folder = write_series(tmp_path / "d")
    shutil.copytree(folder, folder / "again")
    volume = read_volume(folder)
    assert volume.shape == VOXELS.shape
    assert "there twice" in volume.warnings[0]


def test_two_phases_in_one_series_are_not_mixed(tmp_path):
    folder = write_series(tmp_path / "d")
    for k in range(COUNT):
        write_slice(folder / f"late{k}", k, k * STEP, VOXELS[k] + 7)
    with pytest.raises(InputError, match="same place but differ"):
        read_volume(folder)


def test_of_several_series_the_longest_ct_is_taken(tmp_path):
    folder = write_series(tmp_path / "d")
    for k in range(4):
        write_slice(folder / f"thick{k}", k, k * 5.0, SeriesDescription="Thick", SeriesNumber=3)
    for k in range(COUNT + 3):
        write_slice(folder / f"mr{k}", k % COUNT, k * STEP, Modality="MR", SeriesNumber=4)
    write_slice(folder / "scout", 0, 0.0, np.zeros((40, 50)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    volume = read_volume(folder)
    assert volume.shape == VOXELS.shape
    assert "Abdomen" in volume.warnings[0]
    assert "Thick" in volume.warnings[0]


def test_series_of_the_same_length_are_not_guessed_between(tmp_path):
    folder = write_series(tmp_path / "d")
    write_series(folder, name="lung", SeriesDescription="Lung kernel", SeriesNumber=3)
    with pytest.raises(InputError, match="same length") as caught:
        read_volume(folder)
    assert "Lung kernel" in caught.value.message
    assert read_volume(folder / "lung00").name == "Lung kernel"


def test_a_truncated_slice_is_an_error(tmp_path):
    folder = write_series(tmp_path / "d")
    path = folder / "s05"
    path.write_bytes(path.read_bytes()[:-120])
    with pytest.raises(InputError, match=r"truncated|missing"):
        read_volume(folder)


def test_stored_values_without_rescaling_are_said(tmp_path):
    volume = read_volume(write_series(tmp_path / "d", RescaleSlope=None, RescaleIntercept=None))
    assert "no rescaling" in volume.warnings[0]


def test_sagittal_slices_stand_where_they_should(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, 0.0, orientation=(0, 1, 0, 0, 0, -1), ImagePositionPatient=[k * STEP, 0, 0])
    volume = read_volume(folder)
    assert volume.orientation in ("PIL", "PIR")
    origin = volume.ijk_to_ras @ [0, 0, COUNT - 1 if volume.orientation == "PIR" else 0, 1]
    assert volume.array.shape == VOXELS.shape
    assert abs(origin[0]) in (0, (COUNT - 1) * STEP)
