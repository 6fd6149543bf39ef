"""The plan section: a line for a distance, a plane to drag, a margin as a model, parts as segments, a saved scene."""

import json
import time

import numpy as np
import pytest

from DeepSegLogic import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.planning import Organ, Plane, distance, read_plan

from ..logic.grids import oblique

LINE, PLANE, MODEL = "vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsPlaneNode", "vtkMRMLModelNode"
ONE, OTHER = "lung_left", "lung_right"


def nodes(kind):
    import slicer

    return [node for node in slicer.util.getNodesByClass(kind) if node.GetAttribute("DeepSeg.plan.entry")]


def entries(user):
    return user.session.outcome.planning.entries


def tree(user):
    """The plan's lines: title, value, and those below."""
    top = [user.ui.planTree.topLevelItem(n) for n in range(user.ui.planTree.topLevelItemCount)]
    texts = lambda item: (item.text(0), item.text(1))  # noqa: E731
    return [(*texts(item), [texts(item.child(n)) for n in range(item.childCount())]) for item in top]


def choose(box, name):
    box.currentIndex = box.findData(name)


def settle(user):
    """Wait until a plane that was moved has its place."""
    planning = user.session.outcome.planning
    before = planning.entries
    user.wait(lambda: planning.entries is not before)


def refused(user, button, why):
    """Press a button, which shows an error."""
    button.click()
    assert why in str(user.desktop.errors.pop()) and user.desktop.errors == []


@pytest.fixture
def planner(user):
    """With two balls as the lungs of a result, on a grid askew, both chosen in the plan section."""
    matrix = oblique((1.5, 1.5, 3.0))
    k, j, i = np.mgrid[:24, :48, :64]
    array = np.zeros(k.shape, np.uint8)
    for value, middle in ((1, 18), (2, 46)):
        array[((i - middle) * 1.5) ** 2 + ((j - 24) * 1.5) ** 2 + ((k - 12) * 3.0) ** 2 < 17.0**2] = value
    user.load(np.where(array, -800, 40).astype(np.int16), matrix)
    labelMap = LabelMap(array, matrix, [structure_for(ONE, 1), structure_for(OTHER, 2)])
    run = {"model": {"id": "phantom", "version": "1"}, "settings": {"quality": "draft"}, "versions": {"deepseg": "1"}}
    user.scene.adopt(labelMap, run)
    user.wait(lambda: user.session.outcome.measurements and not user.session.jobs.waiting)
    choose(user.ui.planOneComboBox, ONE)
    choose(user.ui.planOtherComboBox, OTHER)
    return user


def test_a_distance_is_a_line_and_a_margin_a_model(planner):
    ui, label_map = planner.ui, planner.scene.labelMap()
    ui.distanceButton.click()
    assert not ui.distanceButton.enabled
    planner.wait(lambda: entries(planner) and not planner.session.jobs.run.busy)
    found = distance(label_map, ONE, OTHER)
    (line,) = nodes(LINE)
    ends = [line.GetNthControlPointPositionWorld(n) for n in (0, 1)]
    np.testing.assert_allclose(ends, found.points_ras, atol=1e-6)
    assert line.GetLineLengthWorld() == pytest.approx(found.distance_mm, abs=1e-4)
    assert tree(planner)[0][:2] == ("Left lung – Right lung", f"{found.distance_mm:.1f} mm")
    refused(planner, ui.distanceButton, "has this already")

    ui.marginSpinBox.value = 5.0
    ui.spareCheckBox.checked = True
    ui.marginButton.click()
    planner.wait(lambda: len(entries(planner)) == 2)
    assert entries(planner)[1].entry == {"structure": ONE, "mm": 5.0, "keep": [OTHER]}
    (model,) = nodes(MODEL)
    assert model.GetPolyData().GetNumberOfPoints() > 100 and model.GetDisplayNode().GetOpacity() < 1
    assert OTHER not in [part["structure"] for part in entries(planner)[1].numbers["inside"]]

    # a correction by hand makes the numbers stale, and computing them again brings others
    mask = planner.shown(ONE)
    mask[:, :, mask.any((0, 1)).argmax() :][:, :, :3] = False
    planner.paint(ONE, mask)
    planner.wait(lambda: "Press Recompute" in ui.planLabel.text)
    assert all(value.endswith("?") for _title, value, _details in tree(planner))
    ui.recomputeButton.click()
    planner.wait(lambda: not planner.session.jobs.run.busy and "?" not in tree(planner)[0][1])
    assert ui.planLabel.text == ""
    again = distance(planner.scene.labelMap(), ONE, OTHER)
    assert tree(planner)[0][1] == f"{again.distance_mm:.1f} mm"

    # deleted in Slicer's own lists, and brought back
    import slicer

    slicer.mrmlScene.RemoveNode(nodes(LINE)[0])
    planner.wait(lambda: len(entries(planner)) == 1)
    ui.undoPlanButton.click()
    assert len(nodes(LINE)) == 1 and len(tree(planner)) == 2
    ui.planTree.setCurrentItem(ui.planTree.topLevelItem(1))
    ui.removePlanButton.click()
    assert nodes(MODEL) == [] and len(tree(planner)) == 1


