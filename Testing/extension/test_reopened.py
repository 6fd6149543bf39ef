"""A scene that was saved comes back with its result: what every section shows and what the Segment Editor works on."""

import numpy as np
import pytest

from .conftest import MODULE, User


def seen(user):
    """What the sections show of a result, and what they work on."""
    ui, outcome = user.ui, user.session.outcome
    sections = ui.resultCollapsibleButton, ui.correctCollapsibleButton, ui.exportCollapsibleButton
    editor = ui.segmentEditor
    return {
        "rows": [(*(row.text(n) for n in range(3)), row.checkState(0), row.toolTip(2)) for row in user.rows()],
        "enabled": [section.enabled for section in sections],
        "result open": not ui.resultCollapsibleButton.collapsed,
        "findings": [ui.reviewList.item(n).text() for n in range(ui.reviewList.count)],
        "review shown": not ui.reviewList.isHidden(),
        "opacity": round(ui.opacitySlider.value, 3),
        "3D": ui.show3DButton.checked,
        "volume": ui.inputSelector.currentNode().GetName(),
        "editor": [node and node.GetName() for node in (editor.segmentationNode(), editor.sourceVolumeNode())],
        "told": [(label.text, label.isHidden()) for label in (ui.phaseLabel, ui.warningsLabel, ui.factsLabel)],
        "field of view": not ui.fieldOfViewLabel.isHidden(),
        "estimate": not ui.estimateLabel.isHidden(),
        "notes": ui.notesLabel.text,
        "labels": [s.name for s in outcome.result.label_map.structures],
        "voxels": int((user.scene.labelMap().array > 0).sum()),
        "confidence": {name: f"{value:.4f}" for name, value in outcome.belief_in(user.scene.labelMap())[0].items()},
        "model": outcome.result.provenance["model"]["id"],
    }


def settle(user):
    """Wait until what follows a result is there."""
    user.desktop.pump(0.2)
    user.wait(lambda: user.session.outcome.measurements and not user.session.jobs.waiting)


def save(tmp_path, name="scene.mrb"):
    import slicer

    path = str(tmp_path / name)
    assert slicer.util.saveScene(path)
    return path


def close():
    import slicer

    slicer.mrmlScene.Clear(False)


def load(path, clear=False):
    import slicer

    slicer.util.loadScene(path, {"clear": clear})


def tell(user, **told):
    """As if the run had told more of the scan."""
    from dataclasses import replace

    outcome = user.session.outcome
    user.scene.setReplaceResult(True)
    outcome.show(outcome.volume, replace(outcome.result, **told))
    user.scene.setReplaceResult(False)
    settle(user)


@pytest.fixture
def worked(ready):
    """After a run, work by hand, a hidden structure, a finding put away, and a look that was changed."""
    import qt

    ready.run()
    tell(ready, phase="venous", warnings=["Unlike the training: 3 % of it;", 'a | b: "ä".'])
    mask = ready.shown("lung_left")
    island = np.zeros_like(mask)
    island[2:5, 2:8, 2:8] = island[2:5, 60:66, 2:8] = True
    ready.paint("lung_left", mask | island)
    for name, column in (("spleen", 60), ("aorta", 70)):  # a finding each, one of which stays
        stray = np.zeros_like(mask)
        stray[6:9, 2:8, column : column + 6] = True
        ready.paint(name, ready.shown(name) | stray)
    ready.session.outcome.measure(ready.scene.labelMap())
    ready.session.outcome.review(ready.scene.labelMap())
    ready.wait(lambda: not ready.session.jobs.waiting)
    ready.ui.reviewList.setCurrentRow(0)
    ready.ui.ignoreButton.click()
    next(row for row in ready.rows() if row.text(0) == "Right lung").setCheckState(0, qt.Qt.Unchecked)
    ready.ui.opacitySlider.value = 0.2
    return ready


def test_a_scene_comes_back_as_it_was(worked, desktop, tmp_path):
    """After it was closed, in place of another one, in a panel that was opened before or after it."""
    import slicer

    before = seen(worked)
    assert all(before["enabled"]) and before["rows"] and before["findings"]
    assert before["estimate"]  # asked anew after the run
    assert "portal venous" in before["told"][0][0] and before["told"][1][0].endswith('\na | b: "ä".')
    corrected = {row[0] for row in before["rows"] if not row[2]}
    assert corrected == {"Left lung", "Spleen", "Aorta"} and len(before["rows"]) > 3
    path = save(tmp_path)

    close()
    assert worked.rows() == [] and not worked.ui.exportCollapsibleButton.enabled
    assert worked.ui.segmentEditor.mrmlSegmentEditorNode().GetSegmentationNode() is None
    load(path)
    settle(worked)
    assert seen(worked) == before

    load(path, clear=True)
    settle(worked)
    assert seen(worked) == before
    again = save(tmp_path, "again.mrb")

    desktop.unload_module("DeepSeg")
    close()
    load(again)
    opened_after = User(desktop, desktop.load_module(MODULE))
    settle(opened_after)
    assert seen(opened_after) == before

    slicer.util.reloadScriptedModule("DeepSeg")
    reloaded = User(desktop, slicer.modules.deepseg.widgetRepresentation().self())
    settle(reloaded)
    assert seen(reloaded) == before


