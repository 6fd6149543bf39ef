"""The plan section: a line for a distance, a plane to drag, a margin as a model, parts as segments, a saved scene."""

import json
import math
import time

import numpy as np
import pytest

from DeepSegLogic import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.planning import Ellipsoid, FreeSurface, Organ, Plane, distance, distance_map, read_plan
from DeepSegLogic.planning.looks import PRESETS
from DeepSegLogic.planning.plan_file import cut_of

from ..logic.grids import oblique

LINE, PLANE, MODEL = "vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsPlaneNode", "vtkMRMLModelNode"
ONE, OTHER = "lung_left", "lung_right"


def ras(ijk, ijk_to_ras):
    return ijk @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]


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


def test_a_structure_chosen_in_the_table_is_planned_with(planner):
    ui, titles = planner.ui, {name: structure_for(name, 1).title for name in (ONE, OTHER)}
    for name, left in ((OTHER, ONE), (ONE, OTHER), (ONE, OTHER)):
        planner.choose_row(titles[name])
        assert (ui.planOneComboBox.currentData, ui.planOtherComboBox.currentData) == (name, left)


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


def test_a_plane_that_is_dragged_tells_the_volumes_and_its_parts_become_segments(planner, monkeypatch):
    from DeepSegLib import scenePlan

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
    with monkeypatch.context() as patch:
        patch.setattr(scenePlan, "SETTLED_S", math.inf)
        planner.wait(lambda: ui.planLabel.text.startswith(told))
        assert entries(planner) is before  # while it moves
    settle(planner)
    assert entries(planner)[0].numbers["remnant_ml"] == pytest.approx(expected.remnant_ml)
    ui.undoPlanButton.click()
    assert not np.allclose(plane.GetOriginWorld(), place)
    ui.redoPlanButton.click()
    assert not ui.redoPlanButton.enabled
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


def test_what_the_section_offers_can_be_planned_with_after_the_parts_became_segments(planner):
    ui = planner.ui
    ui.planeButton.click()
    ui.partsButton.click()
    planner.wait(lambda: any(row.text(0) == "Left lung, part 1" for row in planner.rows()))

    def offered():
        return [ui.planOneComboBox.itemData(n) for n in range(ui.planOneComboBox.count)]

    assert offered() == [ONE, OTHER]
    planner.choose_row("Left lung, part 2")
    assert ui.planOneComboBox.currentData == ONE
    for name in offered():
        choose(ui.planOneComboBox, name)
        for button in (ui.planeButton, ui.surfaceButton):
            button.click()
            assert planner.desktop.errors == []
    assert [len(planned.entry["cuts"]) for planned in entries(planner)] == [3, 2]
    # without its resection the parts are structures as any other
    planner.session.outcome.planning.remove(0)
    assert offered() == ["lung_left_part_1", "lung_left_part_2", OTHER]


def test_a_saved_scene_and_a_plan_file_bring_the_plan_back(planner, tmp_path):
    import slicer

    ui = planner.ui
    ui.planeButton.click()
    ui.diametersButton.click()
    planner.wait(lambda: len(entries(planner)) == 2)
    titles = {f"Left lung, {which} diameter" for which in ("longest", "perpendicular")}
    assert {node.GetName() for node in nodes(LINE)} == titles
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


def middle(label_map, name):
    voxels = np.argwhere(label_map.mask(name))[:, ::-1]
    return (label_map.ijk_to_ras @ [*voxels.mean(0), 1])[:3]


def numbers(user):
    return entries(user)[0].numbers


