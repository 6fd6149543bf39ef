"""Time sequences: each frame is segmented, and browsed with its result."""

import numpy as np
import pytest

SHIFTS = (0, 6, 12)  # voxels along I by which the CT moves from frame to frame


@pytest.fixture
def moving(user, small):
    """At a panel with a sequence of three frames chosen; ``browser`` browses it."""
    import slicer
    import vtk

    array, matrix = small
    ijkToRas = vtk.vtkMatrix4x4()
    ijkToRas.DeepCopy(matrix.ravel())
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Moving chest")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for number, shift in enumerate(SHIFTS):
        node = slicer.util.addVolumeFromArray(np.roll(array, shift, 2))
        node.SetIJKToRASMatrix(ijkToRas)
        sequence.SetDataNodeAtValue(node, str(0.5 * number))
        slicer.mrmlScene.RemoveNode(node)
    user.browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Moving chest")
    user.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    user.ui.inputSelector.setCurrentNode(user.browser.GetProxyNode(sequence))
    return user


def found(user):
    """The sequence of segmentations, and the values of its frames."""
    sequence = user.browser.GetSequenceNode(user.scene.resultNode)
    return sequence, [sequence.GetNthIndexValue(n) for n in range(sequence.GetNumberOfDataNodes())]


def browse(user, frame):
    user.browser.SetSelectedItemNumber(frame)
    user.wait(lambda: user.scene.frames.inStep)
    user.wait(lambda: user.session.outcome.result is None or user.session.outcome.measurements)


def test_each_frame_is_segmented_and_browsed_with_its_result(moving, desktop):
    import slicer

    assert "3 frames" in moving.ui.factsLabel.text
    texts, fractions = [], []

    def note(run):
        if run.busy:
            texts.append(moving.ui.statusLabel.text)
            fractions.append(run.fraction)
            assert not moving.ui.inputSelector.enabled

    moving.session.jobs.run_changed.connect(note)
    moving.run()
    assert moving.ui.inputSelector.enabled
    assert all(any(f"Frame {n} of 3: Segmenting" in text for text in texts) for n in (1, 2, 3))
    assert fractions == sorted(fractions)
    assert moving.ui.statusLabel.text == "3 of 3 frames are segmented."

    # one more sequence in the same browser, with the same index; one segmentation in the scene
    sequence, values = found(moving)
    assert values == ["0", "0.5", "1"] or values == ["0.0", "0.5", "1.0"]
    assert (sequence.GetIndexName(), sequence.GetIndexUnit()) == ("time", "s")
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1

    # each frame shows what the engine finds in that frame alone
    from DeepSegLogic import segment
    from DeepSegLogic.data.volume import Volume

    for frame in (0, 2, 1):
        browse(moving, frame)
        array = slicer.util.arrayFromVolume(moving.scene.volumeNode)
        alone = segment(Volume(array, moving.session.outcome.volume.ijk_to_ras), "ct_demo").label_map
        assert np.array_equal(moving.shown("lung_left"), alone.mask("lung_left"))
        assert np.array_equal(moving.session.outcome.result.label_map.array, alone.array)
        assert np.array_equal(moving.session.outcome.volume.array, array)
        row = next(r for r in moving.session.outcome.measurements if r.name == "lung_left")
        assert row.volume_ml == pytest.approx(alone.volume_ml("lung_left"))
        assert row.confidence is not None


