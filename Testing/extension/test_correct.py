"""Corrections by drawings, with one undo for them and for work by hand."""

import numpy as np
import pytest
from vtkmodules.vtkFiltersCore import vtkMassProperties

from DeepSegLogic.session.reach import MOST_NOTCHES

from .conftest import in_stand_in

POINT, STROKE, BOX = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsROINode"


def drawing(kind):
    """The node that is placed now, or None."""
    import slicer

    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    node = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID() or "")
    assert node is None or node.IsA(kind)
    return node if placing() else None


def placing():
    import slicer

    mode = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton").GetCurrentInteractionMode()
    return mode == slicer.vtkMRMLInteractionNode.Place


def draw(user, kind, kji, end=True):
    """Click on voxels as a user does; Slicer then leaves the place mode, and the drawing is accepted if it waits."""
    import slicer

    node, told = drawing(kind), user.ui.correctLabel.text
    for voxel in kji:
        node.AddControlPointWorld(*(user.session.outcome.volume.ijk_to_ras @ [*voxel[::-1], 1.0])[:3])
    if end:
        slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SwitchToViewTransformMode()
        user.wait(lambda: user.ui.correctLabel.text != told)
        if outlined():
            user.ui.acceptButton.click()
        assert node.GetScene() is None and outlined() is None


def outlined():
    """The node with the outline, or None."""
    import slicer

    return slicer.mrmlScene.GetFirstNodeByName("DeepSegProposal")


def test_clicks_correct_one_structure_with_one_undo(lung):
    result, ui = lung.session.outcome.result.label_map, lung.ui
    ui.addToButton.click()
    draw(lung, POINT, [lung.centre])
    assert "Left lung" in ui.correctLabel.text and "ml" in ui.correctLabel.text, ui.correctLabel.text
    assert lung.shown("lung_left")[tuple(lung.centre)]
    assert np.array_equal(lung.shown("lung_left"), lung.scene.correction.label_map.mask("lung_left"))
    others = [s.name for s in result.structures if s.name != "lung_left" and result.mask(s.name).any()]
    assert all(np.array_equal(lung.shown(name), result.mask(name)) for name in others)

    draw(lung, POINT, [lung.centre])  # the next one can be drawn at once
    assert "already agrees" in ui.correctLabel.text
    ui.undoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    ui.undoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.before)
    ui.redoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)


def surface_of_left_lung(lung):
    return lung.scene.resultNode.GetSegmentation().GetSegment("lung_left").GetRepresentation("Closed surface")


def check_surface(lung):
    """The surface in 3D is that of the voxels as they are now."""
    lung.wait(lambda: not lung.session.jobs.waiting)
    mass = vtkMassProperties()
    mass.SetInputData(surface_of_left_lung(lung))
    expected = np.count_nonzero(lung.shown("lung_left")) * abs(np.linalg.det(lung.session.outcome.volume.ijk_to_ras))
    assert mass.GetVolume() == pytest.approx(expected, rel=1e-3)


def test_surfaces_follow_a_correction_only_once_somebody_asked_for_them(lung):
    ui = lung.ui
    ui.addToButton.click()
    draw(lung, POINT, [lung.centre])
    lung.wait(lambda: not lung.session.jobs.waiting)
    assert surface_of_left_lung(lung) is None and not ui.show3DButton.checked
    ui.undoButton.click()
    ui.show3DButton.click()
    for button in (ui.redoButton, ui.undoButton, ui.redoButton):  # while the surfaces of before are made
        button.click()
    check_surface(lung)


def test_surfaces_follow_undo_of_what_was_painted(lung):
    """VTK's surfaces go with the voxels that they were made of."""
    lung.ui.show3DButton.click()
    check_surface(lung)
    lung.paint("lung_left", lung.before)
    lung.ui.undoButton.click()
    check_surface(lung)
    assert lung.ui.show3DButton.checked


