"""What Slicer's own widgets do to the result is followed by the panel."""

import numpy as np
import pytest


@pytest.fixture
def done(ready):
    ready.run()
    ready.wait(lambda: not ready.session.jobs.waiting)
    return ready


def row_of(user, title):
    return next((row for row in user.rows() if row.text(0) == title), None)


def test_names_colors_and_what_is_visible_are_those_of_the_scene(done):
    import qt

    node, ui = done.scene.resultNode, done.ui
    segment, display = node.GetSegmentation().GetSegment("lung_left"), node.GetDisplayNode()
    done.choose_row("Left lung")
    segment.SetName("Lung 1")
    segment.SetColor(0, 0, 1)
    display.SetSegmentVisibility("lung_right", False)
    display.SetOpacity2DFill(0.2)
    done.wait(lambda: row_of(done, "Lung 1"))
    pixel = row_of(done, "Lung 1").icon(0).pixmap(12, 12).toImage().pixelColor(6, 6)
    assert (pixel.red(), pixel.green(), pixel.blue()) == (0, 0, 255)
    assert row_of(done, "Right lung").checkState(0) == qt.Qt.Unchecked
    assert ui.opacitySlider.value == pytest.approx(0.2)
    ui.addToButton.click()
    assert ui.correctLabel.text.startswith("Add to Lung 1:")
    ui.addToButton.click()
    row_of(done, "Right lung").setCheckState(0, qt.Qt.Checked)
    assert display.GetSegmentVisibility("lung_right")


def test_what_is_painted_is_in_the_table_once_the_hand_rests(done):
    before, mask = row_of(done, "Left lung").text(1), done.shown("lung_left")
    mask[:, :, : mask.any((0, 1)).argmax() + 12] = False
    done.paint("lung_left", mask)
    done.wait(lambda: row_of(done, "Left lung").text(1) != before)
    measured = next(r for r in done.session.outcome.measurements if r.name == "lung_left")
    assert measured.voxels == mask.sum() and not row_of(done, "Left lung").text(2)
    assert len(done.scene.correction.history.done) == 1
    assert not done.scene.corrections.editedByHand  # nothing is left to be taken over again
    assert done.scene.corrections.undo() is not None


def test_a_table_of_statistics_has_what_was_painted_just_now(done):
    import slicer

    mask = done.shown("lung_left")
    mask[len(mask) // 2 :] = False
    done.paint("lung_left", mask)
    done.ui.statisticsButton.click()
    done.wait(lambda: slicer.util.getNodesByClass("vtkMRMLTableNode"))
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    told = {
        table.GetCellText(n, 0).split(" (")[0]: float(table.GetCellText(n, 1)) for n in range(table.GetNumberOfRows())
    }
    voxel_ml = abs(np.linalg.det(done.session.outcome.volume.ijk_to_ras[:3, :3])) / 1000
    assert told["Left lung"] == pytest.approx(mask.sum() * voxel_ml, rel=1e-4)


def test_a_segment_that_was_removed_leaves_the_table_and_comes_back_by_undo(done):
    done.scene.resultNode.GetSegmentation().RemoveSegment("lung_right")
    done.wait(lambda: row_of(done, "Right lung") is None)
    assert done.scene.currentStructure is None and row_of(done, "Left lung")
    done.ui.undoButton.click()
    done.wait(lambda: row_of(done, "Right lung"))
    assert done.shown("lung_right").any()


def test_a_segment_that_was_copied_and_removed_is_taken_over_once(done):
    """The copy has the tags of the first, and an ID of its own."""
    import slicer

    segmentation, copy = done.scene.resultNode.GetSegmentation(), slicer.vtkSegment()
    copy.DeepCopy(segmentation.GetSegment("lung_right"))
    segmentation.RemoveSegment("lung_right")
    segmentation.AddSegment(copy, "lung_right_1")
    done.wait(lambda: done.scene.correction.history.done)
    assert not done.scene.corrections.editedByHand


def test_a_result_that_was_removed_is_gone_from_the_panel(done):
    import slicer

    done.ui.addToButton.click()
    slicer.mrmlScene.RemoveNode(done.scene.resultNode)
    ui = done.ui
    done.wait(lambda: not done.rows())
    assert not any(
        s.enabled for s in (ui.correctCollapsibleButton, ui.planCollapsibleButton, ui.exportCollapsibleButton)
    )
    assert done.session.outcome.result is None and done.desktop.messages == []
    done.run()
    assert done.rows() and done.scene.resultNode is not None


def test_a_table_of_a_result_that_was_removed_is_not_made_of_the_next(done):
    import slicer

    done.paint("lung_left", np.zeros_like(done.shown("lung_left")))
    done.ui.statisticsButton.click()
    done.scene.forgetResult()
    done.run()
    assert not slicer.util.getNodesByClass("vtkMRMLTableNode")


def test_only_the_last_result_is_visible(done):
    first = done.scene.resultNode
    done.run()
    assert done.scene.resultNode is not first
    assert not first.GetDisplayNode().GetVisibility() and done.scene.resultNode.GetDisplayNode().GetVisibility()


def test_a_tool_is_put_down_when_its_structure_goes_or_another_volume_is_chosen(done, small):
    ui = done.ui
    done.choose_row("Left lung")
    ui.addToButton.click()
    done.scene.resultNode.GetSegmentation().RemoveSegment("lung_left")
    done.wait(lambda: not ui.addToButton.checked)
    assert ui.correctLabel.text == "Click on a structure in the result list first."
    done.choose_row("Right lung")
    ui.addToButton.click()
    done.load(*small, "Other")
    assert not ui.addToButton.checked and done.session.outcome.result is not None


def test_a_result_of_another_volume_says_so(done, small):
    import slicer

    ui, own = done.ui, done.scene.volumeNode
    assert ui.warningsLabel.isHidden()
    done.load(*small, "Other")
    assert ui.warningsLabel.text == "This is the result of Chest." and not ui.warningsLabel.isHidden()
    other = ui.inputSelector.currentNode()
    ui.inputSelector.setCurrentNode(own)
    assert ui.warningsLabel.isHidden()
    ui.inputSelector.setCurrentNode(other)
    slicer.mrmlScene.RemoveNode(own)
    done.wait(lambda: ui.warningsLabel.text == "The CT of this result, Chest, was removed.")


def test_a_new_result_looks_as_the_last_one(done):
    done.ui.opacitySlider.value = 0.2
    done.run()
    assert done.ui.opacitySlider.value == pytest.approx(0.2)
    assert done.scene.resultNode.GetDisplayNode().GetOpacity2DFill() == pytest.approx(0.2)
