"""RTSTRUCT: rasterised by plastimatch and scikit-image, checked by dciodvfy; and files as other programs write them."""

import shutil
import subprocess

import dicom_series
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from skimage.draw import polygon2mask

from DeepSegLogic import LabelMap, Structure, read_label_map, read_volume, write_rtstruct
from DeepSegLogic.io.dicom.contours import curves_of, mask_of
from DeepSegLogic.util.errors import InputError, UsageError

OBLIQUE = dicom_series.OBLIQUE
LARGE_ML = 5.0


@pytest.fixture(scope="module", params=[(1, 0, 0, 0, 1, 0), OBLIQUE], ids=["axial", "oblique"])
def case(request, tmp_path_factory):
    """A series, the label map, and its RTSTRUCT."""
    folder = tmp_path_factory.mktemp("rt")
    series = dicom_series.write_series(folder / "ct", request.param)
    labels = dicom_series.organs(read_volume(series).ijk_to_ras)
    assert write_rtstruct(labels, folder / "rt.dcm", source=series, provenance={"model": {"id": "ct_organs"}}) == []
    return series, labels, folder / "rt.dcm"


def rasterised_by_plastimatch(series, path, folder):
    if not shutil.which("plastimatch"):
        pytest.skip("needs plastimatch (apt-get install plastimatch)")
    command = ["plastimatch", "convert", "--input", path, "--referenced-ct", series, "--prefix-format", "nrrd"]
    subprocess.run([*command, "--output-prefix", folder], check=True, capture_output=True, timeout=120)
    return {p.stem: sitk.GetArrayFromImage(sitk.ReadImage(str(p))) > 0 for p in folder.iterdir()}


def errors_by_dciodvfy(path):
    if not shutil.which("dciodvfy"):
        pytest.skip("needs dciodvfy (apt-get install dicom3tools)")
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, timeout=60).stderr
    assert "RTStructureSet" in said
    return [line for line in said.splitlines() if line.startswith("Error")]


def test_plastimatch_rasterises_the_same_voxels(case, tmp_path):
    series, labels, path = case
    masks = rasterised_by_plastimatch(series, path, tmp_path)
    names = {"Kidney_L": "kidney_left", "Kidney_R": "kidney_right", "Liver": "liver"}
    assert sorted(masks) == sorted(names)
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, labels.mask(names[name]))  # the hole in the liver included


def test_dciodvfy_finds_no_error(case):
    assert errors_by_dciodvfy(case[2]) == []


def test_contours_lie_on_the_slices_that_they_name(case):
    series, _, path = case
    slices = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, series.iterdir())}
    seen = 0
    for roi in pydicom.dcmread(path).ROIContourSequence:
        for contour in roi.ContourSequence:
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            d = slices[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints > 2
            row, column = np.split(np.array(d.ImageOrientationPatient, float), 2)
            assert np.abs((points - d.ImagePositionPatient) @ np.cross(row, column)).max() < 1e-3
            seen += 1
    assert seen >= 20


def test_names_colours_and_references(case):
    series, labels, path = case
    data, ct = pydicom.dcmread(path), pydicom.dcmread(next(series.iterdir()))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert data[keyword].value == ct[keyword].value
    assert [r.ROIName for r in data.StructureSetROISequence] == ["Liver", "Kidney_L", "Kidney_R"]
    assert {r.ROIGenerationAlgorithm for r in data.StructureSetROISequence} == {"AUTOMATIC"}
    assert tuple(data.ROIContourSequence[0].ROIDisplayColor) == labels.structure("liver").color
    seen = [o.ROIObservationDescription for o in data.RTROIObservationsSequence]
    assert seen == ["Liver", "Left kidney", "Right kidney"]
    assert data.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0].CodeValue == "10200004"


