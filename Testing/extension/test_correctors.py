"""What computes a correction is chosen in the panel: DeepSeg's solver, or a real network that takes prompts."""

import numpy as np
import pytest

from Testing.extension.test_correct import POINT, draw
from Testing.logic.refinement.prompt_model import EVERYTHING_BRIGHT, LICENCE, SIGMA, TITLE, Slow, imported

REACH_MM = 2 * SIGMA * np.sqrt(-2 * np.log(0.3))  # the network's voxels are 2 mm


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """A folder of models of the test's own."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))


def choose(user, folder, module=None, trusted=True):
    """Import a model that takes prompts, and choose it in the panel."""
    imported(folder, module, trusted, network=EVERYTHING_BRIGHT)
    user.session.choices.search_models("")
    user.ui.correctorComboBox.currentIndex = 1
    assert user.session.choices.correctors.chosen.title == TITLE


def test_it_is_offered_only_where_there_is_a_model(ready, tmp_path):
    ui = ready.ui
    ui.correctCollapsibleButton.collapsed = False
    assert not ui.correctorWidget.isVisibleTo(ui.correctCollapsibleButton) and ui.correctorLabel.text == ""
    choose(ready, tmp_path)
    assert ui.correctorWidget.isVisibleTo(ui.correctCollapsibleButton)
    assert LICENCE in ui.correctorLabel.text
    ui.correctorComboBox.currentIndex = 0
    assert not ui.correctorLabel.isVisibleTo(ui.correctCollapsibleButton)


def test_a_model_corrects_one_structure_with_the_same_undo(lung, tmp_path):
    ui, result = lung.ui, lung.session.outcome.result.label_map
    choose(lung, tmp_path)
    ui.addToButton.click()
    seen = []
    lung.session.jobs.run_changed.connect(
        lambda run: seen.append((run.busy, ui.segmentButton.text, ui.correctorComboBox.enabled))
    )
    draw(lung, POINT, [lung.centre])
    lung.wait(lambda: seen)
    assert (True, "Cancel", False) in seen
    lung.wait(lambda: not lung.session.jobs.run.busy)
    assert f"Left lung: point, {TITLE} (Left lung +" in ui.correctLabel.text, ui.correctLabel.text
    assert ui.correctorComboBox.enabled and ui.segmentButton.text == "Segment"
    gained = lung.shown("lung_left") & ~lung.erased
    k, j, i = lung.centre
    assert gained[k, j, i]
    spacing = lung.session.outcome.volume.spacing_kji
    away = np.linalg.norm((np.argwhere(gained) - lung.centre) * spacing, axis=1)
    assert away.max() <= REACH_MM + 1 and gained[k, j - 3 : j + 4, i].all()
    others = [s.name for s in result.structures if s.name != "lung_left" and result.mask(s.name).any()]
    assert all(np.array_equal(lung.shown(name), result.mask(name)) for name in others)

    ui.undoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    ui.redoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased | gained)


def test_a_model_can_be_cancelled_and_work_by_hand_meanwhile_wins(lung, tmp_path):
    ui, session = lung.ui, lung.session
    choose(lung, tmp_path)
    ui.addToButton.click()
    painted = []

    def paint(run):
        if run.busy and not painted:
            painted.append(run.stage)
            lung.paint("lung_left", lung.before)

    session.jobs.run_changed.connect(paint)
    draw(lung, POINT, [lung.centre])
    lung.wait(lambda: painted and not session.jobs.run.busy)
    assert "changed in the meantime" in ui.correctLabel.text
    assert np.array_equal(lung.shown("lung_left"), lung.before)
    lung.paint("lung_left", lung.erased)

    imported(tmp_path, Slow(), network=EVERYTHING_BRIGHT)
    draw(lung, POINT, [lung.centre])
    lung.wait(lambda: session.jobs.run.stage == "Correcting")
    draw(lung, POINT, [lung.centre])
    assert "running" in ui.correctLabel.text
    ui.segmentButton.click()
    lung.wait(lambda: not session.jobs.run.busy)
    assert ui.correctLabel.text == "Cancelled."
    assert np.array_equal(lung.shown("lung_left"), lung.erased)


def test_a_failure_says_what_to_do(lung, tmp_path):
    choose(lung, tmp_path, trusted=False)
    lung.ui.addToButton.click()
    draw(lung, POINT, [lung.centre])
    lung.wait(lambda: not lung.session.jobs.run.busy)
    assert "Select it in the Model section and press Trust." in lung.ui.correctLabel.text
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    lung.ui.correctorComboBox.currentIndex = 0  # the solver goes on
    draw(lung, POINT, [lung.centre])
    assert lung.shown("lung_left")[tuple(lung.centre)]


def test_the_choice_is_saved_and_what_is_gone_is_told(ready, tmp_path):
    import slicer

    ui, scene = ready.ui, slicer.mrmlScene
    ui.correctCollapsibleButton.collapsed = False
    choose(ready, tmp_path)
    path = str(tmp_path / "scene.mrml")
    scene.SetURL(path)
    assert scene.Commit(path)
    scene.Clear(False)
    ui.correctorComboBox.currentIndex = 0
    scene.Connect()
    ready.desktop.pump(0.2)
    assert ui.correctorComboBox.currentText == TITLE

    scene.Clear(False)
    ready.session.choices.remove_model("prompt_net")
    ui.correctorComboBox.currentIndex = 0
    ready.session.choices.choose_corrector("")
    scene.Connect()
    ready.desktop.pump(0.2)
    assert not ui.correctorWidget.isVisibleTo(ui.correctCollapsibleButton)
    assert "prompt_net is no longer installed" in ui.correctorLabel.text
    assert ui.correctorLabel.isVisibleTo(ui.correctCollapsibleButton)