def test_a_correction_stays_with_its_frame(moving):
    moving.run()
    browse(moving, 1)
    before = moving.shown("lung_left")
    moving.choose_row("Left lung")
    moving.ui.boxButton.click()
    moving.ui.removeFromButton.click()
    inside = np.argwhere(before)
    low, high = inside[len(inside) // 2] - 2, inside[len(inside) // 2] + 2
    import slicer

    node = slicer.util.getNode("DeepSeg correction")
    for corner in (low, high):
        node.AddControlPointWorld(*(moving.session.outcome.volume.ijk_to_ras @ [*corner[::-1], 1.0])[:3])
    slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SwitchToViewTransformMode()
    moving.wait(lambda: "ml" in moving.ui.correctLabel.text)
    moving.ui.acceptButton.click()
    corrected = moving.shown("lung_left")
    assert corrected.sum() < before.sum()
    browse(moving, 0)
    assert not np.array_equal(moving.shown("lung_left"), corrected)
    browse(moving, 1)
    assert np.array_equal(moving.shown("lung_left"), corrected)
    assert np.array_equal(moving.scene.labelMap().mask("lung_left"), corrected)
    moving.wait(lambda: moving.session.outcome.measurements and not moving.session.jobs.waiting)
    sure = {row.name: row.confidence is not None for row in moving.session.outcome.measurements if row.voxels}
    assert not sure.pop("lung_left") and all(sure.values()) and sure


def test_what_is_measured_while_the_sequence_plays_is_noted_in_no_other_frame(moving):
    moving.run()
    browse(moving, 2)
    there = moving.scene.resultNode.GetAttribute("DeepSeg.run")
    browse(moving, 1)
    outcome = moving.session.outcome
    moving.wait(lambda: not outcome.measuring)
    assert moving.scene.resultNode.GetAttribute("DeepSeg.run") != there
    moving.browser.SetPlaybackRateFps(0.001)  # a real Slicer goes on to the next frame by itself
    moving.browser.SetPlaybackActive(True)
    moving.browser.SetSelectedItemNumber(2)
    outcome.measure(outcome.result.label_map)
    moving.wait(lambda: not outcome.measuring)
    assert moving.scene.resultNode.GetAttribute("DeepSeg.run") == there
    moving.browser.SetPlaybackActive(False)
    browse(moving, 2)
    assert all(row.confidence is not None for row in outcome.measurements if row.voxels)


def test_a_result_that_is_removed_while_frames_are_segmented_is_made_anew_once(moving):
    import slicer

    moving.ui.segmentButton.click()
    moving.wait(lambda: moving.session.jobs.run.frame == (2, 3))
    slicer.mrmlScene.RemoveNode(moving.scene.resultNode)
    moving.wait(lambda: not moving.session.jobs.run.busy)
    assert moving.ui.statusLabel.text == "3 of 3 frames are segmented."
    assert len(found(moving)[1]) == 2


def test_cancel_keeps_the_frames_done(moving):
    moving.ui.segmentButton.click()
    moving.wait(lambda: moving.session.jobs.run.frame == (2, 3) and moving.session.jobs.run.stage == "Segmenting")
    moving.ui.segmentButton.click()
    moving.wait(lambda: not moving.session.jobs.run.busy)
    assert "1 of 3 frames" in moving.ui.statusLabel.text
    assert len(found(moving)[1]) == 1
    browse(moving, 0)
    assert moving.shown("lung_left").any() and moving.ui.resultTree.topLevelItemCount
    browse(moving, 2)
    assert moving.session.outcome.result is None and not moving.ui.exportCollapsibleButton.enabled
    moving.run()  # and again, all of it
    assert moving.ui.statusLabel.text == "3 of 3 frames are segmented."


def test_a_frame_that_cannot_be_segmented_ends_the_run_with_the_reason(moving):
    import slicer

    volumes = moving.browser.GetSequenceNode(moving.scene.volumeNode)
    slicer.util.arrayFromVolume(volumes.GetNthDataNode(1))[:] = 0
    moving.ui.segmentButton.click()
    moving.wait(lambda: not moving.session.jobs.run.busy)
    assert "1 of 3 frames" in moving.ui.statusLabel.text
    assert "Frame 2" in moving.ui.statusLabel.text and "empty" in moving.ui.statusLabel.text


def test_the_scene_may_be_closed_during_a_sequence(moving):
    import slicer

    moving.ui.segmentButton.click()
    moving.wait(lambda: moving.session.jobs.run.frame == (2, 3))
    slicer.mrmlScene.Clear(False)
    moving.wait(lambda: not moving.session.jobs.run.busy)
    assert moving.session.outcome.result is None and "Load a CT" in moving.ui.segmentButton.toolTip


def test_a_sequence_without_frames_is_said(user):
    import slicer

    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Nothing")
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Nothing")
    browser.AddProxyNode(node, sequence, False)
    user.ui.inputSelector.setCurrentNode(node)
    assert "without frames" in user.ui.statusLabel.text and not user.ui.segmentButton.enabled


def test_a_sequence_comes_back_with_its_results(moving, tmp_path):
    import slicer

    moving.run()
    browse(moving, 1)
    before = moving.shown("lung_left")
    confidence = {name: f"{value:.4f}" for name, value in moving.session.outcome.result.confidence.items()}
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(path)
    moving.desktop.pump(0.2)
    moving.wait(lambda: moving.session.outcome.measurements)
    moving.browser = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")[0]
    assert moving.ui.exportCollapsibleButton.enabled and np.array_equal(moving.shown("lung_left"), before)
    browse(moving, 2)
    assert moving.ui.resultTree.topLevelItemCount and not np.array_equal(moving.shown("lung_left"), before)
    browse(moving, 1)
    assert np.array_equal(moving.scene.labelMap().mask("lung_left"), before)
    assert {n: f"{v:.4f}" for n, v in moving.session.outcome.result.confidence.items()} == confidence