def test_an_ellipsoid_is_a_box_to_drag_and_a_surface_nine_points(planner):
    ui, label_map = planner.ui, planner.scene.labelMap()
    ui.ellipsoidButton.click()
    (box,) = nodes("vtkMRMLMarkupsROINode")
    (body,) = nodes(MODEL)
    place = np.add(middle(label_map, ONE), (3, 1, 0))
    turn = np.eye(4)
    turn[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    box.GetObjectToNodeMatrix().DeepCopy(turn.ravel())
    box.SetCenterWorld(*place)
    box.SetSizeWorld(20, 24, 16)
    settle(planner)
    expected = Organ(label_map, ONE).cut([Ellipsoid(tuple(place), (10, 12, 8), tuple(map(tuple, turn[:3, :3].T)))])
    assert numbers(planner)["remnant_ml"] == pytest.approx(expected.remnant_ml, rel=2e-3)
    bounds = np.array(body.GetPolyData().GetBounds()).reshape(3, 2)
    np.testing.assert_allclose(bounds.mean(1), place, atol=0.1)
    ui.undoPlanButton.click()
    ui.undoPlanButton.click()
    assert nodes("vtkMRMLMarkupsROINode") == [] == nodes(MODEL) and entries(planner) == ()

    ui.surfaceButton.click()
    (points,) = nodes("vtkMRMLMarkupsFiducialNode")
    assert points.GetNumberOfControlPoints() == 9 and len(nodes(MODEL)) == 1
    cut = entries(planner)[0].entry["cuts"][0]
    flat = numbers(planner)["remnant_ml"]
    assert flat == pytest.approx(
        Organ(label_map, ONE).cut([Plane(cut["points"][4], cut["normal"])]).remnant_ml, rel=0.02
    )
    points.SetNthControlPointPositionWorld(4, *(np.array(cut["points"][4]) + 8 * np.array(cut["normal"])))
    settle(planner)
    cut = entries(planner)[0].entry["cuts"][0]
    free = FreeSurface(tuple(map(tuple, cut["points"])), tuple(cut["normal"]))
    assert numbers(planner)["remnant_ml"] == Organ(label_map, ONE).cut([free]).remnant_ml > flat
    # onto another point: refused, and back in its place
    points.SetNthControlPointPositionWorld(4, *cut["points"][3])
    planner.wait(lambda: "above one another" in ui.planLabel.text)
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(4), cut["points"][4], atol=1e-3)
    assert entries(planner)[0].entry["cuts"] == [cut]


def test_branches_and_paths_are_drawn_by_clicks(planner):
    import slicer

    ui, label_map = planner.ui, planner.scene.labelMap()
    place, interaction = middle(label_map, ONE), slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def draw(button, *points):
        button.click()
        assert button.checked and interaction.GetCurrentInteractionMode() == interaction.Place
        selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        node = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID())
        for point in points:
            node.AddControlPointWorld(*point)
        button.click()
        planner.wait(lambda: not button.checked)

    draw(ui.branchButton, np.add(place, (-6, 0, 0)), np.add(place, (-4, 5, 0)))
    assert entries(planner) == ()
    draw(ui.branchButton, np.add(place, (7, 0, 0)))
    planner.wait(lambda: entries(planner))
    branches = nodes("vtkMRMLMarkupsCurveNode")
    assert sorted(node.GetName() for node in branches) == ["Branch 1", "Branch 2"]
    (cut,) = entries(planner)[0].entry["cuts"]
    expected = Organ(label_map, ONE).cut([cut_of(cut)])
    assert numbers(planner)["remnant_ml"] == expected.remnant_ml and len(expected.parts) == 2
    draw(ui.branchButton, np.add(place, (0, -8, 2)))
    planner.wait(lambda: len(numbers(planner)["parts"]) == 3)
    slicer.mrmlScene.RemoveNode(next(n for n in nodes("vtkMRMLMarkupsCurveNode") if n.GetName() == "Branch 1"))
    planner.wait(lambda: list(entries(planner)[0].entry["cuts"][0]["marks"]) == ["Branch 2", "Branch 3"])
    # a branch outside of the volume is refused, and stays to be moved
    draw(ui.branchButton, np.add(place, (0, 0, 900)))
    planner.wait(lambda: "outside of the volume" in ui.planLabel.text)
    assert len(numbers(planner)["parts"]) == 2

    draw(ui.pathButton, np.add(place, (-60, 0, 0)), place)
    planner.wait(lambda: len(entries(planner)) == 2)
    assert entries(planner)[1].numbers["length_mm"] == pytest.approx(60, abs=0.01)
    assert entries(planner)[1].numbers["clearances"][0]["structure"] == OTHER
    assert len(nodes(LINE)) == 1
    draw(ui.pathButton, place)  # no target: nothing
    planner.wait(lambda: len(list(slicer.util.getNodesByClass(LINE))) == 1)


def test_a_distance_map_has_colors_and_lines(planner):
    ui = planner.ui
    ui.distanceMapButton.click()
    planner.wait(lambda: entries(planner) and not planner.session.jobs.run.busy)
    surface, lines = sorted(nodes(MODEL), key=lambda node: node.GetPolyData().GetNumberOfLines())
    display = surface.GetDisplayNode()
    assert display.GetScalarVisibility() and display.GetActiveScalarName() == "color"
    found = distance_map(planner.scene.labelMap(), ONE, OTHER)
    assert surface.GetPolyData().GetNumberOfPoints() == len(found.distances_mm)
    assert lines.GetPolyData().GetNumberOfLines() > 10 and surface.GetPolyData().GetNumberOfLines() == 0
    assert [title for title, _value in tree(planner)[0][2]] == ["Within 5 mm", "Within 10 mm", "Within 20 mm"]
    # a ball is no vessel: said, and the plan stays
    ui.vesselButton.click()
    planner.wait(lambda: not planner.session.jobs.run.busy)
    assert "no center line" in ui.statusLabel.text and len(entries(planner)) == 1


