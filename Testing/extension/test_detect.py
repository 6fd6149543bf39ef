"""The panel's section that finds lesions, with a detector that finds bright spots."""

import numpy as np
import pytest
from bright_detector import phantom, write_bright_model

from DeepSegLogic.models.import_export import import_model

from .conftest import MODULE, User

CENTERS = [(30.0, 40.0, 50.0), (90.0, 60.0, 60.0)]


@pytest.fixture
def finder(desktop, tmp_path, monkeypatch):
    """At a panel with a CT with two bright spots, and a detector."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    import_model(write_bright_model(tmp_path / "bright"))
    user = User(desktop, desktop.load_module(MODULE))
    assert not user.ui.detectButton.enabled and "Load a CT" in user.ui.detectButton.toolTip
    volume = phantom(CENTERS)
    user.load(volume.array, volume.ijk_to_ras, "Patient")
    user.session.choices.set_force(True)  # the phantom has no soft tissue
    user.session.detection.choose_model("bright")
    return user


def boxes():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")


def test_from_search_to_segment_and_files(finder, tmp_path):
    ui, detection, session = finder.ui, finder.session.detection, finder.session
    assert ui.detectorComboBox.currentData == "bright" and not ui.acceptFindingButton.enabled
    ui.detectButton.click()
    finder.wait(lambda: not session.jobs.run.busy)
    tree = ui.findingTree
    assert tree.topLevelItemCount == 2 and "Findings shown: 2 of 2" in ui.detectLabel.text
    assert session.jobs.run.summary == "Findings: 2, listed under Find lesions."
    assert tree.topLevelItem(0).text(0) == "1 bright spot" and tree.topLevelItem(0).text(1) == "16 × 16 × 16"
    shown = np.array([node.GetCenter() for node in boxes()])
    assert np.linalg.norm(shown[:, None] - np.array(CENTERS), axis=2).min(0).max() < 4.5
    assert np.allclose(boxes()[0].GetSize(), 16, atol=0.5)

    import slicer

    view = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceNode")
    if view is not None:
        assert np.isclose(view.GetSliceToRAS().GetElement(2, 3), detection.findings[0].center_ras[2], atol=1)

    ui.nextFindingButton.click()
    assert detection.at == 1
    ui.rejectFindingButton.click()
    assert tree.topLevelItem(1).text(3) == "rejected" and len(boxes()) == 1
    ui.previousFindingButton.click()
    ui.acceptFindingButton.click()
    assert tree.topLevelItem(0).text(3) == "accepted"
    ui.scoreSlider.value = 1.0
    assert tree.topLevelItemCount == 2, "decisions are not hidden"

    ui.segmentFindingButton.click()
    assert finder.scene.resultNode is not None and "ml" in ui.detectLabel.text
    mask = finder.shown("bright_spot_1")
    truth = finder.session.choices.volume.array > 0
    where = np.zeros_like(truth)
    k, j, i = (round(x / 2) for x in reversed(detection.findings[0].center_ras))
    where[k - 5 : k + 6, j - 5 : j + 6, i - 5 : i + 6] = True
    assert 2 * (mask & truth & where).sum() / (mask.sum() + (truth & where).sum()) > 0.8  # Dice
    finder.wait(lambda: ui.undoButton.enabled)  # with the result's measurements
    ui.undoButton.click()
    assert not finder.shown("bright_spot_1").any()

    ui.exportPathLineEdit.currentPath = str(tmp_path)
    ui.saveFindingsButton.click()
    finder.wait(lambda: not session.jobs.run.busy)
    assert {p.name for p in (tmp_path / "findings").iterdir()} == {
        "findings.csv",
        "findings.mrk.json",
        "findings.provenance.json",
    }


def test_a_finding_with_a_mask_becomes_that_mask(finder, tmp_path):
    import_model(write_bright_model(tmp_path / "outlined", masks=True), changes={"id": "outlined"})
    session = finder.session
    session.choices.search_models("")
    session.detection.choose_model("outlined")
    finder.ui.detectButton.click()
    finder.wait(lambda: not session.jobs.run.busy)
    finder.ui.segmentFindingButton.click()
    assert "Bright spot 1: mask of the detector" in finder.ui.detectLabel.text
    drawn = session.detection.found.masks.mask("bright_spot_1")
    assert drawn.any() and np.array_equal(finder.shown("bright_spot_1"), drawn)
    finder.wait(lambda: finder.ui.undoButton.enabled)
    finder.ui.undoButton.click()
    assert not finder.shown("bright_spot_1").any()


def test_boxes_go_with_their_volume(finder):
    finder.ui.detectButton.click()
    finder.wait(lambda: not finder.session.jobs.run.busy)
    assert len(boxes()) == 2
    volume = phantom([])
    finder.load(volume.array, volume.ijk_to_ras, "Other")
    assert boxes() == [] and finder.ui.findingTree.topLevelItemCount == 0


def test_without_its_packages_nothing_of_it_is_shown(desktop, monkeypatch):
    from DeepSegLib import detectSection

    monkeypatch.setattr(detectSection, "is_available", lambda: False)
    user = User(desktop, desktop.load_module(MODULE))
    assert not user.ui.detectCollapsibleButton.visible


def test_a_box_that_goes_leaves_nothing_in_the_scene(finder):
    """Neither does one that is shown go into the scene's file, with its display."""
    import slicer

    shown = lambda: slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")  # noqa: E731
    before = len(shown())
    finder.ui.detectButton.click()
    finder.wait(lambda: not finder.session.jobs.run.busy)
    assert len(shown()) == before + 2
    assert not [display for display in shown()[before:] if display.GetSaveWithScene()]
    finder.ui.rejectFindingButton.click()
    assert len(boxes()) == 1 and len(shown()) == before + 1
