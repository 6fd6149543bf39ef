"""DICOM SEG: read by highdicom and dcmqi, checked by dciodvfy; and files as other programs write them."""

import shutil
import subprocess
import sys

import dicom_series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from DeepSegLogic import LabelMap, read_label_map, read_volume, write_dicom_seg, write_label_map
from DeepSegLogic.data.affine import reorient
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io.dicom.seg_writer import write_dicom_labelmap
from DeepSegLogic.io.read import ijk_to_ras
from DeepSegLogic.util.errors import InputError, UsageError

hd = pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')

RUN = {"model": {"id": "ct_organs", "version": "2.1"}}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return dicom_series.write_series(tmp_path_factory.mktemp("seg") / "ct")


@pytest.fixture(scope="module")
def labels(series):
    return dicom_series.organs(read_volume(series).ijk_to_ras)


@pytest.fixture(scope="module")
def written(series, labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("seg") / "organs.seg.dcm"
    assert write_dicom_seg(labels, path, source=series, provenance=RUN) == []
    return path


def by_highdicom(path):
    """Bool masks (K, J, I) by segment label, on the planes that have frames, and their positions along z."""
    seg = hd.seg.segread(path)
    volume = seg.get_volume(combine_segments=False, allow_missing_positions=True)
    return {d.SegmentLabel: volume.array[..., n] > 0 for n, d in enumerate(seg.SegmentSequence)}, volume


def errors_by_dciodvfy(path):
    if not shutil.which("dciodvfy"):
        pytest.skip("needs dciodvfy (apt-get install dicom3tools)")
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, timeout=60).stderr
    assert "Segmentation" in said
    return [line for line in said.splitlines() if line.startswith("Error")]


def test_highdicom_reads_the_same_voxels(written, labels):
    masks, volume = by_highdicom(written)
    assert list(masks) == ["Liver", "Left kidney", "Right kidney"]  # the lung has no voxels
    to_ours = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ labels.ijk_to_ras) @ volume.affine  # highdicom: (K, J, I), LPS
    planes = np.rint(to_ours[2, 3] + to_ours[2, 0] * np.arange(len(volume.array))).astype(int)
    for name, mask in masks.items():
        expected = np.zeros(labels.array.shape, bool)
        expected[planes] = mask
        np.testing.assert_array_equal(labels.mask(name), expected)


def test_codes_colours_algorithm_and_patient(written, series, labels):
    seg, ct = hd.seg.segread(written), pydicom.dcmread(next(series.iterdir()))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "AccessionNumber"):
        assert seg[keyword].value == ct[keyword].value
    liver, left, _ = seg.SegmentSequence
    assert liver.segmented_property_type == hd.sr.CodedConcept("10200004", "SCT", "Liver")
    assert liver.segmented_property_category.value == "123037004"
    assert left.segmented_property_type.value == "64033007"
    modifier = left.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (modifier.CodeValue, modifier.CodeMeaning) == ("7771000", "Left")
    color = hd.color.CIELabColor.from_dicom_value(list(liver.RecommendedDisplayCIELabValue)).to_rgb()
    assert np.abs(np.subtract(color, labels.structure("liver").color)).max() <= 1
    assert liver.SegmentAlgorithmType == "AUTOMATIC" and liver.SegmentAlgorithmName == "DeepSeg ct_organs"
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "2.1"
    sources = {
        item.ReferencedSOPInstanceUID: group.PlanePositionSequence[0].ImagePositionPatient
        for group in seg.PerFrameFunctionalGroupsSequence
        for item in group.DerivationImageSequence[0].SourceImageSequence
    }
    slices = {d.SOPInstanceUID: d.ImagePositionPatient for d in map(pydicom.dcmread, series.iterdir())}
    assert len(sources) > 5 and sources.items() <= slices.items()


def test_a_corrected_result_is_semiautomatic(series, labels, tmp_path):
    write_dicom_seg(labels, tmp_path / "a.dcm", source=series, corrected=True)
    assert {s.SegmentAlgorithmType for s in pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence} == {"SEMIAUTOMATIC"}


