"""A model that sees several images: a selector for each further one."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.io import read_volume
from DeepSegLogic.models.import_export import import_model

from .conftest import MODULE, User

KINDS = Path(__file__).parents[1] / "data" / "nnunet_kinds"


@pytest.fixture
def images():
    """The three channels: voxels and matrix."""
    names = ("image", "image_1", "image_2")
    volumes = [read_volume(KINDS / f"{name}.nii.gz") for name in names]
    return [(volume.array, volume.ijk_to_ras, name) for name, volume in zip(names, volumes, strict=True)]


def test_each_further_channel_has_a_selector_and_the_result_is_nnunets(tmp_path, monkeypatch, desktop, user, images):
    import qt

    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path))
    ui, choices = user.ui, user.session.choices
    assert not ui.channelsWidget.visible and ui.inputSelectorLabel.text == "CT volume"
    import_model(KINDS / "channels", changes={"id": "three_images"})
    choices.search_models("")
    choices.choose_model("three_images")
    choices.set_quality("standard")  # DeepSegTest leaves "draft" in a real Slicer
    assert ui.channelsWidget.visible and ui.inputSelectorLabel.text == "T2"
    rows = range(ui.channelsWidget.layout().rowCount())
    labels, selectors = (
        [ui.channelsWidget.layout().itemAt(row, role).widget() for row in rows]
        for role in (qt.QFormLayout.LabelRole, qt.QFormLayout.FieldRole)
    )
    assert [label.text for label in labels] == ["PET", "T1"]
    nodes = [user.load(*image) for image in images]
    ui.inputSelector.setCurrentNode(nodes[0])
    assert not ui.segmentButton.enabled and "PET" in ui.statusLabel.text
    for selector, node in zip(selectors, nodes[1:], strict=True):
        selector.setCurrentNode(node)
    assert ui.segmentButton.enabled
    user.run()
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(KINDS / "channels" / "labels.nii.gz")))
    ours = user.session.outcome.result.label_map.array
    assert np.count_nonzero(ours != theirs) < 1e-3 * np.count_nonzero(theirs)

    selectors[0].setCurrentNode(None)
    assert not ui.segmentButton.enabled
    selectors[0].setCurrentNode(nodes[1])

    desktop.unload_module("DeepSeg")
    fresh = User(desktop, desktop.load_module(MODULE))  # takes over what the scene knows
    assert [fresh.scene.channelNode(name) for name in ("PET", "T1")] == nodes[1:]
    assert fresh.ui.segmentButton.enabled

    fresh.session.choices.choose_model("ct_demo")
    assert not fresh.ui.channelsWidget.visible and fresh.ui.inputSelectorLabel.text == "CT volume"


def test_a_scene_that_is_added_takes_no_choice_away(tmp_path, monkeypatch, desktop, user, images):
    """Slicer's selectors lose their nodes while it is loaded; there are several volumes to choose from."""
    import qt
    import slicer

    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    import_model(KINDS / "channels", changes={"id": "three_images"})
    user.session.choices.search_models("")
    user.session.choices.choose_model("three_images")
    nodes = [user.load(*image) for image in images]
    user.ui.inputSelector.setCurrentNode(nodes[0])
    for name, node in zip(("PET", "T1"), nodes[1:], strict=True):
        user.scene.setChannelNode(name, node)
    assert user.ui.segmentButton.enabled
    plain, path = slicer.vtkMRMLScene(), str(tmp_path / "plain.mrml")
    plain.AddNewNodeByClass("vtkMRMLModelNode", "Somebody's model")
    plain.SetURL(path)
    assert plain.Commit(path)
    slicer.util.loadScene(path)
    desktop.pump(0.2)
    assert [user.scene.volumeNode, *map(user.scene.channelNode, ("PET", "T1"))] == nodes
    layout = user.ui.channelsWidget.layout()
    shown = [layout.itemAt(row, qt.QFormLayout.FieldRole).widget().currentNode() for row in range(layout.rowCount())]
    assert [user.ui.inputSelector.currentNode(), *shown] == nodes and user.ui.segmentButton.enabled