def test_a_hidden_structure_stays_hidden_in_the_table_after_a_correction(lung):
    import qt

    def row():
        return next(r for r in lung.rows() if r.text(0) == "Right lung")

    def told():
        return lung.ui.hiddenLabel.isVisibleTo(lung.ui.exportCollapsibleButton)

    lung.ui.exportCollapsibleButton.collapsed = False
    assert not told()
    row().setCheckState(0, qt.Qt.Unchecked)
    lung.wait(told)
    assert "exported, too" in lung.ui.hiddenLabel.text
    before = lung.session.outcome.measurements
    lung.ui.addToButton.click()
    draw(lung, POINT, [lung.centre])
    lung.wait(lambda: lung.session.outcome.measurements is not before)
    assert row().checkState(0) == qt.Qt.Unchecked
    assert not lung.scene.resultNode.GetDisplayNode().GetSegmentVisibility("lung_right")
    assert next(r for r in lung.rows() if r.text(0) == "Left lung").checkState(0) == qt.Qt.Checked
    row().setCheckState(0, qt.Qt.Checked)
    lung.wait(lambda: not told())


def test_a_stroke_fixes_all_that_it_runs_through(lung):
    k, j, i = lung.centre
    lung.ui.strokeButton.click()
    lung.ui.addToButton.click()
    draw(lung, STROKE, [(k, j - 2, i), (k, j, i), (k, j + 2, i)])
    assert lung.shown("lung_left")[k, j - 2 : j + 3, i].all()

    lung.ui.removeFromButton.click()
    assert not lung.ui.addToButton.checked
    draw(lung, STROKE, [(k, j, i - 1), (k, j, i + 1)])
    assert not lung.shown("lung_left")[k, j, i - 1 : i + 2].any()


def drag(kji_points, matrix):
    """Drag the left button in the axial view over voxels. What reached Slicer's own handling is returned."""
    import slicer

    widget = slicer.app.layoutManager().sliceWidget("Red")
    interactor, node, seen = widget.sliceView().interactor(), widget.mrmlSliceNode(), []
    names = ("LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent")
    tags = [interactor.AddObserver(name, lambda _, event: seen.append(event)) for name in names]
    places = [(matrix @ [*kji[::-1], 1.0])[:3] for kji in kji_points]
    node.JumpSliceByOffsetting(*places[0])
    toXY = np.linalg.inv(slicer.util.arrayFromVTKMatrix(node.GetXYToRAS()))
    xy = [np.rint((toXY @ [*place, 1.0])[:2]).astype(int) for place in places]
    for name, (x, y) in zip(
        (names[1], names[0], *[names[1]] * (len(xy) - 1), names[2], names[1]), (xy[0], *xy, xy[-1], xy[-1]), strict=True
    ):
        interactor.SetEventPosition(int(x), int(y))
        interactor.InvokeEvent(name)
    for tag in tags:
        interactor.RemoveObserver(tag)
    return seen


@in_stand_in
def test_a_stroke_is_dragged_in_a_slice_view(lung):
    import slicer

    k, j, i = lung.centre
    matrix = lung.session.outcome.volume.ijk_to_ras
    voxels = [(k, j + step, i) for step in np.linspace(-2, 2, 9)]
    lung.ui.strokeButton.click()
    lung.ui.addToButton.click()
    told, node = lung.ui.correctLabel.text, drawing(STROKE)
    assert "drag" in told
    preview = node.AddControlPointWorld(0, 0, 0)  # as Slicer shows it under the mouse
    node.SetNthControlPointPositionWorld(preview, 0, 0, 0, node.PositionPreview)
    assert drag(voxels, matrix) == ["MouseMoveEvent"] * 2  # before, and after
    lung.wait(lambda: lung.ui.correctLabel.text != told)
    assert lung.shown("lung_left")[k, j - 2 : j + 3, i].all()
    assert placing() and drawing(STROKE).GetNumberOfControlPoints() == 0  # for the next one

    slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor().SetShiftKey(1)
    assert len(drag(voxels, matrix)) == 12  # Slicer's own: it moves the slice
    slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor().SetShiftKey(0)
    lung.ui.acceptButton.click()
    assert len(drag(voxels, matrix)) == 12
    lung.ui.undoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)


def test_accept_takes_a_stroke_that_was_not_ended_and_stops(lung):
    k, j, i = lung.centre
    lung.ui.strokeButton.click()
    lung.ui.addToButton.click()
    draw(lung, STROKE, [(k, j - 1, i), (k, j + 1, i)], end=False)
    lung.ui.acceptButton.click()
    assert lung.shown("lung_left")[k, j - 1 : j + 2, i].all()
    assert not placing() and not lung.ui.addToButton.checked
    lung.ui.undoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)


