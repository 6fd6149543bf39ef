"""Several scans, incomplete slices and other objects in one folder: small series that stand for each kind."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, EnhancedCTImageStorage, generate_uid

from DeepSegLogic.io import read_volume
from DeepSegLogic.io.dicom import files
from DeepSegLogic.util.errors import InputError
from Testing.logic.io.test_dicom import COUNT, STEP, VOXELS, within, write_enhanced, write_series, write_slice

HU = VOXELS.astype(int) - 1024
SERIES = {"SeriesInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5", "PatientID": "P"}
GSPS, KO, REG, SR, SEG, RAW = (
    f"1.2.840.10008.5.1.4.1.1.{part}" for part in ("11.1", "88.59", "66.1", "88.33", "66.4", "66")
)


def two_scans(folder, offset, first, second):
    """Slices in turns: those of the second lie ``offset`` mm above those of the first."""
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"a{k}", k, k * STEP, **SERIES | first)
        write_slice(folder / f"b{k}", COUNT + k, k * STEP + offset, VOXELS[k] + 500, **SERIES | second)
    return folder


@pytest.mark.parametrize("offset", [STEP / 2, 0.0, 0.4])
@pytest.mark.parametrize(
    ("tag", "one", "other"),
    [
        ("AcquisitionNumber", 1, 2),
        ("ConvolutionKernel", "B30f", "B70f"),
        ("PatientID", "P1", "P2"),
        ("FrameOfReferenceUID", "1.2.3", "1.2.4"),
        ("StackID", "1", "2"),
        ("TemporalPositionIdentifier", 1, 2),
        ("ContrastBolusAgent", "", "Iomeprol"),
        ("AcquisitionTime", "101010", "101200"),
    ],
)
def test_two_scans_are_never_read_in_turns(tmp_path, tag, one, other, offset):
    folder = two_scans(tmp_path / "d", offset, {tag: one}, {tag: other})
    with pytest.raises(InputError, match="2 series of the same length") as caught:
        read_volume(folder)
    assert caught.value.code == "input.dicom_ambiguous"
    np.testing.assert_array_equal(read_volume(folder / "a3").array, HU)
    np.testing.assert_array_equal(read_volume(folder / "b3").array, HU + 500)


TELLING = {
    "PatientName": ("A", "B"),
    "PatientBirthDate": ("19500101", "19610101"),
    "StudyDate": ("20200101", "20200601"),
    "SeriesTime": ("101010", "121010"),
    "SeriesNumber": (2, 3),
    "SeriesDescription": ("arterial", "venous"),
    "ProtocolName": ("Abdomen", "Liver"),
    "AcquisitionUID": ("1.2.7", "1.2.8"),
    "AcquisitionDate": ("20200101", "20200601"),
    "AcquisitionDateTime": ("20200101101010", "20200101101310"),
    "ContentTime": ("101010", "101510"),
    "IrradiationEventUID": ("1.2.7", "1.2.8"),
    "ContrastBolusStartTime": ("101000", "101200"),
    "FilterType": ("BODY FILTER", "HEAD FILTER"),
    "ReconstructionAlgorithm": ("FILTER_BACK_PROJ", "ITERATIVE"),
    "ReconstructionDiameter": (300, 310),
    "ReconstructionTargetCenterPatient": ([0.0, 0.0, 0.0], [5.0, 0.0, 0.0]),
    "ScanOptions": ("HELIX", "AXIAL"),
    "PatientPosition": ("HFS", "FFS"),
    "TriggerTime": (100, 400),
    "EchoNumbers": (1, 2),
    "RepetitionTime": (500, 3000),
    "InversionTime": (10, 20),
    "FlipAngle": (10, 20),
    "DiffusionBValue": (0.0, 800.0),
    "DeviceSerialNumber": ("1", "2"),
    "SoftwareVersions": ("a", "b"),
    "ImageComments": ("rest", "stress"),
}


@pytest.mark.parametrize("tag", TELLING)
def test_two_scans_numbered_in_turns_are_told_apart(tmp_path, tag):
    """Half a slice apart, numbered from below: nothing else than one tag tells which slices belong together."""
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(2 * COUNT):
        pixels = VOXELS[k // 2] + 500 * (k % 2)
        write_slice(folder / f"{'ab'[k % 2]}{k}", k, k * STEP / 2, pixels, **SERIES | {tag: TELLING[tag][k % 2]})
    with pytest.raises(InputError, match="2 series of the same length"):
        read_volume(folder)
    np.testing.assert_array_equal(read_volume(folder / "a4").array, HU)
    np.testing.assert_array_equal(read_volume(folder / "b5").array, HU + 500)


@pytest.mark.parametrize("tag", ["PatientName", "SeriesDescription", "ProtocolName", "ImageComments"])
def test_what_is_edited_in_some_slices_does_not_split_them(tmp_path, tag):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, **SERIES | {tag: TELLING[tag][k in (1, 4, 5)]})
    np.testing.assert_array_equal(read_volume(folder).array, HU)


def test_two_scans_that_only_their_numbers_tell_apart(tmp_path):
    with pytest.raises(InputError, match="2 series of the same length"):
        read_volume(two_scans(tmp_path / "d", STEP / 2, {}, {}))


def test_parts_of_one_scan_that_follow_each_other_are_one_volume(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, **SERIES, AcquisitionNumber=1 + k // 4, AcquisitionTime=f"10101{k}")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, HU)
    assert volume.warnings == []


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "AcquisitionNumber"])
def test_a_number_that_counts_slices_does_not_split_them(tmp_path, tag):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, **SERIES | {tag: k + 1})
    np.testing.assert_array_equal(read_volume(folder).array, HU)


def test_where_two_acquisitions_meet_the_later_one_counts(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, **SERIES, AcquisitionNumber=1 + k // 4)
    write_slice(folder / "early", 30, 4 * STEP, VOXELS[0] + 200, **SERIES, AcquisitionNumber=1)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, HU)
    assert "not early" in volume.warnings[0]


@pytest.mark.parametrize(("tag", "values"), [("SeriesDescription", ("Chest", "Chest corr.")), ("SeriesNumber", (3, 4))])
def test_what_an_archive_edits_does_not_split_a_series(tmp_path, tag, values):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, **SERIES | {tag: values[k < 5]})
    assert read_volume(folder).shape_kji == VOXELS.shape


@pytest.mark.parametrize("tag", ["PatientID", "FrameOfReferenceUID", "ConvolutionKernel"])
def test_what_one_slice_does_not_state_does_not_drop_it(tmp_path, tag):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in range(COUNT):
        stated = SERIES | {"ConvolutionKernel": "B30f"}
        write_slice(folder / f"{k}", k, k * STEP, **stated | ({tag: ""} if k in (0, COUNT - 1) else {}))
    np.testing.assert_array_equal(read_volume(folder).array, HU)


@pytest.mark.parametrize("uid", [GSPS, KO, REG, SR, SEG, RAW])
def test_objects_beside_a_ct_that_refer_to_it_are_left_out(tmp_path, uid):
    folder = write_series(tmp_path / "d")
    path = folder / "0 first"
    d = write_slice(path, 0, 0.0, PixelData=None, Rows=None, Columns=None, Modality="OT")
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = UID(uid)
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
    d.ReferencedImageSequence = [reference]
    d.save_as(path)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, HU)
    assert volume.warnings == []


def test_a_slice_without_a_position_is_told(tmp_path):
    folder = write_series(tmp_path / "d", **SERIES)
    write_slice(folder / "last", 0, 0.0, **SERIES, ImagePositionPatient=None)
    assert "last has no ImagePositionPatient" in read_volume(folder).warnings[0]
    with pytest.raises(InputError, match="last has no ImagePositionPatient"):
        read_volume(folder / "last")


def test_a_slice_without_rescaling_is_converted_as_the_others(tmp_path):
    folder = write_series(tmp_path / "d", **SERIES)
    write_slice(folder / "s00", 0, 0.0, **SERIES, RescaleSlope=None, RescaleIntercept=None)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, HU)
    assert "(s00); they are converted like the others" in volume.warnings[0]


def test_a_file_of_a_split_folder_stands_for_the_whole_series(tmp_path):
    for k in range(COUNT):
        (tmp_path / f"DIR{k // 3}").mkdir(exist_ok=True)
        write_slice(tmp_path / f"DIR{k // 3}" / f"{k % 3:08d}.DCM", k, k * STEP, **SERIES)
    np.testing.assert_array_equal(read_volume(tmp_path / "DIR1" / "00000001.DCM").array, HU)


def test_an_enhanced_ct_with_one_frame_a_file(tmp_path):
    folder = tmp_path / "d"
    for k in range(COUNT):
        write_enhanced(folder / f"{k}", [k])
    np.testing.assert_array_equal(read_volume(folder).array, HU)


def test_a_second_copy_of_an_enhanced_ct_is_decoded_once(tmp_path, monkeypatch):
    path = write_enhanced(tmp_path / "d" / "a", range(COUNT))
    (path.parent / "b").write_bytes(path.read_bytes())
    reads = []
    reader = files._reader
    monkeypatch.setattr(files, "_reader", lambda p: reads.append(p) or reader(p))
    volume = read_volume(path.parent)
    np.testing.assert_array_equal(volume.array, HU)
    assert len(reads) == 4  # headers and voxels of two files
    assert volume.warnings[0].startswith("Duplicates of ")


@pytest.mark.parametrize(
    ("charset", "text"),
    [("ISO_IR 100", "Schädel"), ("GB18030", "肝脏 平扫"), ("ISO_IR 192", "Épaule"), ("", "Schädel")],
)
def test_texts_are_read_in_their_character_set(tmp_path, charset, text):
    folder = write_series(tmp_path / "d", SeriesDescription="Sch~del", **SERIES)
    for path in folder.iterdir():
        if charset:
            d = pydicom.dcmread(path)
            d.SpecificCharacterSet, d.SeriesDescription = charset, text
            d.save_as(path)
        else:
            path.write_bytes(path.read_bytes().replace(b"Sch~del", b"Sch\xe4del"))
    assert read_volume(folder).name == text


def test_slices_that_lie_aside_are_moved_to_their_place(tmp_path):
    """A shift in the middle of the series, of two voxels: neither a straight stack nor a tilt."""
    folder, moved = tmp_path / "d", np.where(np.arange(COUNT) < 4, 0, 2)
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, origin=(-50.0 + 0.7 * moved[k], -60.0), **SERIES)
    volume = read_volume(folder)
    assert "shifted sideways" in volume.warnings[0]
    for k in range(COUNT):
        start = moved[k]
        np.testing.assert_array_equal(volume.array[k, :, start : start + VOXELS.shape[2]], HU[k])
        assert volume.array[k].size - HU[k].size == (volume.array[k] == -1024).sum() - (HU[k] == -1024).sum()
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], [50, 60, 0])


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0.1, 1, 0), (2, 0, 0, 0, 1, 0)])
def test_shear_and_scale_in_directions_are_refused(tmp_path, orientation):
    with pytest.raises(InputError, match=r"right angle|instead of 1") as caught:
        read_volume(write_series(tmp_path / "d", orientation=orientation))
    assert caught.value.code == "input.geometry"


def test_a_tilt_keeps_all_that_was_scanned(tmp_path):
    folder, shift = tmp_path / "d", 1.7
    folder.mkdir()
    for k in range(COUNT):
        write_slice(folder / f"{k}", k, k * STEP, VOXELS[k] + 1, origin=(-50.0, -60.0 + k * shift), **SERIES)
    volume = read_volume(folder)
    np.testing.assert_allclose((volume.array + 1024.0).sum((1, 2)), (VOXELS + 1.0).sum((1, 2)), rtol=1e-3)


def test_images_at_one_place_are_no_volume(tmp_path):
    folder = write_series(tmp_path / "d", **SERIES)
    for k in range(3 * COUNT):
        write_slice(
            folder / f"m{k}", k, 5.0, VOXELS[k % COUNT], SeriesInstanceUID="1.9", SeriesDescription="Monitoring"
        )
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, HU)
    with pytest.raises(InputError, match="lie at one place"):
        read_volume(folder / "m3")


def test_enhanced_frames_of_two_stacks(tmp_path):
    path = write_enhanced(tmp_path / "e" / "a", range(COUNT))
    d = pydicom.dcmread(path)
    for k, group in enumerate(d.PerFrameFunctionalGroupsSequence):
        group.update(within("FrameContentSequence", StackID="1" if k < 4 else "2", TemporalPositionIndex=1))
    d.save_as(path)
    assert d.SOPClassUID == EnhancedCTImageStorage
    with pytest.raises(InputError, match=r"stack 1.*stack 2"):
        read_volume(path)


@pytest.mark.parametrize("announced", [4096, 8192])
def test_a_table_of_values_is_applied_or_refused(tmp_path, announced):
    folder = tmp_path / "d"
    folder.mkdir()
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [announced, 0, 16], "HU"
    table.LUTData = (np.arange(4096) - 1024).astype("<i2").tobytes()
    for k in range(COUNT):
        path = folder / f"{k}"
        d = write_slice(path, k, k * STEP, **SERIES, RescaleSlope=None, RescaleIntercept=None)
        d.ModalityLUTSequence = [table]
        d["ModalityLUTSequence"][0].add_new(0x00283006, "OW", table.LUTData)
        d.save_as(path)
    if announced == 4096:
        np.testing.assert_array_equal(read_volume(folder).array, HU)
    else:
        with pytest.raises(InputError, match="damaged table"):
            read_volume(folder)
