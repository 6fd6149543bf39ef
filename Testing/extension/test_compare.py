"""Compare the result with segmentations of the scene: a reference, and that of an earlier scan."""

import numpy as np
import pytest


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
    assert f"Mean Dice {dice:.3f} over 1 structures." in ui.statusLabel.text
    assert "Structures only in the prediction, not scored" in ui.statusLabel.text
    (table,) = [n for n in slicer.util.getNodesByClass("vtkMRMLTableNode") if "comparison" in n.GetName()]
    assert table.GetNumberOfRows() == 1 and table.GetCellText(0, 0) == "Left lung"
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
    assert "changes exceed the uncertainty." in ui.statusLabel.text
    (table,) = [n for n in slicer.util.getNodesByClass("vtkMRMLTableNode") if "follow-up" in n.GetName()]
    columns = {table.GetTable().GetColumnName(n): n for n in range(table.GetNumberOfColumns())}
    assert table.GetNumberOfRows() == 1 and table.GetCellText(0, 0).startswith("Left lung")
    before, after = (table.GetTable().GetValue(0, columns[c]).ToDouble() for c in ("Before (ml)", "After (ml)"))
    assert before / after == pytest.approx(small.sum() / lung.sum(), rel=1e-6)
    assert ready.desktop.messages[-1].text.endswith("report.html")
