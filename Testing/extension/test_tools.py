"""Slicer's Segment Editor in the panel: its tools are put down in time, and it works on what the panel shows."""

import pytest


@pytest.fixture
def painting(ready):
    """After a run, with the Segment Editor's Paint in use."""
    ready.run()
    ready.ui.segmentEditor.setActiveEffectByName("Paint")
    assert ready.ui.segmentEditor.activeEffect().name == "Paint"
    return ready


def tool_of(user):
    """The tool in use, and the one that the parameter node names."""
    editor = user.ui.segmentEditor
    return editor.activeEffect(), editor.mrmlSegmentEditorNode().GetActiveEffectName() or ""


def test_it_edits_the_result_in_its_volume(ready):
    editor = ready.ui.segmentEditor
    assert editor.segmentationNode() is None and editor.sourceVolumeNode() is None
    ready.run()
    assert editor.segmentationNode() is ready.scene.resultNode
    assert editor.sourceVolumeNode() is ready.scene.volumeNode


def test_it_paints_the_structure_that_is_chosen(ready):
    editor = ready.ui.segmentEditor
    ready.run()
    ready.choose_row("Liver")
    assert editor.currentSegmentID() == "liver"
    ready.choose_row("Left lung")
    assert editor.currentSegmentID() == "lung_left"


def test_tools_are_put_down_before_the_scene_closes_and_stay_down_when_it_is_opened(painting, tmp_path):
    import slicer

    path = str(tmp_path / "scene.mrb")
    painting.ui.segmentEditor.mrmlSegmentEditorNode().SetSaveWithScene(True)  # with the tool in it, as earlier versions
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    painting.desktop.pump(0.1)
    assert tool_of(painting) == (None, "")
    slicer.util.loadScene(path)
    painting.desktop.pump(0.1)
    assert tool_of(painting) == (None, "")
    assert painting.ui.segmentEditor.segmentationNode() is painting.scene.resultNode
    painting.ui.segmentEditor.setActiveEffectByName("Paint")
    slicer.util.loadScene(path, {"clear": True})
    painting.desktop.pump(0.1)
    assert tool_of(painting) == (None, "")
    painting.ui.segmentEditor.setActiveEffectByName("Paint")  # and can be taken up again
    assert tool_of(painting)[1] == "Paint"


def test_no_tool_is_saved(painting, tmp_path):
    import slicer

    for scene in ("scene", "again"):
        path = tmp_path / scene / "scene.mrml"
        path.parent.mkdir()
        assert slicer.util.saveScene(str(path))
        assert "Paint" not in path.read_text()
        slicer.mrmlScene.Clear(False)
        slicer.util.loadScene(str(path))
        painting.desktop.pump(0.1)
        painting.ui.segmentEditor.setActiveEffectByName("Paint")


def test_tools_are_put_down_with_another_module(painting):
    import slicer

    slicer.util.selectModule("Data")
    assert tool_of(painting) == (None, "")
    slicer.util.selectModule("DeepSeg")
    slicer.mrmlScene.RemoveNode(painting.ui.segmentEditor.mrmlSegmentEditorNode())
    slicer.mrmlScene.Clear(False)
    painting.desktop.pump(0.1)
    assert painting.ui.segmentEditor.mrmlSegmentEditorNode().GetScene() is slicer.mrmlScene


def test_a_reloaded_module_leaves_no_second_editor_at_work(painting):
    import slicer

    slicer.util.reloadScriptedModule("DeepSeg")
    fresh = slicer.modules.deepseg.widgetRepresentation().self()
    assert painting.ui.segmentEditor.mrmlSegmentEditorNode() is None
    fresh.ui.segmentEditor.setActiveEffectByName("Paint")
    assert fresh.ui.segmentEditor.activeEffect().name == "Paint"
    fresh.ui.segmentEditor.setActiveEffectByName("")


def test_drawing_puts_a_tool_down(lung):
    lung.ui.segmentEditor.setActiveEffectByName("Paint")
    lung.ui.addToButton.click()
    assert tool_of(lung) == (None, "")
    lung.ui.acceptButton.click()