def test_regions_and_their_sides_come_back(series, labels, tmp_path):
    """A cyst of the left kidney and nodules of the lungs."""
    names = {1: "kidney_cyst_left", 2: "lung_nodules"}
    array = np.where(labels.array == 5, 1, 2 * (labels.array > 0)).astype(np.uint8)
    cysts = LabelMap(array, labels.ijk_to_ras, [structure_for(n, v) for v, n in names.items()])
    write_dicom_seg(cysts, tmp_path / "a.dcm", source=series)
    assert errors_by_dciodvfy(tmp_path / "a.dcm") == []
    cyst, nodule = hd.seg.segread(tmp_path / "a.dcm").SegmentSequence
    assert cyst.anatomic_regions == [hd.sr.CodedConcept("64033007", "SCT", "Kidney")]
    assert cyst.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeMeaning == "Left"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in cyst.SegmentedPropertyTypeCodeSequence[0]
    assert nodule.anatomic_regions[0].meaning == "Lung"
    write_label_map(cysts, tmp_path / "a.seg.nrrd")
    for path in (tmp_path / "a.dcm", tmp_path / "a.seg.nrrd"):
        for found, structure in zip(read_label_map(path).structures, cysts.structures, strict=True):
            assert (found.region, found.laterality) == (structure.region, structure.laterality)
            assert (found.type, found.category, found.modifier) == (structure.type, structure.category, None)


def test_dciodvfy_finds_no_error(written):
    assert errors_by_dciodvfy(written) == []


