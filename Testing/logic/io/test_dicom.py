"""DICOM folders as hospitals send them: real slices, and series made to go wrong in one way each."""

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    RTStructureSetStorage,
    generate_uid,
)

from DeepSegLogic.io import read_volume
from DeepSegLogic.io.read import ijk_to_ras
from DeepSegLogic.util.errors import InputError

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
    return d


def within(name, **values):
    """A functional group with one item."""
    group, item = Dataset(), Dataset()
    for tag, value in values.items():
        setattr(item, tag, value)
    setattr(group, name, [item])
    return group


def write_enhanced(path, order, intercepts=(-1024,) * COUNT):
    """All slices in one file, in any order."""
    path.parent.mkdir(exist_ok=True)
    d = write_slice(path, 0, 0.0)
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(d, tag)
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    d.NumberOfFrames, d.PixelData = len(order), VOXELS[list(order)].tobytes()
    shared = within("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.update(within("PixelMeasuresSequence", PixelSpacing=[0.8, 0.7], SliceThickness=STEP))
    d.SharedFunctionalGroupsSequence = [shared]
    d.PerFrameFunctionalGroupsSequence = []
    for k in order:
        frame = within("PlanePositionSequence", ImagePositionPatient=[-50, -60, k * STEP])
        scale = {"RescaleSlope": 1, "RescaleIntercept": intercepts[k], "RescaleType": "HU"}
        frame.update(within("PixelValueTransformationSequence", **scale))
        d.PerFrameFunctionalGroupsSequence.append(frame)
    d.save_as(path, enforce_file_format=True)
    return path


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


@pytest.mark.parametrize("order", [range(COUNT), range(COUNT)[::-1], [3, 0, 7, 1, 6, 2, 5, 4]])
def test_frames_of_one_file_are_slices(tmp_path, order):
    single = read_volume(write_series(tmp_path / "single"))
    path = write_enhanced(tmp_path / "enhanced" / "IM1", order)
    for source in (path, path.parent):
        volume = read_volume(source)
        np.testing.assert_array_equal(volume.array, VOXELS.astype(int) - 1024)
        np.testing.assert_allclose(volume.ijk_to_ras, single.ijk_to_ras)
        assert (volume.modality, volume.warnings) == ("CT", [])


def test_frames_that_make_no_volume(tmp_path):
    with pytest.raises(InputError, match="between frame 3 of a and frame 4 of a"):
        read_volume(write_enhanced(tmp_path / "a", [k for k in range(COUNT) if k != 3]))
    with pytest.raises(InputError, match="rescaled to HU in different ways"):
        read_volume(write_enhanced(tmp_path / "b", range(COUNT), range(COUNT)))


def test_a_dicomdir_stands_for_its_folder(tmp_path):
    folder = write_series(tmp_path / "cd" / "IMAGES").parent
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    np.testing.assert_array_equal(read_volume(folder / "DICOMDIR").array, VOXELS.astype(int) - 1024)


@pytest.mark.parametrize(("signed", "bits"), [(0, 12), (0, 16), (1, 16)])
def test_inverted_for_display_is_not_inverted_in_hu(tmp_path, signed, bits):
    stored = {"PixelRepresentation": signed, "BitsStored": bits, "HighBit": bits - 1}
    folder = write_series(tmp_path / "d", PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, **stored)
    np.testing.assert_array_equal(read_volume(folder).array, VOXELS.astype(int) * 2 - 1024)


def test_slices_without_preamble(tmp_path):
    folder = write_series(tmp_path / "d")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    for source in (folder, folder / "s05"):
        np.testing.assert_array_equal(read_volume(source).array, VOXELS.astype(int) - 1024)


def test_the_same_number_written_in_two_ways_is_one_series(tmp_path):
    folder = write_series(tmp_path / "d")
    for k in range(0, COUNT, 2):
        cosines = {"orientation": (1, 0.0004, 0, -0.0004, 1, 0)}
        write_slice(folder / f"s{(k * 5) % 97:02d}", k, k * STEP, **cosines, PixelSpacing=["0.80000", "0.7001"])
    assert read_volume(folder).shape == VOXELS.shape


def test_each_slice_has_its_own_rescaling(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, RescaleSlope=1 + k % 2, RescaleIntercept=-1000 - k)
    expected = [VOXELS[k].astype(int) * (1 + k % 2) - 1000 - k for k in range(COUNT)]
    np.testing.assert_array_equal(read_volume(folder).array, expected)


def test_colour_pictures_and_objects_without_a_picture(tmp_path):
    colour = {"pixels": np.zeros((ROWS, COLUMNS)), "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
    colour |= {"PixelData": bytes(ROWS * COLUMNS * 3), "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    folder = write_series(tmp_path / "d", name="colour", PlanarConfiguration=0, **colour)
    with pytest.raises(InputError, match="no DICOM series"):
        read_volume(folder)
    structures = write_slice(tmp_path / "rt", 0, 0.0, Modality="RTSTRUCT", PixelData=None, Rows=None, Columns=None)
    structures.SOPClassUID = structures.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    structures.save_as(tmp_path / "rt")
    with pytest.raises(InputError, match="structures, a report or a picture"):
        read_volume(tmp_path / "rt")


def test_real_series_equals_its_slices(shared_data):
    """JPEG 2000, empty UIDs; pydicom for the geometry, ITK's own series reader for the voxels."""
    folder = shared_data / "abdomen_ct_dicom" / "series"
    volume = read_volume(folder)
    headers = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    first = headers[0]
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3] * [-1, -1, 1], first.ImagePositionPatient)
    np.testing.assert_allclose(volume.spacing_ijk, [*first.PixelSpacing[::-1], 2.0])
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


def test_fractions_stay_where_slices_are_interpolated(tmp_path):
    """SUV of PET, for example, are a few units."""
    positions, slope = [k * STEP + (0.3 if k == 3 else 0) for k in range(COUNT)], 0.001
    for k, z in enumerate(positions):
        pixels = np.full((ROWS, COLUMNS), round(100 * z))
        pixels[0] += 7
        write_slice(tmp_path / f"{k}", k, z, pixels, RescaleSlope=slope, RescaleIntercept=0, Modality="PT")
    volume = read_volume(tmp_path)
    expected = [0.1 * k * STEP for k in range(COUNT)]
    np.testing.assert_allclose(volume.array[:, 1, 0], expected, atol=slope)
    np.testing.assert_allclose(volume.array[:, 0, 0], np.add(expected, 0.007), atol=slope)


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
    np.testing.assert_allclose(volume.spacing_ijk, [0.7, 0.8, STEP])


def test_copies_of_slices_are_left_out(tmp_path):
    folder = write_series(tmp_path / "d")
    shutil.copytree(folder, folder / "again")
    volume = read_volume(folder)
    assert volume.shape_kji == VOXELS.shape
    assert volume.warnings[0] == "Duplicates of 8 slices are not used."


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
    assert volume.shape_kji == VOXELS.shape
    assert "Abdomen" in volume.warnings[0]
    assert "Thick" in volume.warnings[0]


def test_series_of_the_same_length_are_not_guessed_between(tmp_path):
    folder = write_series(tmp_path / "d")
    write_series(folder, name="lung", SeriesDescription="Lung kernel", SeriesNumber=3)
    with pytest.raises(InputError, match="same length") as caught:
        read_volume(folder)
    assert "Lung kernel" in caught.value.message
    assert read_volume(folder / "lung00").name == "Lung kernel"


def rewritten(folder, syntax):
    for path in folder.iterdir():
        d = pydicom.dcmread(path)
        if syntax == RLELossless:
            d.compress(syntax)
        elif syntax == ExplicitVRBigEndian:
            d.PixelData = d.pixel_array.astype(">u2").tobytes()
            d.set_original_encoding(False, False)
        d.file_meta.TransferSyntaxUID = syntax
        d.save_as(path, enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_ways_to_store_slices(tmp_path, syntax):
    volume = read_volume(rewritten(write_series(tmp_path / "d"), syntax))
    np.testing.assert_array_equal(volume.array, VOXELS.astype(int) - 1024)


@pytest.mark.parametrize("syntax", [MPEG2MPML, "1.2.3.4.5"])
def test_a_compression_that_is_not_known_is_named(tmp_path, syntax):
    folder = rewritten(write_series(tmp_path / "d"), RLELossless)
    for path in folder.iterdir():
        d = pydicom.dcmread(path)
        d.file_meta.TransferSyntaxUID = UID(syntax)
        d.save_as(path)
    with pytest.raises(InputError) as caught:
        read_volume(folder)
    assert UID(syntax).name in caught.value.message and "uncompressed" in caught.value.remedy


def test_a_truncated_slice_is_an_error(tmp_path):
    folder = write_series(tmp_path / "d")
    path = folder / "s05"
    path.write_bytes(path.read_bytes()[:-120])
    with pytest.raises(InputError, match=r"truncated|missing"):
        read_volume(folder)


@pytest.mark.parametrize("keep", [0, 500])
def test_a_damaged_slice_at_the_end_is_not_left_out_in_silence(tmp_path, keep):
    """It leaves no gap, so nothing else would tell."""
    folder = write_series(tmp_path / "d")
    (folder / "s00").write_bytes((folder / "s00").read_bytes()[:keep])
    if keep:
        with pytest.raises(InputError, match="s00 cannot be decoded: it is truncated"):
            read_volume(folder)
    else:
        assert "empty files (0 bytes): s00" in read_volume(folder).warnings[0]
        (folder / "s15").write_bytes(b"")
        with pytest.raises(InputError, match=r"missing.*empty files \(0 bytes\): s00, s15"):
            read_volume(folder)


def test_stored_values_without_rescaling_are_said(tmp_path):
    volume = read_volume(write_series(tmp_path / "d", RescaleSlope=None, RescaleIntercept=None))
    assert "convert its values to HU" in volume.warnings[0]


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
