"""What a saved scene keeps."""

import pytest


def test_a_saved_scene_reopens_as_it_was(ready, desktop, tmp_path):
    import slicer

    session = ready.session
    ready.run()
    name = ready.scene.resultNode.GetName()
    session.choices.choose_structures(["liver", "spleen"])
    ready.ui.qualityComboBox.currentText = "fast"
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(False)
    session.choices.choose_structures(["aorta"])
    ready.ui.qualityComboBox.currentText = "best"

    slicer.mrmlScene.Connect()
    desktop.pump(0.2)
    assert session.choices.structures.chosen == ("spleen", "liver")  # in label order
    assert session.choices.settings.quality == "fast"
    assert ready.ui.qualityComboBox.currentText == "fast"
    assert ready.scene.resultNode.GetName() == name
    assert ready.ui.inputSelector.currentNode().GetName() == "Chest"


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "not JSON",
        "[1, 2]",
        "null",
        '{"structures": ["liver"]}',
        '{"structures": ["liver"], "enhance": [], "corrector": {}}',
        "[" * 100_000,
        '{"model": "gone", "structures": ["liver"], "quality": "superb", "device": "abacus"}',
        '{"model": 7, "structures": "liver", "quality": 1, "device": null, "replace": "no"}',
        '{"model": ["ct_demo"], "structures": {"liver": 1}, "quality": [], "device": {}}',
        '{"model": "ct_demo", "structures": [["liver"], {}, null, "liver", "no such organ"]}',
    ],
)
def test_what_is_not_understood_is_left_out(ready, settings):
    """A parameter node of another version, or a broken one, whose references lead to nodes of other kinds."""
    import slicer

    session, node = ready.session, ready.panel.logic.getParameterNode()
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.StartImportEvent)
    node.SetParameter("Settings", settings)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    for role in ("InputVolume", "ResultSegmentation"):
        node.SetNodeReferenceID(role, model.GetID())
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.EndImportEvent)
    assert session.choices.model.id == "ct_demo"
    structures = session.choices.structures
    assert structures.chosen == (("liver",) if "no such organ" in settings else structures.known)
    assert (session.choices.settings.quality, session.choices.settings.device, ready.scene.replaceResult) == (
        "standard",
        "auto",
        False,
    )
    assert ready.scene.resultNode is None and ready.scene.volumeNode is None
    ready.desktop.pump(0.1)  # then the only volume is chosen
    assert ready.ui.segmentButton.enabled