def test_dcmqi_reads_the_same_voxels(written, labels, tmp_path):
    pytest.importorskip("dcmqi", reason="needs dcmqi (pip install dcmqi)")
    program = "import sys; from dcmqi import segimage2itkimage; sys.exit(segimage2itkimage())"
    command = [sys.executable, "-c", program, "--inputDICOM", written, "--outputDirectory", tmp_path, "-t", "nii"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    for number, name in enumerate(("liver", "kidney_left", "kidney_right"), 1):
        image = sitk.ReadImage(str(tmp_path / f"{number}.nii.gz"))
        mask = sitk.GetArrayFromImage(image) > 0
        assert mask.sum() == labels.mask(name).sum()
        places = [(ijk_to_ras(image) @ [*index[::-1], 1])[:3] for index in np.argwhere(mask)[::50]]
        back = np.rint(np.array([np.linalg.inv(labels.ijk_to_ras) @ [*p, 1] for p in places])).astype(int)
        assert all(labels.mask(name)[k, j, i] for i, j, k, _ in back)


def test_it_comes_back_the_same(written, labels, series):
    alone, placed = read_label_map(written), read_label_map(written, series)
    assert placed.warnings == alone.warnings == []
    np.testing.assert_allclose(placed.ijk_to_ras, labels.ijk_to_ras)
    for structure in labels.structures[:3]:
        np.testing.assert_array_equal(placed.mask(structure.name), labels.mask(structure.name))
        assert alone.volume_ml(structure.name) == pytest.approx(labels.volume_ml(structure.name), rel=1e-6)
        back = placed.structure(structure.name)
        same = ("title", "color", "category", "type", "laterality")
        assert [getattr(back, n) for n in same] == [getattr(structure, n) for n in same]


def test_oblique_flipped_and_overlapping(tmp_path):
    series = dicom_series.write_series(tmp_path / "ct", dicom_series.OBLIQUE)
    labels = dicom_series.overlapping(read_volume(series).ijk_to_ras)
    array, matrix = reorient(labels.array, labels.ijk_to_ras, "SRP")
    turned = LabelMap(array, matrix, labels.structures)
    turned.layers = [LabelMap(reorient(x.array, x.ijk_to_ras, "SRP")[0], matrix, x.structures) for x in labels.layers]
    write_dicom_seg(turned, tmp_path / "a.dcm", source=series)
    assert errors_by_dciodvfy(tmp_path / "a.dcm") == []
    masks, _ = by_highdicom(tmp_path / "a.dcm")
    assert [m.sum() for m in masks.values()] == [labels.mask(s.name).sum() for s in labels.structures]
    back = read_label_map(tmp_path / "a.dcm", series)
    assert len(back.layers) == 2 and "overlap" in back.warnings[0]
    for structure in labels.structures:
        np.testing.assert_array_equal(back.mask(structure.name), labels.mask(structure.name))


def test_frames_in_any_order_without_a_stated_distance(written, labels, series, tmp_path):
    seg = pydicom.dcmread(written)
    frames = seg.pixel_array
    order = np.random.default_rng(0).permutation(len(frames))
    seg.PerFrameFunctionalGroupsSequence = [seg.PerFrameFunctionalGroupsSequence[k] for k in order]
    seg.PixelData = np.packbits(frames[order].ravel(), bitorder="little").tobytes()
    del seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    seg.save_as(tmp_path / "shuffled.dcm")
    alone, placed = read_label_map(tmp_path / "shuffled.dcm"), read_label_map(tmp_path / "shuffled.dcm", series)
    assert "does not state how far its slices are apart: 2.5 mm" in alone.warnings[0] and placed.warnings == []
    for name in ("liver", "kidney_left", "kidney_right"):
        np.testing.assert_array_equal(placed.mask(name), labels.mask(name))


def test_label_map_segmentations(series, labels, tmp_path):
    sources = [pydicom.dcmread(p, stop_before_pixels=True) for p in series.iterdir()]
    sources.sort(key=lambda d: d.ImagePositionPatient[2])
    number = {"series_number": 1, "instance_number": 1, "series_instance_uid": hd.UID(), "sop_instance_uid": hd.UID()}
    maker = ("manufacturer", "manufacturer_model_name", "software_versions", "device_serial_number")
    voxels = (labels.array == 5).astype(np.uint8) * 3
    parts = [described(1), described(3)]
    seg = hd.seg.Segmentation(sources, voxels, "LABELMAP", parts, **number, **dict.fromkeys(maker, "1"))
    seg.save_as(tmp_path / "a.dcm")
    back = read_label_map(tmp_path / "a.dcm", series)
    np.testing.assert_array_equal(back.array == 3, labels.mask("liver"))
    assert [s.title for s in back.structures] == ["Part 1", "Part 3"] and back.warnings == []


def described(number):
    tissue = hd.sr.CodedConcept("85756007", "SCT", "Tissue")
    return hd.seg.SegmentDescription(number, f"Part {number}", tissue, tissue, "MANUAL")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: setattr(d, "SegmentationType", "FRACTIONAL"), "holds fractional segments"),
        (lambda d: setattr(d, "PixelData", d.PixelData[:100]), "truncated"),
        *(
            (lambda d, keyword=keyword: d.pop(keyword), "cannot be read as a segmentation")
            for keyword in ("SegmentSequence", "Rows", "Columns", "BitsAllocated")
        ),
        (lambda d: setattr(d, "Rows", 0), "cannot be read as a segmentation"),
        (lambda d: d.pop("PerFrameFunctionalGroupsSequence"), "does not state the position"),
        (
            lambda d: setattr(
                d.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0], "ImagePositionPatient", [9, 9, 9e9]
            ),
            "even distances",
        ),
    ],
)
def test_damaged_files_are_refused(change, says, written, tmp_path):
    seg = pydicom.dcmread(written)
    change(seg)
    seg.save_as(tmp_path / "bad.dcm")
    with pytest.raises(InputError, match=says):
        read_label_map(tmp_path / "bad.dcm")


@pytest.mark.parametrize("tags", [{"PatientID": "P2"}, {"FrameOfReferenceUID": "1.2.3"}])
def test_the_ct_of_somebody_else_is_refused_without_names(tags, written, tmp_path):
    other = dicom_series.write_series(tmp_path / "ct", **tags)
    if "PatientID" in tags:
        for path in other.iterdir():  # the very same frame of reference
            d = pydicom.dcmread(path)
            d.FrameOfReferenceUID = pydicom.dcmread(written).FrameOfReferenceUID
            d.save_as(path)
    with pytest.raises(InputError, match=r"different (patients|frames of reference)") as refused:
        read_label_map(written, other)
    assert "P1" not in str(refused.value) and "P2" not in str(refused.value) and "Test" not in str(refused.value)


