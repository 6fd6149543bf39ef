"""Compare the result with segmentations of the scene: a reference, and that of an earlier scan."""

import types

import dicom_series
import numpy as np
import pydicom
import pytest

from DeepSegLogic import read_volume

from .conftest import in_stand_in


def test_a_reference_gives_a_table(ready):
    import slicer

    ui = ready.ui
    ready.run()
    assert not ui.compareButton.enabled
    mask = ready.shown("lung_left")
    half = mask.copy()
    half[len(half) // 2 :] = False
    reference = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Reference")
    reference.SetReferenceImageGeometryParameterFromVolumeNode(ready.scene.volumeNode)
    segment = reference.GetSegmentation().AddEmptySegment("Segment_1", "Left lung")
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), reference, segment, ready.scene.volumeNode)
    ui.referenceSelector.setCurrentNode(reference)
    assert ui.compareButton.enabled
    ui.compareButton.click()
    ready.wait(lambda: not ready.session.jobs.run.busy)
    dice = 2 * half.sum() / (half.sum() + mask.sum())
    assert f"Mean Dice {dice:.3f}; structures: 1." in ui.statusLabel.text
    assert "Structures only in the prediction, not scored" in ui.statusLabel.text
    (table,) = [n for n in slicer.util.getNodesByClass("vtkMRMLTableNode") if "comparison" in n.GetName()]
    others = ready.session.outcome.result.label_map.structures
    told = [table.GetCellText(row, 0) for row in range(table.GetNumberOfRows())]
    assert told[0] == "Left lung" and len(told) == len(others)
    assert all(title.endswith("(only in the result)") for title in told[1:])
    lines = ui.statusLabel.text.split("\n")
    assert len(lines) == 2 and lines[1].endswith(f" and {len(others) - 4} more.") and len(lines[1]) < 120
    columns = {table.GetTable().GetColumnName(n): n for n in range(table.GetNumberOfColumns())}
    assert table.GetTable().GetValue(0, columns["Dice"]).ToDouble() == pytest.approx(dice)
    assert table.GetTable().GetValue(0, columns["Volume error (ml)"]).ToDouble() > 0

    # what was corrected by hand is what is compared
    ready.paint("lung_left", half)
    ui.compareButton.click()
    ready.wait(lambda: not ready.session.jobs.run.busy)
    assert "Mean Dice 1.000" in ui.statusLabel.text


def test_an_earlier_scan_gives_a_table_and_a_report(ready):
    import slicer

    ui, volume = ready.ui, ready.scene.volumeNode
    ready.run()
    lung = ready.shown("lung_left")
    small = lung.copy()
    small[:, :, : lung.any((0, 1)).argmax() + 12] = False  # a part of it
    earlier = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Earlier")
    segment = earlier.GetSegmentation().AddEmptySegment("lung_left", "Left lung")
    ui.referenceSelector.setCurrentNode(earlier)
    ui.earlierButton.click()
    message = ready.desktop.messages[-1]
    assert "does not say which scan" in message.text + message.details
    ready.desktop.errors.clear()

    earlier.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    slicer.util.updateSegmentBinaryLabelmapFromArray(small.astype(np.uint8), earlier, segment, volume)
    ui.daysSpinBox.value = 30
    ui.earlierButton.click()
    ready.wait(lambda: not ready.session.jobs.run.busy)
    assert "changes exceed the uncertainty. 30 days between the scans." in ui.statusLabel.text
    assert "Only one of the scans was segmented for: " in ui.statusLabel.text
    assert all(len(line) < 120 for line in ui.statusLabel.text.split("\n"))
    (table,) = [n for n in slicer.util.getNodesByClass("vtkMRMLTableNode") if "follow-up" in n.GetName()]
    columns = {table.GetTable().GetColumnName(n): n for n in range(table.GetNumberOfColumns())}
    assert table.GetNumberOfRows() == 1 and table.GetCellText(0, 0).startswith("Left lung")
    before, after = (table.GetTable().GetValue(0, columns[c]).ToDouble() for c in ("Before (ml)", "After (ml)"))
    assert before / after == pytest.approx(small.sum() / lung.sum(), rel=1e-6)
    assert ready.desktop.messages[-1].text.endswith("report.html")


@in_stand_in
def test_the_days_between_two_dicom_series_come_from_their_dates(user, tmp_path, monkeypatch):
    import slicer

    files, nodes = {}, []
    database = types.SimpleNamespace(fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    for name, date in (("earlier", "20240110"), ("now", "20240411")):
        folder = dicom_series.write_series(tmp_path / name, StudyDate=date)
        uids = {pydicom.dcmread(path).SOPInstanceUID: str(path) for path in folder.iterdir()}
        files |= uids
        volume = read_volume(folder)
        node = user.load(volume.array, volume.ijk_to_ras, name)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
        organs = dicom_series.organs(volume.ijk_to_ras)
        if name == "earlier":  # a part of the liver
            organs.array[:5][organs.array[:5] == organs.structure("liver").value] = 0
        user.scene.setVolumeNode(node)
        facts = {
            "model": {"id": "organs", "version": "1"},
            "settings": {"quality": "fast"},
            "versions": {"deepseg": "1"},
        }
        user.scene.adopt(organs, facts)
        user.wait(lambda: user.session.outcome.measurements)
        nodes.append(user.scene.resultNode)
    user.ui.referenceSelector.setCurrentNode(nodes[0])
    user.ui.earlierButton.click()
    user.wait(lambda: not user.session.jobs.run.busy)
    assert "92 days between the scans." in user.ui.statusLabel.text  # datetime.date(2024, 4, 11) - (2024, 1, 10)
    change = next(c for c in user.session.outcome.changes if c.name == "liver")
    growth = np.log(change.after_ml / change.before_ml)
    assert change.doubling_days == pytest.approx(92 * np.log(2) / growth) and growth > 0.3