def test_a_plane_that_is_dragged_tells_the_volumes_and_its_parts_become_segments(planner):
    ui, label_map = planner.ui, planner.scene.labelMap()
    whole = int(label_map.mask(ONE).sum())
    ui.planeButton.click()
    (plane,) = nodes(PLANE)
    assert plane.GetDisplayNode().GetHandlesInteractive()
    assert [title for title, _value in tree(planner)[0][2]] == ["Part 1, removed", "Part 2"]
    # somebody drags it
    place = np.array(plane.GetOriginWorld()) + np.array([4, 0, 3])
    plane.SetOriginWorld(*place)
    plane.SetNormalWorld(0.6, 0, 0.8)
    expected = Organ(label_map, ONE).cut([Plane(tuple(place), (0.6, 0, 0.8))])
    told = f"Left lung, remnant: {expected.remnant_ml:.0f} ml ({expected.remnant_percent:.1f} %)"
    before = entries(planner)
    planner.wait(lambda: ui.planLabel.text.startswith(told))
    assert entries(planner) is before  # while it moves
    settle(planner)
    assert entries(planner)[0].numbers["remnant_ml"] == pytest.approx(expected.remnant_ml)
    ui.undoPlanButton.click()
    assert not np.allclose(plane.GetOriginWorld(), place)
    planner.session.outcome.planning.redo()
    np.testing.assert_allclose(plane.GetOriginWorld(), place, atol=1e-2)

    # the other part is removed
    item = ui.planTree.topLevelItem(0)
    item.child(1).setCheckState(0, _qt().Qt.Checked)
    planner.wait(lambda: entries(planner)[0].entry["removed"] == [1, 2])
    assert tree(planner)[0][1] == "0 ml (0.0 %)"
    ui.undoPlanButton.click()

    ui.partsButton.click()
    planner.wait(lambda: any(row.text(0) == "Left lung, part 1" for row in planner.rows()))
    parts = entries(planner)[0].numbers["parts"]
    assert [int(planner.shown(part["name"]).sum()) for part in parts] == [part["voxels"] for part in parts]
    assert sum(part["voxels"] for part in parts) == whole
    assert planner.scene.resultNode.GetSegmentation().GetSegment(ONE) is None
    assert "?" not in tree(planner)[0][1]
    ui.undoButton.click()
    assert int(planner.shown(ONE).sum()) == whole
    assert planner.scene.resultNode.GetSegmentation().GetSegment(parts[0]["name"]) is None


def test_a_saved_scene_and_a_plan_file_bring_the_plan_back(planner, tmp_path):
    import slicer

    ui = planner.ui
    ui.planeButton.click()
    ui.diametersButton.click()
    planner.wait(lambda: len(entries(planner)) == 2)
    shown = sorted(tree(planner))
    planner.desktop.answers["Save the plan"] = tmp_path / "plan.json"
    ui.savePlanButton.click()
    saved = read_plan(tmp_path / "plan.json")
    assert saved.entries["diameters"] == [{"structure": ONE}] and not saved.numbers["stale"]

    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    assert tree(planner) == [] and nodes(PLANE) == [] and not ui.savePlanButton.enabled
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    planner.wait(lambda: sorted(tree(planner)) == shown)
    assert len(nodes(PLANE)) == 1 and len(nodes(LINE)) == 2  # not twice
    origin = np.array(nodes(PLANE)[0].GetOriginWorld())
    nodes(PLANE)[0].SetOriginWorld(*(origin + np.array([0, 0, 5])))
    settle(planner)
    assert not np.allclose(
        next(p for p in entries(planner) if p.kind == "resections").entry["cuts"][0]["origin"], origin
    )

    planner.desktop.answers["Open a plan"] = tmp_path / "plan.json"
    ui.openPlanButton.click()
    planner.wait(lambda: sorted(tree(planner)) == shown)
    # a file that is no plan, and one that names what is not there: the plan stays
    (tmp_path / "plan.json").write_text("{}", "utf-8")
    refused(planner, ui.openPlanButton, "is not a plan")
    bad = {"format": "deepseg.plan", "version": 1, "units": "mm", "diameters": [{"structure": "spleen_2"}]}
    (tmp_path / "plan.json").write_text(json.dumps(bad), "utf-8")
    ui.openPlanButton.click()
    planner.wait(lambda: not planner.session.jobs.run.busy)
    assert "spleen_2" in ui.statusLabel.text and sorted(tree(planner)) == shown
    # whoever wrote the scene may have written anything
    planner.scene.resultNode.SetAttribute("DeepSeg.plan", '{"format": "deepseg.plan", "numbers": [')
    slicer.util.saveScene(str(tmp_path / "other.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "other.mrb"))
    end = time.monotonic() + 1
    planner.wait(lambda: time.monotonic() > end)
    assert planner.scene.resultNode is not None and tree(planner) == []


def _qt():
    import qt

    return qt