@pytest.mark.parametrize("tag", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_what_a_series_lacks_is_refused_or_told(tag, labels, tmp_path):
    series = dicom_series.write_series(tmp_path / "ct", **{tag: None})
    if tag == "FrameOfReferenceUID":
        with pytest.raises(InputError, match="no frame of reference"):
            write_dicom_seg(labels, tmp_path / "a.dcm", source=series)
        assert not (tmp_path / "a.dcm").exists()
    else:
        assert "StudyInstanceUID" in write_dicom_seg(labels, tmp_path / "a.dcm", source=series)[0]
        assert pydicom.dcmread(tmp_path / "a.dcm").StudyInstanceUID


def test_other_grids_and_other_files_are_refused(labels, series, chest_ct, tmp_path):
    moved = LabelMap(labels.array, labels.ijk_to_ras + np.eye(4)[:, [3, 0, 1, 2]], labels.structures)
    with pytest.raises(InputError, match="does not lie on the slices"):
        write_dicom_seg(moved, tmp_path / "a.dcm", source=series)
    with pytest.raises(InputError, match="not a DICOM series"):
        write_dicom_seg(labels, tmp_path / "a.dcm", source=chest_ct)
    with pytest.raises(UsageError, match="no structures"):
        write_dicom_seg(LabelMap(labels.array * 0, labels.ijk_to_ras), tmp_path / "a.dcm", source=series)


def test_the_real_series_without_uids(shared_data, tmp_path):
    folder = shared_data / "abdomen_ct_dicom"
    labels = read_label_map(folder / "labels.nii.gz")
    warnings = write_dicom_seg(labels, tmp_path / "a.dcm", source=folder / "series")
    assert "no StudyInstanceUID and no SeriesInstanceUID" in warnings[0]
    assert errors_by_dciodvfy(tmp_path / "a.dcm") == []
    back = read_label_map(tmp_path / "a.dcm")
    for structure in labels.structures:
        assert (back.mask(structure.name)[:, ::-1] == labels.mask(structure.name)).all()


def test_a_download_of_tcia_reads_its_segmentations(shared_data):
    study = shared_data.parent / "cases" / "60-cohort-tcia" / "in" / "LUNG1-001" / "study"
    found = read_label_map(study / "SEG 1")  # highdicom 0.7 wrote it
    assert found.array.shape == (3, 16, 16) and found.structures[0].title == "first segment"
    reference = hd.seg.segread(study / "SEG 1" / "1-1.dcm")
    np.testing.assert_array_equal(found.array > 0, reference.pixel_array > 0)


def test_a_label_map_segmentation_holds_the_same_voxels(tmp_path):
    series = dicom_series.write_series(tmp_path / "ct", dicom_series.OBLIQUE)
    grid = read_volume(series).ijk_to_ras
    labels = dicom_series.organs(grid)
    write_dicom_labelmap(labels, tmp_path / "a.dcm", source=series)
    written = pydicom.dcmread(tmp_path / "a.dcm")
    assert (written.SOPClassUID, written.SegmentationType) == ("1.2.840.10008.5.1.4.1.1.66.7", "LABELMAP")
    numbers = {s.SegmentLabel: s.SegmentNumber for s in written.SegmentSequence}
    volume = hd.seg.segread(tmp_path / "a.dcm").get_volume(combine_segments=True)
    back = read_label_map(tmp_path / "a.dcm", series)
    for structure in labels.structures[:3]:
        np.testing.assert_array_equal(back.mask(structure.name), labels.mask(structure.name))
        assert np.count_nonzero(volume.array == numbers[structure.title]) == labels.mask(structure.name).sum()
        found = next(s for s in back.structures if s.name == structure.name)
        assert (found.type, found.title) == (structure.type, structure.title)
    with pytest.raises(UsageError, match="Structures overlap"):
        write_dicom_labelmap(dicom_series.overlapping(grid), tmp_path / "b.dcm", source=series)
    assert not (tmp_path / "b.dcm").exists()