def test_a_box_says_how_far_the_structure_may_grow_or_that_it_is_not_there(lung):
    k, j, i = lung.centre
    lung.ui.boxButton.click()
    lung.ui.addToButton.click()
    draw(lung, BOX, [(k - 1, j - 2, i - 2), (k + 1, j + 2, i + 2)])
    grown = lung.shown("lung_left") & ~lung.erased
    assert grown[k, j, i]
    assert not (grown & ~_box(grown, (k - 1, j - 2, i - 2), (k + 1, j + 2, i + 2))).any()

    lung.ui.removeFromButton.click()
    draw(lung, BOX, [(k - 1, j - 2, i - 2), (k + 1, j + 2, i + 2)])
    assert not lung.shown("lung_left")[k - 1 : k + 2, j - 2 : j + 3, i - 2 : i + 3].any()


@pytest.mark.parametrize("kind", [POINT, STROKE, BOX])
def test_what_is_clicked_is_outlined_until_it_is_accepted(lung, kind):
    import slicer

    k, j, i = lung.centre
    ui, voxels = lung.ui, {POINT: [(k, j, i)], STROKE: [(k, j - 1, i), (k, j + 1, i)]}
    {POINT: ui.pointButton, STROKE: ui.strokeButton, BOX: ui.boxButton}[kind].click()
    ui.addToButton.click()

    def click():
        told, node = ui.correctLabel.text, drawing(kind)
        for voxel in voxels.get(kind, [(k - 2, j - 3, i - 3), (k + 2, j + 3, i + 3)]):
            node.AddControlPointWorld(*(lung.session.outcome.volume.ijk_to_ras @ [*voxel[::-1], 1.0])[:3])
        slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SwitchToViewTransformMode()
        lung.wait(lambda: ui.correctLabel.text != told)
        assert outlined() is not None and node.GetLocked()
        assert np.array_equal(lung.shown("lung_left"), lung.erased)
        return float(ui.correctLabel.text.split("+")[1].split(" ml")[0])

    believed = click()
    told = ui.correctLabel.text
    assert ui.reachSlider.maximum == -ui.reachSlider.minimum == MOST_NOTCHES  # as on the page
    ui.reachSlider.value = -4
    lung.wait(lambda: ui.correctLabel.text != told)
    told = ui.correctLabel.text
    assert "Accept" in told and float(told.split("+")[1].split(" ml")[0]) < believed
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    ui.acceptButton.click()
    grown = np.count_nonzero(lung.shown("lung_left") & ~lung.erased)
    assert grown * lung.scene.correction.label_map.voxel_ml < believed
    assert outlined() is None and placing()  # the next one can be drawn
    ui.undoButton.click()

    click()
    ui.addToButton.click()
    assert outlined() is None and not placing()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)