def test_it_comes_back_the_same(case):
    series, labels, path = case
    back = read_label_map(path, series)
    assert back.warnings == []
    for structure in labels.structures[:3]:
        np.testing.assert_array_equal(back.mask(structure.name), labels.mask(structure.name))
        found = back.structure(structure.name)
        assert (found.title, found.color, found.type) == (structure.title, structure.color, structure.type)


def test_overlapping_structures_stay_whole(tmp_path):
    series = dicom_series.write_series(tmp_path / "ct")
    labels = dicom_series.overlapping(read_volume(series).ijk_to_ras)
    write_rtstruct(labels, tmp_path / "rt.dcm", source=series, corrected=True)
    back = read_label_map(tmp_path / "rt.dcm", series)
    assert len(back.layers) == 2 and "overlap" in back.warnings[0]
    for name in ("liver", "lesion"):
        np.testing.assert_array_equal(back.mask(name), labels.mask(name))
    rois = pydicom.dcmread(tmp_path / "rt.dcm").StructureSetROISequence
    assert {r.ROIGenerationAlgorithm for r in rois} == {"SEMIAUTOMATIC"}


@pytest.mark.parametrize("seed", range(12))
def test_curves_enclose_exactly_the_mask(seed):
    """Noise: islands in holes in islands. Each curve by scikit-image, joined by "or", as most programs do."""
    noise = np.random.default_rng(seed)
    mask = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise.random((40, 50))), 1.2))
    mask = mask > np.median(mask)
    curves = curves_of(mask)
    by_others = np.logical_or.reduce([polygon2mask(mask.shape, curve[:, ::-1]) for curve in curves])
    np.testing.assert_array_equal(by_others, mask)
    np.testing.assert_array_equal(mask_of(curves, mask.shape), mask)


def test_the_area_of_the_contours_is_that_of_the_mask(shared_data, tmp_path):
    """Shoelace formula: no rasteriser at all."""
    folder = shared_data / "abdomen_ct_dicom"
    labels = read_label_map(folder / "labels.nii.gz")
    write_rtstruct(labels, tmp_path / "rt.dcm", source=folder / "series")
    assert errors_by_dciodvfy(tmp_path / "rt.dcm") == []
    data, large = pydicom.dcmread(tmp_path / "rt.dcm"), 0
    for roi, drawn in zip(data.StructureSetROISequence, data.ROIContourSequence, strict=True):
        points = [np.array(c.ContourData, float).reshape(-1, 3)[:, :2] for c in drawn.ContourSequence]
        areas = [np.cross(p - p[0], np.roll(p, -1, 0) - p[0]).sum() / 2 for p in points]
        expected = labels.volume_ml(roi.ROIDescription)
        if expected > LARGE_ML:
            large += 1
            assert np.abs(areas).sum() * labels.spacing_ijk[2] / 1000 == pytest.approx(expected, rel=0.01)
    assert large > 10


def foreign(path, series, contours, kind="CLOSED_PLANAR"):
    """An RTSTRUCT by another program: contours as lists of points (N, 3), LPS, of one structure with number 0."""
    labels = LabelMap(np.ones(dicom_series.SHAPE, np.uint8), read_volume(series).ijk_to_ras, [Structure(1, "a", "GTV")])
    write_rtstruct(labels, path, source=series)
    data = pydicom.dcmread(path)
    data.Manufacturer = "Maker"
    data.StructureSetROISequence[0].ROINumber = data.ROIContourSequence[0].ReferencedROINumber = 0
    data.ROIContourSequence[0].ContourSequence = []
    for points in contours:
        contour = pydicom.Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
        contour.ContourData = [f"{x:.2f}" for x in np.ravel(points)]
        data.ROIContourSequence[0].ContourSequence.append(contour)
    data.save_as(path)
    return path


def square(i0, i1, z, y0=-50.0):
    x = np.array([i0, i1, i1, i0]) * 0.8 - 50
    return np.stack([x, y0 + np.array([0, 0, 18, 18]), np.full(4, z)], 1)