def test_a_result_that_came_back_can_be_worked_with(worked, tmp_path):
    from DeepSegLogic.refinement import Point

    path = save(tmp_path)
    close()
    load(path)
    settle(worked)
    inside = np.argwhere(worked.shown("lung_left"))
    k, j, i = inside[len(inside) // 2]
    ras = tuple((worked.session.outcome.volume.ijk_to_ras @ [i, j, k, 1.0])[:3])
    worked.scene.corrections.prompt(Point("lung_left", False, ras))
    assert not worked.shown("lung_left")[k, j, i]
    assert worked.scene.corrections.undo() is not None and worked.shown("lung_left")[k, j, i]
    worked.ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
    worked.ui.exportButton.click()
    worked.wait(lambda: not worked.session.jobs.run.busy)
    assert "Files in" in worked.ui.statusLabel.text
    assert worked.ui.reviewList.count == 0 or worked.session.outcome.ignored
    worked.run()
    assert len(worked.rows()) > 5


def test_what_was_undone_has_its_confidence_again_also_in_a_scene(lung, tmp_path):
    def is_sure():
        settle(lung)
        return {row.text(0): bool(row.text(2)) for row in lung.rows()}

    lung.scene.labelMap()  # takes the hole over as a step
    lung.session.outcome.measure(lung.scene.labelMap())
    before, corrected = is_sure(), save(tmp_path, "corrected.mrb")
    assert not before["Left lung"] and before["Right lung"]
    assert lung.scene.corrections.undo() is not None
    assert is_sure() == {**before, "Left lung": True}
    undone = save(tmp_path, "undone.mrb")
    for path, expected in ((corrected, before), (undone, {**before, "Left lung": True})):
        close()
        load(path)
        assert is_sure() == expected


def test_what_was_painted_unnoticed_has_no_confidence_in_a_scene(ready, tmp_path):
    """The scene is saved while somebody paints, or was painted in by a Slicer without DeepSeg: nothing tells it."""
    from DeepSegLib import bridge

    ready.run()
    settle(ready)
    before = {row.text(0): row.text(1) for row in ready.rows()}
    assert all(row.text(2) for row in ready.rows()) and not bridge.isCorrected(ready.scene.resultNode)
    lung = ready.shown("lung_left")
    moved = np.roll(lung, 1, axis=1)  # as many voxels
    ready.paint("lung_left", moved)
    path = save(tmp_path)
    close()
    load(path)
    settle(ready)
    rows = {row.text(0): row for row in ready.rows()}
    assert not rows["Left lung"].toolTip(2)
    assert "lung_left" not in ready.session.outcome.belief_in(ready.scene.labelMap())[0]
    touched = {name for name in before if rows[name].text(1) != before[name]} | {"Left lung"}
    assert {title for title, row in rows.items() if not row.text(2)} == touched
    assert bridge.isCorrected(ready.scene.resultNode) and ready.scene.everCorrected
    again = save(tmp_path, "again.mrb")
    segment = ready.scene.resultNode.GetSegmentation().GetSegment("lung_left")
    assert not storedTag(segment, "confidence")
    close()
    load(again)
    settle(ready)
    assert {row.text(0) for row in ready.rows() if not row.text(2)} == touched


def test_a_scene_of_a_version_that_noted_nothing_of_the_run_opens(ready, tmp_path):
    ready.run()
    settle(ready)
    told = {row.text(0): (row.text(1), row.text(2)) for row in ready.rows()}
    ready.scene.resultNode.RemoveAttribute("DeepSeg.run")
    path = save(tmp_path)
    close()
    load(path)
    settle(ready)
    assert {row.text(0): (row.text(1), row.text(2)) for row in ready.rows()} == told
    assert ready.ui.phaseLabel.isHidden() and ready.ui.warningsLabel.isHidden()


def storedTag(segment, name):
    import vtk

    value = vtk.reference("")
    return str(value) if segment.GetTag(f"DeepSeg.{name}", value) else ""


def test_of_two_segmentations_the_one_shown_comes_back(ready, tmp_path):
    import slicer

    ready.run()
    first = ready.scene.resultNode
    other = slicer.util.addVolumeFromArray(np.random.default_rng(0).integers(-900, 900, (30, 30, 30), np.int16))
    ready.run()
    second = ready.scene.resultNode
    assert second is not first
    name, result = second.GetName(), ready.session.outcome.result
    ready.ui.inputSelector.setCurrentNode(other)
    settle(ready)
    before = seen(ready)
    assert ready.session.outcome.result is result  # it stays when another volume is chosen
    path = save(tmp_path)
    close()
    load(path)
    settle(ready)
    assert ready.scene.resultNode.GetName() == name
    assert ready.ui.inputSelector.currentNode().GetName() == other.GetName()
    assert seen(ready) == before


def test_a_result_whose_volume_is_gone_is_said(ready, tmp_path):
    import slicer

    ready.run()
    name = ready.scene.resultNode.GetName()
    slicer.mrmlScene.RemoveNode(ready.scene.volumeNode)
    path = save(tmp_path)
    close()
    assert not ready.ui.notesLabel.text
    load(path)
    ready.desktop.pump(0.3)
    ui = ready.ui
    assert ready.scene.resultNode.GetName() == name
    assert f"The CT of {name} is not in the scene" in ui.notesLabel.text and not ui.notesLabel.isHidden()
    assert not ui.resultCollapsibleButton.enabled and not ui.exportCollapsibleButton.enabled and ready.rows() == []
    close()
    assert not ready.ui.notesLabel.text


def test_an_older_scene_without_the_tags_comes_back(ready, tmp_path):
    """As another program, or a version before confidences were kept, wrote it."""

    ready.run()
    segmentation = ready.scene.resultNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        for tag in ("model", "version", "quality", "deepseg", "created", "confidence", "boundary_margin", "structure"):
            segmentation.GetNthSegment(index).RemoveTag(f"DeepSeg.{tag}")
    for key in ("corrector", "replace"):
        node = ready.panel.logic.getParameterNode()
        node.SetParameter("Settings", node.GetParameter("Settings").replace(f'"{key}"', f'"no {key}"'))
    before = seen(ready)
    path = save(tmp_path)
    close()
    load(path)
    settle(ready)
    after = seen(ready)
    assert [row[:2] for row in sorted(after["rows"])] == [row[:2] for row in sorted(before["rows"])]
    assert all(row[2] == "" for row in after["rows"]) and after["confidence"] == {} and after["model"] == "unknown"
    assert all(after["enabled"]) and after["editor"] == before["editor"] and after["voxels"] == before["voxels"]


def test_a_scene_that_is_added_takes_nothing_away(lung, tmp_path):
    """One without DeepSeg's nodes, and one in which DeepSeg's panel was never used."""
    import slicer

    lung.desktop.pump(0.2)
    node, result = lung.scene.resultNode, lung.session.outcome.result
    lung.ui.addToButton.click()
    lung.ui.acceptButton.click()
    lung.scene.labelMap()  # takes the hole over as a step
    mine, plain = slicer.mrmlScene, slicer.vtkMRMLScene()
    plain.AddNewNodeByClass("vtkMRMLModelNode", "Somebody's model")
    unused = slicer.vtkMRMLScriptedModuleNode()
    unused.SetSingletonTag("DeepSeg")
    unused.SetAttribute("ModuleName", "DeepSeg")
    for name, more in (("plain.mrml", None), ("unused.mrml", unused)):
        if more is not None:
            plain.AddNode(more)
        plain.SetURL(str(tmp_path / name))
        assert plain.Commit(str(tmp_path / name))
        load(str(tmp_path / name))
        lung.desktop.pump(0.2)
        assert slicer.mrmlScene is mine and lung.scene.resultNode is node
        assert lung.session.outcome.result is result and lung.ui.inputSelector.currentNode().GetName() == "Chest"
        assert lung.ui.segmentEditor.segmentationNode() is node and lung.ui.exportCollapsibleButton.enabled
    assert lung.scene.corrections.undo() is not None and np.array_equal(lung.shown("lung_left"), lung.before)


def test_a_scene_with_a_result_that_is_added_is_shown(lung, tmp_path):
    """Its nodes get other ids; the result that was there stays in the scene."""
    import slicer

    path = save(tmp_path)
    lung.paint("lung_left", lung.before)
    first = lung.scene.resultNode
    load(path)
    settle(lung)
    assert lung.scene.resultNode is not first and first.GetScene() is slicer.mrmlScene
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    assert lung.ui.segmentEditor.segmentationNode() is lung.scene.resultNode
    assert lung.ui.segmentEditor.sourceVolumeNode() is lung.scene.volumeNode
    rows = {r.name: r for r in lung.session.outcome.measurements}
    assert rows["lung_left"].voxels == lung.erased.sum() and rows["lung_left"].confidence is None  # it was painted
    assert rows["lung_right"].confidence is not None


def test_3d_comes_back_as_it_was(ready, tmp_path):
    ready.run()
    ready.ui.show3DButton.click()
    ready.wait(lambda: ready.session.outcome.surfaces)
    path = save(tmp_path)
    close()
    assert not ready.ui.show3DButton.checked
    load(path)
    settle(ready)
    assert ready.ui.show3DButton.checked and ready.session.outcome.surfaces
    surface = ready.scene.resultNode.GetSegmentation().GetSegment("lung_left").GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() == len(ready.session.outcome.surfaces["lung_left"].points)
    ready.ui.show3DButton.click()
    path = save(tmp_path)
    close()
    load(path)
    settle(ready)
    assert not ready.ui.show3DButton.checked