def _box(array, low, high):
    mask = np.zeros_like(array)
    mask[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
    return mask


@pytest.mark.parametrize(("button", "kind", "word"), [("point", POINT, "click"), ("stroke", STROKE, "stroke")])
@pytest.mark.parametrize("sign", ["addTo", "removeFrom"])
def test_what_is_drawn_outside_the_ct_is_answered_in_the_panels_words(lung, button, kind, word, sign):
    getattr(lung.ui, f"{button}Button").click()
    getattr(lung.ui, f"{sign}Button").click()
    draw(lung, kind, [(-900, -900, -900), (-900, -900, -890)][: 1 if kind == POINT else 2])
    told = lung.ui.correctLabel.text
    assert told == f"The {word} is outside the volume, so nothing was corrected. Draw inside the volume."
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    lung.ui.acceptButton.click()


def test_a_structure_that_was_removed_by_hand_is_named(lung):
    lung.scene.resultNode.GetSegmentation().RemoveSegment("lung_left")
    lung.ui.addToButton.click()
    draw(lung, POINT, [lung.centre])
    assert (
        lung.ui.correctLabel.text == "The result no longer has the structure Left lung. Choose another one in the list."
    )


def test_drawing_stops_without_a_trace(lung):
    """By a right click, by the button, by leaving the module, by closing the scene."""
    import slicer

    def nothing_left():
        left = [slicer.util.getNodesByClass(f"vtkMRMLMarkups{kind}Node") for kind in ("", "Display")]
        return not any(left) and not placing() and not lung.ui.addToButton.checked

    right_click = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SwitchToViewTransformMode
    close_scene = slicer.mrmlScene.Clear
    for end in (right_click, lung.ui.addToButton.click, lambda: slicer.util.selectModule("Data"), close_scene):
        slicer.util.selectModule("DeepSeg")
        lung.ui.strokeButton.click()
        lung.ui.addToButton.click()
        assert placing() and drawing(STROKE) is not None
        if end is not right_click:
            draw(lung, STROKE, [lung.centre], end=False)
        if end is close_scene:
            assert np.array_equal(lung.shown("lung_left"), lung.erased)
        end()
        lung.wait(nothing_left)


def test_the_section_names_the_structure_that_is_corrected_also_while_a_tool_is_pressed(lung):
    ui = lung.ui
    assert ui.correctLabel.text == "Left lung: press Add or Remove, then draw in a view."
    ui.addToButton.click()
    assert ui.correctLabel.text.startswith("Add to Left lung: ")
    lung.choose_row("Right lung")
    assert ui.correctLabel.text.startswith("Add to Right lung: ") and ui.addToButton.checked
    draw(lung, POINT, [lung.centre])
    assert "(Right lung +" in ui.correctLabel.text
    draw(lung, POINT, [np.argwhere(lung.erased)[0]])
    assert "belongs to Left lung. Remove it there first" in ui.correctLabel.text
    ui.addToButton.click()
    lung.choose_row("Left lung")
    assert ui.correctLabel.text == "Left lung: press Add or Remove, then draw in a view."


def test_without_a_structure_it_is_asked_for(ready):
    ready.run()
    ready.ui.addToButton.click()
    assert "list first" in ready.ui.correctLabel.text
    assert not ready.ui.addToButton.checked and not placing()


def test_one_kind_of_prompt_is_pressed_also_when_it_is_pressed_again(lung):
    kinds = lung.ui.pointButton, lung.ui.strokeButton, lung.ui.boxButton
    for pressed in (*kinds, kinds[-1], kinds[0], kinds[0]):
        pressed.click()
        assert [button.checked for button in kinds] == [button is pressed for button in kinds]


@in_stand_in
def test_shortcuts_work_while_the_module_is_shown(lung, desktop):
    import slicer
    from PySide6 import QtTest
    from PySide6.QtCore import Qt

    target = slicer.util.mainWindow()._object
    target.show()
    target.activateWindow()
    desktop.pump(5, until=target.isActiveWindow)
    QtTest.QTest.keyClick(target, Qt.Key_S, Qt.ShiftModifier)
    assert lung.ui.strokeButton.checked
    QtTest.QTest.keyClick(target, Qt.Key_Plus)
    assert lung.ui.addToButton.checked and placing()
    QtTest.QTest.keyClick(target, Qt.Key_Return, Qt.ControlModifier)
    assert not placing()
    QtTest.QTest.keyClick(target, Qt.Key_Plus)
    slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor().InvokeEvent("LeftButtonPressEvent")
    assert drawing(STROKE).GetNumberOfControlPoints() == 1
    QtTest.QTest.keyClick(target, Qt.Key_Escape)  # what is being drawn is dropped
    assert not placing() and not lung.ui.addToButton.checked
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    QtTest.QTest.keyClick(target, Qt.Key_Escape)  # else the key is the Segment Editor's
    slicer.util.selectModule("Data")
    QtTest.QTest.keyClick(target, Qt.Key_Plus)
    assert not lung.ui.addToButton.checked
    assert lung.ui.undoButton.toolTip.endswith(" (Ctrl+Z)</p>"), "no paragraph of its own"

    slicer.util.selectModule("DeepSeg")
    slicer.util.reloadScriptedModule("DeepSeg")  # it leaves the old panel behind, hidden
    fresh = slicer.modules.deepseg.widgetRepresentation().self()
    fresh.ui.correctCollapsibleButton.enabled = True
    desktop.pump(5, until=lambda: fresh.ui.mainWidget.visible)
    QtTest.QTest.keyClick(target, Qt.Key_B, Qt.ShiftModifier)
    assert fresh.ui.boxButton.checked and not lung.ui.boxButton.checked
    target.hide()


def test_a_change_is_outlined_while_it_is_drawn_and_the_wheel_changes_its_size(lung):
    """The outline is not part of the result; releasing the button applies what is outlined."""
    import slicer

    widget = slicer.app.layoutManager().sliceWidget("Red")
    interactor, view = widget.sliceView().interactor(), widget.mrmlSliceNode()
    place = (lung.session.outcome.volume.ijk_to_ras @ [*lung.centre[::-1], 1.0])[:3]
    view.JumpSliceByOffsetting(*place)
    toXY = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.GetXYToRAS()))
    interactor.SetEventPosition(*(int(x) for x in np.rint((toXY @ [*place, 1.0])[:2])))

    def outlined():
        node = slicer.mrmlScene.GetFirstNodeByName("DeepSegProposal")
        return (
            0
            if node is None
            else np.count_nonzero(
                slicer.util.arrayFromSegmentBinaryLabelmap(
                    node, node.GetSegmentation().GetNthSegmentID(0), lung.scene.volumeNode
                )
            )
        )

    lung.ui.addToButton.click()
    interactor.InvokeEvent("LeftButtonPressEvent")
    lung.wait(outlined)
    believed = outlined()
    assert believed > 1 and "ml). Turn the wheel" in lung.ui.correctLabel.text
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
    for _ in range(4):
        interactor.InvokeEvent("MouseWheelBackwardEvent")
    lung.wait(lambda: outlined() != believed)
    narrow = outlined()
    assert narrow < believed and lung.ui.reachSlider.value == -4
    interactor.InvokeEvent("LeftButtonReleaseEvent")
    lung.wait(lambda: not np.array_equal(lung.shown("lung_left"), lung.erased))
    assert outlined() == 0
    assert np.count_nonzero(lung.shown("lung_left") & ~lung.erased) == narrow

    lung.ui.reachSlider.value = 0  # afterwards, the slider changes the same step
    lung.wait(lambda: np.count_nonzero(lung.shown("lung_left") & ~lung.erased) != narrow)
    assert np.count_nonzero(lung.shown("lung_left") & ~lung.erased) == believed
    lung.ui.undoButton.click()
    assert np.array_equal(lung.shown("lung_left"), lung.erased)