def test_presets_views_clipping_and_pictures(planner, tmp_path):
    import slicer

    ui, qt = planner.ui, _qt()
    display = planner.scene.resultNode.GetDisplayNode()
    ui.planeButton.click()
    ui.partsButton.click()
    planner.wait(lambda: any(row.text(0) == "Left lung, part 1" for row in planner.rows()))
    ui.lookComboBox.currentIndex = ui.lookComboBox.findData("vessels")
    ui.lookComboBox.activated.emit(ui.lookComboBox.currentIndex)
    planner.wait(lambda: display.GetSegmentOpacity3D(OTHER) == pytest.approx(PRESETS["vessels"].organ))
    assert display.GetSegmentOpacity3D("lung_left_part_1") == pytest.approx(PRESETS["vessels"].removed)
    assert display.GetVisibility3D()
    ui.lookComboBox.currentIndex = ui.lookComboBox.findData("remnant")
    ui.lookComboBox.activated.emit(ui.lookComboBox.currentIndex)
    planner.wait(lambda: not display.GetSegmentVisibility3D("lung_left_part_1"))
    assert display.GetSegmentVisibility3D("lung_left_part_2") and display.GetSegmentOpacity3D(OTHER) == 1.0

    camera = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLCameraNode")
    label_map = planner.scene.labelMap()
    parts = label_map.mask("lung_left_part_1") | label_map.mask("lung_left_part_2")  # what the plan is about
    voxels = ras(np.argwhere(parts)[:, ::-1], label_map.ijk_to_ras)
    for button, towards in (
        (ui.frontViewButton, (0, 1, 0)),
        (ui.leftViewButton, (-1, 0, 0)),
        (ui.surgeonViewButton, (0.6, 0.8, 0)),
    ):
        button.click()
        away = np.array(camera.GetPosition()) - camera.GetFocalPoint()
        np.testing.assert_allclose(away / np.linalg.norm(away), towards, atol=1e-6)
        right, up = np.cross(camera.GetViewUp(), towards), np.array(camera.GetViewUp())
        seen = (voxels - camera.GetPosition()) @ np.stack([right, up, np.negative(towards)], 1)
        places = seen[:, :2] / seen[:, 2:] / np.tan(np.radians(camera.GetViewAngle() / 2))
        assert 0.5 < np.abs(places).max() < 1.0  # the lung fills the picture, whatever the plane's size

    ui.clipCheckBox.checked = True
    assert display.GetClipping() and display.GetClipNode().GetNumberOfClippingNodes() == 1
    ui.clipCheckBox.checked = False
    assert not display.GetClipping()
    ui.scaleBarCheckBox.checked = True
    view = slicer.app.layoutManager().threeDWidget(0).mrmlViewNode()
    assert view.GetRenderMode() == view.Orthographic and view.GetRulerType() == view.RulerTypeThin
    ui.scaleBarCheckBox.checked = False
    assert view.GetRulerType() == view.RulerTypeNone

    ui.copyPictureButton.click()
    window = slicer.app.layoutManager().threeDWidget(0).threeDView().renderWindow()
    assert qt.QApplication.clipboard().image().width() == window.GetSize()[0]
    planner.desktop.answers["Folder for the pictures"] = tmp_path
    ui.savePicturesButton.click()
    planner.wait(lambda: not planner.session.jobs.run.busy)
    assert planner.session.jobs.run.error is None
    assert {path.name for path in (tmp_path / "deepseg-pictures").iterdir()} >= {"front.png", "turntable.gif"}


@pytest.fixture
def labelled(planner):
    """With four lines in one place, and a window to see them in."""
    import slicer

    ui = planner.ui
    ui.distanceButton.click()
    planner.wait(lambda: len(entries(planner)) == 1 and not planner.session.jobs.run.busy)
    ui.diametersButton.click()
    planner.wait(lambda: len(entries(planner)) == 2 and not planner.session.jobs.run.busy)
    choose(ui.planOneComboBox, OTHER)
    ui.diametersButton.click()
    planner.wait(lambda: len(entries(planner)) == 3 and not planner.session.jobs.run.busy)
    window = slicer.app.layoutManager().threeDWidget(0).threeDView().renderWindow()
    window.SetSize(520, 400)
    return planner, window, window.GetRenderers().GetFirstRenderer()


def boxes(renderer):
    """Of the texts in a view: text → left, bottom, right, top, in px."""
    found = {}
    for prop in renderer.GetViewProps():
        if prop.IsA("vtkTextActor") and prop.GetVisibility():
            size = [0.0, 0.0]
            prop.GetSize(renderer, size)
            x, y = prop.GetPosition()
            found[prop.GetInput().replace("\n", " ")] = (x, y, x + size[0], y + size[1])
    return found


