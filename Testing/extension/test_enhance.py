"""Enhancing the CT before a run, at the panel: a volume of its own, off by default."""

import numpy as np
import pytest

from .conftest import MODULE, User

pytest.importorskip("monai")
pytest.importorskip("skimage")


def test_an_enhanced_ct_becomes_a_volume_of_its_own(ready, desktop):
    import slicer

    ui, choices, ct = ready.ui, ready.session.choices, ready.scene.volumeNode
    before = slicer.util.arrayFromVolume(ct).copy()
    assert ui.enhanceComboBox.currentText == "Off" and choices.settings.enhance == ""
    ui.enhanceComboBox.currentIndex = 2
    assert choices.settings.enhance == "slices"
    choices.choose_structures(["lung_left", "lung_right"])
    ready.run()
    enhanced = ready.scene.enhancedNode
    assert enhanced is not ct and enhanced.GetName() == "Chest thin slices"
    told = "Segmented on an enhanced CT: Thinner slices"
    assert "The enhanced CT is the volume Chest thin slices." in ui.statusLabel.text and told in ui.phaseLabel.text
    assert enhanced.GetImageData().GetDimensions() == (80, 80, 52)
    assert ready.scene.volumeNode is ct and ready.scene.resultVolumeNode is ct
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(ct), before)
    found = ready.shown("lung_left")
    assert found.shape == before.shape and found.any()

    desktop.unload_module("DeepSeg")
    fresh = User(desktop, desktop.load_module(MODULE))  # the choice is saved with the scene
    assert fresh.ui.enhanceComboBox.currentText == "Thinner slices" and told in fresh.ui.phaseLabel.text

    fresh.ui.enhanceComboBox.currentIndex = 0
    fresh.run()
    assert "enhanced" not in fresh.ui.phaseLabel.text + fresh.ui.statusLabel.text
    assert fresh.scene.enhancedNode is None and slicer.mrmlScene.GetNodeByID(enhanced.GetID()) is enhanced


def test_a_scene_that_was_saved_without_turns_it_off(user, small, tmp_path):
    import slicer

    user.load(*small)
    user.session.choices.set_quality("draft")  # saves the state
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    user.ui.enhanceComboBox.currentIndex = 1
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(path)
    user.desktop.pump(0.2)
    assert user.session.choices.settings.quality == "draft" and user.ui.enhanceComboBox.currentText == "Off"