def test_files_of_others(tmp_path):
    series = dicom_series.write_series(tmp_path / "ct")
    hole = square(10, 20, 35.0, -46.0)
    found = read_label_map(
        foreign(tmp_path / "a.dcm", series, [square(5, 30, 35.0), hole, square(0, 9, 100.0)]), series
    )
    assert [s.title for s in found.structures] == [
        "GTV"
    ] and "Contours of a.dcm that lie outside the CT are left out (1)." in found.warnings[0]
    (j, i), inside = np.indices(dicom_series.SHAPE[1:]), np.zeros(dicom_series.SHAPE, bool)
    x, y = i * 0.8 - 50, j * 0.9 - 60
    outer = (x >= -46) & (x < -26) & (y >= -50) & (y < -32)
    inside[2] = outer & ~((x >= -42) & (x < -34) & (y >= -46) & (y < -28)) | (
        (x >= -42) & (x < -34) & (y >= -32) & (y < -28)
    )
    difference = np.count_nonzero((found.array > 0) != inside)
    assert difference <= 0.05 * inside.sum(), "only voxels on the curve itself may differ"


@pytest.mark.parametrize(
    ("contours", "kind", "says"),
    [
        ([square(5, 30, 36.0)], "CLOSED_PLANAR", "do not lie on the slices"),
        (
            [square(5, 30, 35.0) + np.outer([0, 1, 1, 0], [0, 0, 5])],
            "CLOSED_PLANAR",
            "do not lie on the slices",
        ),
        ([square(5, 30, float("nan"))], "CLOSED_PLANAR", "cannot be read as a structure set"),
    ],
)
def test_contours_that_cannot_be_used_are_refused(contours, kind, says, tmp_path):
    series = dicom_series.write_series(tmp_path / "ct")
    with pytest.raises(InputError, match=says):
        read_label_map(foreign(tmp_path / "a.dcm", series, contours, kind), series)


def test_open_contours_are_told(tmp_path):
    series = dicom_series.write_series(tmp_path / "ct")
    found = read_label_map(foreign(tmp_path / "a.dcm", series, [square(5, 30, 35.0)], "OPEN_PLANAR"), series)
    assert not found.array.any() and "that are open, or points, enclose nothing" in found.warnings[0]


def test_without_the_ct_or_with_another(case, tmp_path):
    _, _, path = case
    with pytest.raises(InputError, match="no voxels without their CT"):
        read_label_map(path)
    other = dicom_series.write_series(tmp_path / "ct", PatientID="P2")
    with pytest.raises(InputError, match="different patients") as refused:
        read_label_map(path, other)
    assert "P2" not in str(refused.value)


def test_a_structure_set_of_a_tcia_download_has_no_structures(shared_data):
    tcia = shared_data.parent / "cases" / "60-cohort-tcia" / "in" / "LUNG1-001" / "study"
    with pytest.raises(InputError, match="has no structures"):
        read_label_map(tcia / "RTSTRUCT 1", tcia / "CT 000000")


def test_tilted_series_and_empty_label_maps_are_refused(tmp_path):
    series = dicom_series.write_series(tmp_path / "ct")
    for path in series.iterdir():  # a gantry tilt of about 11°
        d = pydicom.dcmread(path)
        x, y, z = d.ImagePositionPatient
        d.ImagePositionPatient = [x, y + 0.2 * (z - 30), z]
        d.save_as(path)
    volume = read_volume(series)
    labels = LabelMap(np.ones(volume.array.shape, np.uint8), volume.ijk_to_ras, [Structure(1, "a", "A")])
    with pytest.raises(InputError, match="does not lie on the slices"):
        write_rtstruct(labels, tmp_path / "rt.dcm", source=series)
    straight = dicom_series.write_series(tmp_path / "straight")
    with pytest.raises(UsageError, match="nothing to draw"):
        empty = LabelMap(np.zeros(dicom_series.SHAPE, np.uint8), read_volume(straight).ijk_to_ras)
        write_rtstruct(empty, tmp_path / "rt.dcm", source=straight)
