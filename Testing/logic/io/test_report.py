"""Measurement reports (TID 1500): checked by dciodvfy, printed by dsrdump, read by highdicom."""

import re
import shutil
import subprocess

import dicom_series
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from DeepSegLogic import LabelMap, measure, read_label_map, read_volume, write_measurement_report
from DeepSegLogic.cli import main
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.results.folder import export_result
from DeepSegLogic.util.errors import InputError, UsageError

hd = pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')

RUN = {"model": {"id": "ct_organs", "version": "2.1"}}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A series, its volume with other values in each organ, the label map, its measurements and the report."""
    folder = tmp_path_factory.mktemp("sr")
    series = dicom_series.write_series(folder / "ct")
    volume = read_volume(series)
    labels = dicom_series.organs(volume.ijk_to_ras)
    volume.array[:] += 60 * labels.array
    rows = measure(labels, volume)
    assert write_measurement_report(rows, labels, folder / "a.dcm", source=series, provenance=RUN) == []
    return series, labels, rows, folder / "a.dcm"


def program(*command):
    if not shutil.which(command[0]):
        pytest.skip(f"needs {command[0]} (apt-get install dicom3tools dcmtk)")
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def errors_by_dciodvfy(path):
    said = program("dciodvfy", "-new", path).stderr
    assert "SR" in said
    return [line for line in said.splitlines() if line.startswith("Error")]


def test_dciodvfy_finds_no_error(case):
    assert errors_by_dciodvfy(case[3]) == []


def test_dsrdump_prints_every_volume_and_mean(case):
    _, labels, rows, path = case
    printed = program("dsrdump", "+Pc", path)
    assert printed.returncode == 0 and "Imaging Measurement Report" in printed.stdout
    groups = printed.stdout.split("CONTAINER:(125007,DCM")[1:]
    assert len(groups) == 3  # the lung has no voxels
    for group, row in zip(groups, rows, strict=False):
        assert f'"{row.title}"' in group
        numbers = [float(n) for n in re.findall(r'NUM:\(.*?\)="([-0-9.]+)"', group)]
        assert numbers == pytest.approx([row.volume_ml, row.mean_hu, row.sd_hu], rel=1e-4, abs=1e-4)
        assert row.volume_ml == pytest.approx(labels.volume_ml(row.name))


def test_highdicom_reads_codes_sides_and_slices(case):
    series, labels, _, path = case
    report = hd.sr.srread(path)
    ct = pydicom.dcmread(next(series.iterdir()))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert report[keyword].value == ct[keyword].value
    liver, left, _ = report.content.get_image_measurement_groups()
    assert liver.finding_type == hd.sr.CodedConcept("10200004", "SCT", "Liver")
    assert left.finding_sites[0].topographical_modifier is None and left.finding_sites[0].laterality.meaning == "Left"
    algorithm = {item.name.meaning: item.value for item in liver[0].ContentSequence if item.ValueType == "TEXT"}
    assert algorithm["Algorithm Name"] == "DeepSeg ct_organs" and algorithm["Algorithm Version"] == "2.1"
    places = {d.SOPInstanceUID: d.ImagePositionPatient[2] for d in map(pydicom.dcmread, series.iterdir())}
    for group, name in ((liver, "liver"), (left, "kidney_left")):
        (image,) = group.source_images
        plane = labels.mask(name).sum((1, 2)).argmax()
        z = (labels.ijk_to_ras @ [0, 0, plane, 1])[2]
        assert places[image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID] == pytest.approx(z)
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {item.ReferencedSOPInstanceUID for item in evidence} == set(places)


def test_regions_corrections_and_other_modalities(tmp_path):
    """A cyst of the left kidney, on MR: no HU."""
    series = dicom_series.write_series(tmp_path / "mr", Modality="MR", SliceThickness=None)
    volume = read_volume(series)
    array = dicom_series.ball((6, 22, 20), 6).astype(np.uint8)
    labels = LabelMap(array, volume.ijk_to_ras, [structure_for("kidney_cyst_left", 1)])
    write_measurement_report(measure(labels, volume), labels, tmp_path / "a.dcm", source=series, corrected=True)
    assert errors_by_dciodvfy(tmp_path / "a.dcm") == []
    (group,) = hd.sr.srread(tmp_path / "a.dcm").content.get_image_measurement_groups()
    assert [m.name.meaning for m in group.get_measurements()] == ["Volume"]
    assert group.finding_type.meaning == "Cyst"
    assert (group.finding_sites[0].topographical_modifier, group.finding_sites[0].laterality.meaning) == (None, "Left")
    texts = [item.TextValue for item in group[0].ContentSequence if item.ValueType == "TEXT"]
    assert "Corrected by a person" in texts


def test_volumes_that_the_field_of_view_cuts_are_lower_bounds(tmp_path):
    """A liver that leaves the first slice and a spleen that does not; read by highdicom, pydicom, dciodvfy, dsrdump."""
    series = dicom_series.write_series(tmp_path / "ct")
    volume = read_volume(series)
    liver, spleen = dicom_series.ball((0, 24, 12), 5), dicom_series.ball((6, 24, 30), 4)
    structures = [structure_for("liver", 1), structure_for("spleen", 2)]
    labels = LabelMap((liver + 2 * spleen).astype(np.uint8), volume.ijk_to_ras, structures)
    path = tmp_path / "a.dcm"
    write_measurement_report(measure(labels, volume), labels, path, source=series)

    cut, whole = hd.sr.srread(path).content.get_image_measurement_groups()
    volumes = [group.get_measurements(hd.sr.CodedConcept("118565006", "SCT", "Volume"))[0] for group in (cut, whole)]
    assert (volumes[0].qualifier.value, volumes[0].qualifier.scheme_designator) == ("276138003", "SCT")  # SNOMED's ≥
    assert volumes[0].value == pytest.approx(liver.sum() * labels.voxel_ml, rel=1e-5)  # and the number stays
    assert volumes[1].qualifier is None and whole.get_qualitative_evaluations(codes.DCM.QualityFinding) == []
    (finding,) = cut.get_qualitative_evaluations(codes.DCM.QualityFinding)
    assert finding.value == codes.DCM.AnatomyCoverageIncomplete
    assert all(m.qualifier is None for m in cut.get_measurements() if m.unit.value != "mL")

    qualified = [item for item in walked(pydicom.dcmread(path)) if "NumericValueQualifierCodeSequence" in item]
    assert [item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue for item in qualified] == ["mL"]
    assert errors_by_dciodvfy(path) == []
    assert program("dsrdump", "+Pc", path).stdout.count("Anatomy coverage incomplete") == 1


def walked(item):
    """A content item and all below it."""
    yield item
    for below in item.get("ContentSequence", ()):
        yield from walked(below)


def test_nothing_to_report_and_other_grids_are_refused(case, tmp_path):
    series, labels, rows, _ = case
    empty = LabelMap(labels.array * 0, labels.ijk_to_ras, labels.structures)
    with pytest.raises(UsageError, match="nothing to report"):
        write_measurement_report(measure(empty, read_volume(series)), empty, tmp_path / "a.dcm", source=series)
    moved = LabelMap(labels.array, labels.ijk_to_ras + np.eye(4)[:, [3, 0, 1, 2]], labels.structures)
    with pytest.raises(InputError, match="does not lie on the slices"):
        write_measurement_report(rows, moved, tmp_path / "a.dcm", source=series)
    assert not (tmp_path / "a.dcm").exists()


def test_it_is_a_format_of_results(case, chest_ct, tmp_path, capfd):
    series, labels, _, _ = case
    (path,) = export_result(tmp_path / "out", labels, read_volume(series), ["sr"], source=series)
    assert path.name == "measurements.sr.dcm" and errors_by_dciodvfy(path) == []
    assert main(["segment", str(chest_ct), "-o", str(tmp_path / "a"), "-f", "sr"]) == 3
    assert "not a DICOM series" in capfd.readouterr().err


def test_the_real_series(shared_data, tmp_path):
    folder = shared_data / "abdomen_ct_dicom"
    labels = read_label_map(folder / "labels.nii.gz")
    rows = measure(labels, read_volume(folder / "series"))
    write_measurement_report(rows, labels, tmp_path / "a.dcm", source=folder / "series")
    assert errors_by_dciodvfy(tmp_path / "a.dcm") == []
    groups = hd.sr.srread(tmp_path / "a.dcm").content.get_image_measurement_groups()
    found = {group.tracking_identifier: group.get_measurements()[0].value for group in groups}
    assert found == {row.title: pytest.approx(row.volume_ml, rel=1e-5) for row in rows if row.voxels}