def test_the_outline_is_of_where_the_hand_stopped(lung):
    """Also of places that come while an outline is found, or just after; and a notch that comes before it counts."""
    import slicer

    k, j, i = lung.centre
    matrix = lung.session.outcome.volume.ijk_to_ras
    widget = slicer.app.layoutManager().sliceWidget("Red")
    interactor, view = widget.sliceView().interactor(), widget.mrmlSliceNode()
    view.JumpSliceByOffsetting(*(matrix @ [i, j, k, 1.0])[:3])

    def point(voxel):
        toXY = np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.GetXYToRAS()))  # a wider panel makes the view narrower
        interactor.SetEventPosition(*(int(x) for x in np.rint((toXY @ matrix @ [*voxel[::-1], 1.0])[:2])))

    lung.paint("lung_left", lung.before)
    lung.ui.removeFromButton.click()
    point((k, j, i))
    interactor.InvokeEvent("LeftButtonPressEvent")
    interactor.InvokeEvent("MouseWheelForwardEvent")
    lung.wait(outlined)
    assert lung.ui.reachSlider.value == 1
    for step in (1, 2, 3):
        point((k, j + step, i))
        interactor.InvokeEvent("MouseMoveEvent")

    def seen():
        node = outlined()
        name = node.GetSegmentation().GetNthSegmentID(0)
        return slicer.util.arrayFromSegmentBinaryLabelmap(node, name, lung.scene.volumeNode) > 0

    lung.wait(lambda: seen()[k, j + 3, i])
    assert not seen()[k, j, i], "a point, which moved on"
    lung.ui.removeFromButton.click()
    assert outlined() is None


def test_an_outline_that_is_not_wanted_leaves_no_trace(lung):
    import slicer

    widget = slicer.app.layoutManager().sliceWidget("Red")
    lung.ui.strokeButton.click()
    lung.ui.addToButton.click()
    widget.mrmlSliceNode().JumpSliceByOffsetting(
        *(lung.session.outcome.volume.ijk_to_ras @ [*lung.centre[::-1], 1.0])[:3]
    )
    widget.sliceView().interactor().InvokeEvent("LeftButtonPressEvent")
    lung.ui.addToButton.click()
    assert slicer.mrmlScene.GetFirstNodeByName("DeepSegProposal") is None
    assert np.array_equal(lung.shown("lung_left"), lung.erased)