def whole_and_apart(shown, size):
    """Whether texts are in a view of this size, and none covers another."""
    for text, (left, bottom, right, top) in shown.items():
        assert left >= 0 and bottom >= 0 and right <= size[0] and top <= size[1], text
        for other, (left_2, bottom_2, right_2, top_2) in shown.items():
            apart = right <= left_2 or right_2 <= left or top <= bottom_2 or top_2 <= bottom
            assert other == text or apart, (text, other)


@pytest.mark.parametrize("orientation", ["Red", "Green", "Yellow"])
def test_names_in_slices_are_whole_where_an_end_is_in_the_slice(labelled, orientation):
    """By the distances of its ends from the plane of the slice."""
    import slicer

    planner, size = labelled[0], (420, 300)
    widget = slicer.app.layoutManager().sliceWidget(orientation)
    window, node, rng = widget.sliceView().renderWindow(), widget.mrmlSliceNode(), np.random.default_rng(5)
    window.SetSize(*size)
    node.SetDimensions(*size, 1)
    ends = {n.GetName(): [np.array(n.GetNthControlPointPositionWorld(p)) for p in (0, 1)] for n in nodes(LINE)}
    seen = set()
    for number in range(40):
        one, other = list(ends.values())[number % 5]
        place = (one, other)[number // 5 % 2] + rng.uniform(-30, 30, 3) * (number % 2)
        node.SetFieldOfView(240 * size[0] / size[1], 240, 2.0)
        node.JumpSliceByCentering(*place)
        window.Render()
        shown = boxes(window.GetRenderers().GetFirstRenderer())
        matrix = np.array([[node.GetSliceToRAS().GetElement(r, c) for c in range(4)] for r in range(4)])
        for name, points in ends.items():
            away = [abs((point - matrix[:3, 3]) @ matrix[:3, 2]) for point in points]
            if min(abs(mm - 1) for mm in away) > 1e-3:  # half of 2 mm
                assert any(text.startswith(name) for text in shown) == (min(away) < 1), name
        whole_and_apart(shown, size)
        seen |= set(shown)
    assert len(seen) == len(ends) == 5
    planner.panel.cleanup()
    assert boxes(window.GetRenderers().GetFirstRenderer()) == {}


def test_names_in_3d_never_cover_each_other_and_slicer_writes_none(labelled):
    planner, window, renderer = labelled
    camera, rng = renderer.GetActiveCamera(), np.random.default_rng(3)
    lengths = sorted(f"{node.GetLineLengthWorld():.1f} mm" for node in nodes(LINE))
    middle = np.mean([node.GetNthControlPointPositionWorld(0) for node in nodes(LINE)], 0)
    for size in ((520, 400), (240, 420)) * 15:
        window.SetSize(*size)
        direction = rng.normal(size=3)
        camera.SetFocalPoint(*middle)
        camera.SetPosition(*(middle + rng.uniform(80, 600) * direction / np.linalg.norm(direction)))
        camera.SetViewUp(*np.cross(direction, (0.3, 0.5, 0.8)))
        renderer.ResetCameraClippingRange()
        window.Render()
        shown = boxes(renderer)
        assert sorted(text[-7:].strip() for text in shown) == lengths
        whole_and_apart(shown, size)
    for node in nodes(LINE):
        displays = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
        told = [(d.GetVisibility2D(), d.GetVisibility3D(), d.GetPropertiesLabelVisibility()) for d in displays]
        assert told == [(True, False, False), (False, True, False)]
    planner.panel.cleanup()
    assert boxes(renderer) == {}


def test_names_in_3d_go_with_the_plan_and_with_the_scene(labelled):
    import slicer

    planner, _window, renderer = labelled
    assert len(boxes(renderer)) == len(nodes(LINE)) == 5
    planner.ui.undoPlanButton.click()
    assert len(boxes(renderer)) == len(nodes(LINE)) == 3
    slicer.mrmlScene.Clear()
    assert boxes(renderer) == {}


def _qt():
    import qt

    return qt


@pytest.mark.parametrize("purpose", ["[" * 100_000, "no JSON", "[]", '{"organ": 5, "vessel": null}', '{"evil": 1}'])
def test_a_drawn_line_of_a_scene_by_somebody_else_is_left_alone(planner, purpose):
    import slicer

    for kind in ("vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsLineNode"):
        node = slicer.mrmlScene.AddNewNodeByClass(kind)
        node.SetAttribute("DeepSeg.plan.pending", purpose)
        for place in ((1, 2, 3), (4, 5, 6)):
            node.AddControlPointWorld(*place)
        planner.scene.plan.placing.look()
        assert node.GetScene() is not None and entries(planner) == ()
