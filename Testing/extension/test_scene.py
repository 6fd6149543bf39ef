"""What a saved scene keeps."""


def test_a_saved_scene_reopens_as_it_was(ready, desktop, tmp_path):
    import slicer

    session = ready.session
    ready.run()
    name = ready.scene.resultNode.GetName()
    session.choose_structures(["liver", "spleen"])
    ready.ui.qualityComboBox.currentText = "fast"
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.StartSaveEvent)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(False)
    session.choose_structures(["aorta"])
    ready.ui.qualityComboBox.currentText = "best"

    slicer.mrmlScene.Connect()
    desktop.pump(0.2)
    assert session.chosen == ["spleen", "liver"]  # in label order
    assert session.quality == "fast"
    assert ready.ui.qualityComboBox.currentText == "fast"
    assert ready.scene.resultNode.GetName() == name
    assert ready.ui.inputSelector.currentNode().GetName() == "Chest"
