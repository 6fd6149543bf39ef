"""DICOM export from the panel, as Slicer's DICOM database knows the series."""

import types

import dicom_series
import numpy as np
import pydicom
import pytest

from DeepSegLogic import read_label_map, read_volume

FACTS = {
    "model": {"id": "ct_organs", "version": "2.1"},
    "settings": {"quality": "fast"},
    "versions": {"deepseg": "1"},
}


@pytest.fixture
def series(user, tmp_path, monkeypatch):
    """A series that was imported and loaded; the panel shows a result of it."""
    import slicer

    folder = dicom_series.write_series(tmp_path / "ct")
    files = {pydicom.dcmread(path).SOPInstanceUID: str(path) for path in folder.iterdir()}
    database = types.SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    volume = read_volume(folder)
    node = user.load(volume.array, volume.ijk_to_ras)
    node.SetAttribute("DICOM.instanceUIDs", " ".join(files))
    user.scene.setVolumeNode(node)
    user.scene.adopt(dicom_series.organs(volume.ijk_to_ras), FACTS)
    user.wait(lambda: user.session.outcome.measurements)
    return folder


def export(user, folder, *formats):
    ui = user.ui
    for box in (ui.format_stl, ui.format_dcm_seg, ui.format_rtstruct):
        box.checked = box.objectName in formats
    ui.exportPathLineEdit.currentPath = str(folder)
    ui.exportButton.click()
    user.wait(lambda: not user.session.jobs.run.busy)
    assert "Files in" in ui.statusLabel.text, ui.statusLabel.text


def test_a_corrected_result_goes_out_as_dicom(user, series, tmp_path):
    pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')
    assert user.ui.format_dcm_seg.enabled and user.ui.dicomLabel.isHidden()
    export(user, tmp_path / "first", "format_dcm_seg", "format_rtstruct")
    for path in (tmp_path / "first").iterdir():
        back = read_label_map(path, series)
        np.testing.assert_array_equal(back.mask("liver"), user.shown("liver"))
    made = pydicom.dcmread(tmp_path / "first" / "segmentation.seg.dcm").SegmentSequence
    assert {s.SegmentAlgorithmType for s in made} == {"AUTOMATIC"}

    smaller = user.shown("liver")
    smaller[:5] = 0
    user.paint("liver", smaller)
    export(user, tmp_path / "second", "format_dcm_seg")
    np.testing.assert_array_equal(
        read_label_map(tmp_path / "second" / "segmentation.seg.dcm", series).mask("liver"), smaller
    )
    made = pydicom.dcmread(tmp_path / "second" / "segmentation.seg.dcm").SegmentSequence
    assert {s.SegmentAlgorithmType for s in made} == {"SEMIAUTOMATIC"}
    segmentation = user.scene.resultNode.GetSegmentation()
    tags = {name: tag_of(segmentation.GetSegment(name)) for name in ("liver", "kidney_left")}
    assert tags == {"liver": "SEMIAUTOMATIC", "kidney_left": "AUTOMATIC"}  # for Slicer's own export


def test_without_its_files_the_reason_is_said(user, series):
    for path in series.iterdir():
        path.unlink()
    volume = user.session.choices.volume
    user.scene.adopt(dicom_series.organs(volume.ijk_to_ras), FACTS)
    assert not user.ui.format_dcm_seg.enabled and not user.ui.format_rtstruct.enabled
    assert user.ui.dicomLabel.text == "No DICOM formats. The DICOM files of the CT are not there any more."


def tag_of(segment):
    import vtk

    value = vtk.reference("")
    segment.GetTag("DICOM.SegmentAlgorithmType", value)
    return str(value)


def test_a_structure_set_is_opened_on_its_ct_and_on_no_other(user, series, tmp_path):
    import slicer

    from DeepSegLogic import write_rtstruct

    labels = dicom_series.organs(read_volume(series).ijk_to_ras)
    write_rtstruct(labels, tmp_path / "plan.dcm", source=series)
    user.scene.forgetResult()
    user.desktop.answers["Open a segmentation"] = tmp_path / "plan.dcm"
    user.ui.openSegmentationButton.click()
    user.wait(lambda: user.session.outcome.measurements)
    for structure in labels.structures[:3]:
        np.testing.assert_array_equal(user.shown(structure.name), labels.mask(structure.name))
    assert {row.text(0) for row in user.rows()} == {s.title for s in labels.structures[:3]}

    before, other = user.session.outcome.result, dicom_series.write_series(tmp_path / "other", PatientID="P2")
    path = str(next(other.iterdir()))
    slicer.dicomDatabase.fileForInstance = lambda _uid: path
    user.ui.openSegmentationButton.click()
    user.wait(lambda: not user.session.jobs.run.busy)
    assert "different patients" in user.ui.statusLabel.text and "Case" not in user.ui.statusLabel.text
    assert user.session.outcome.result is before
