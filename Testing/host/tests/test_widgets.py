"""The stand-in's widgets follow the real scene; its application behaves as Slicer's."""

from subprocess import CalledProcessError

import pytest

pytest.importorskip("PySide6", reason="needs PySide6-Essentials")
pytest.importorskip("slicer", reason="needs slicer-core")

UI = """<ui version="4.0"><class>Tiny</class>
<widget class="qMRMLWidget" name="Tiny"><layout class="QVBoxLayout" name="layout">
 <item><widget class="qMRMLNodeComboBox" name="inputSelector">
   <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
   <property name="noneEnabled"><bool>true</bool></property></widget></item>
 <item><widget class="ctkCollapsibleButton" name="advanced">
   <property name="text"><string>Advanced</string></property><property name="collapsed"><bool>true</bool></property>
   <layout class="QFormLayout" name="form"><item row="0" column="1">
     <widget class="QCheckBox" name="fast"><property name="SlicerParameterName" stdset="0"><string>fast</string>
     </property></widget></item></layout></widget></item>
 <item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
 %s</layout></widget>
<connections><connection><sender>Tiny</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


def ui_file(folder, extra=""):
    path = folder / "Tiny.ui"
    path.write_text(UI % extra, "utf-8")
    return str(path)


# Widgets on the scene


def test_node_combo_box_follows_the_scene(slicer, slicer_host):
    combo, got = slicer.qMRMLNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.noneEnabled = True
    combo.setMRMLScene(slicer.mrmlScene)
    combo.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    first = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "first")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode", "no volume")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    assert (combo.nodeCount(), combo.currentNode(), combo.currentNodeID) == (2, None, "")
    combo.setCurrentNode(first)
    assert got == [first]
    first.SetName("renamed")
    assert combo.children()[1].currentText == "renamed"
    assert got == [first, first]
    combo.showChildNodeTypes = False
    assert combo.nodeCount() == 1
    combo.showChildNodeTypes = True
    slicer.mrmlScene.RemoveNode(first)
    assert got[2:] == [labels]
    slicer.mrmlScene.Clear(False)
    assert got[3:] == [None]


def test_node_combo_box_without_none_takes_the_first_node(slicer):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLModelNode"]
    wanted = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode") for _ in range(2)][1]
    combo.setCurrentNode(wanted)  # remembered until there is a scene
    combo.setMRMLScene(slicer.mrmlScene)
    assert combo.currentNode() is wanted
    other = slicer.qMRMLNodeComboBox()
    other.nodeTypes = ["vtkMRMLTextNode"]
    other.setMRMLScene(slicer.mrmlScene)
    assert other.currentNode() is None
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    assert other.currentNode() is node
    with pytest.raises(ValueError, match="does not exist"):
        other.connect("mrmlSceneChanged(vtkMRMLScene*)", print)


def test_node_combo_box_filters_by_attribute_and_hides_hidden_nodes(slicer):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScriptedModuleNode"]
    combo.addAttribute("vtkMRMLScriptedModuleNode", "ModuleName", "DeepSeg")
    combo.setMRMLScene(slicer.mrmlScene)
    nodes = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode") for _ in range(3)]
    for node, name in zip(nodes, ("DeepSeg", "Other", "DeepSeg"), strict=True):
        node.SetHideFromEditors(False)
        node.SetAttribute("ModuleName", name)
    nodes[2].SetHideFromEditors(True)
    combo.setMRMLScene(None)
    combo.setMRMLScene(slicer.mrmlScene)
    assert (combo.nodeCount(), combo.currentNode()) == (1, nodes[0])


def test_segments_table_and_segment_editor(slicer, slicer_host):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    table = slicer.qMRMLSegmentsTableView()
    table.setMRMLScene(slicer.mrmlScene)
    table.setSegmentationNode(node)
    node.GetSegmentation().AddEmptySegment("liver", "Liver", [0.8, 0.2, 0.1])
    assert table.segmentCount == 1
    table.setSelectedSegmentIDs(["liver"])
    assert table.selectedSegmentIDs() == ("liver",)
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    with pytest.raises(AssertionError, match="setMRMLSegmentEditorNode"):
        editor.setSegmentationNode(node)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(node)
    assert editor.segmentationNode() is node


@pytest.fixture
def editor(slicer, slicer_host):
    """A Segment Editor with two segmentations in the scene, of which it has the second."""
    made = slicer.qMRMLSegmentEditorWidget()
    for name in ("first", "second"):
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name).GetSegmentation().AddEmptySegment("liver")
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetSingletonTag("Test")
    made.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNode(node))
    made.setMRMLScene(slicer.mrmlScene)
    made.setSegmentationNode(slicer.util.getNode("second"))
    yield made
    made.setMRMLSegmentEditorNode(None)


def test_the_segment_editor_follows_closing_and_loading(slicer, slicer_host, editor, tmp_path):
    """It takes the first segmentation of a scene, whatever was chosen in it, and no tool."""
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(False)
    assert editor.segmentationNode() is None and editor.mrmlSegmentEditorNode().GetSegmentationNode() is None
    slicer.util.loadScene(path)
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    slicer.util.loadScene(path)  # adds
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 4
    slicer.util.loadScene(path, {"clear": True})
    assert [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")] == ["first", "second"]
    assert slicer_host.errors == []


def test_the_segment_editor_refuses_what_slicers_complains_of(slicer, slicer_host, editor):
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    editor.setSourceVolumeNode(volume)
    assert editor.sourceVolumeNode() is volume
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint" and slicer_host.errors == []
    editor.setSegmentationNode(slicer.util.getNode("first"))  # another one: the tool is put down
    assert editor.activeEffect() is None
    editor.setSegmentationNode(None)
    with pytest.raises(AssertionError, match="takes no volume"):
        editor.setSourceVolumeNode(volume)
    editor.setActiveEffectByName("Paint")
    assert "Cannot activate effect Paint" in str(slicer_host.errors.pop())
    slicer.mrmlScene.Clear(False)
    assert "closes while Paint" in str(slicer_host.errors.pop(0))
    slicer_host.errors.clear()


def test_two_segment_editors_of_one_node_would_both_paint(slicer, slicer_host, editor):
    other = slicer.qMRMLSegmentEditorWidget()
    other.setMRMLSegmentEditorNode(editor.mrmlSegmentEditorNode())
    other.setMRMLScene(slicer.mrmlScene)
    editor.setActiveEffectByName("Paint")
    assert any("Two Segment Editors" in str(error) for error in slicer_host.errors)
    other.setMRMLSegmentEditorNode(None)
    editor.setActiveEffectByName("")
    slicer_host.errors.clear()


def test_load_ui(qt, slicer, tmp_path):
    widget = slicer.util.loadUI(ui_file(tmp_path))
    ui = slicer.util.childWidgetVariables(widget)
    widget.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    ui.inputSelector.setCurrentNode(node)
    assert ui.inputSelector.currentNode() is node  # the .ui's connection gave it the scene
    assert ui.inputSelector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert ui.fast.SlicerParameterName == "fast"
    widget.show()
    assert not ui.fast.visible
    ui.advanced.collapsed = False
    assert ui.fast.visible


def test_what_is_hidden_or_shown_in_a_folded_section_counts_when_it_opens(slicer, tmp_path):
    """As in CTK: code that hides a widget need not know whether its section is open."""
    widget = slicer.util.loadUI(ui_file(tmp_path))
    ui = slicer.util.childWidgetVariables(widget)
    ui.fast.visible = False
    widget.show()
    ui.advanced.collapsed = False
    assert not ui.fast.visible
    ui.advanced.collapsed = True
    ui.fast.visible = True
    assert not ui.fast.visible
    ui.advanced.collapsed = False
    assert ui.fast.visible
    ui.advanced.collapsed = True
    ui.fast.visible = False
    ui.advanced.collapsed = False
    assert not ui.fast.visible


def test_a_path_is_a_file_unless_only_folders_are_asked_for(qt, ctk, slicer_host, tmp_path):
    edit = ctk.ctkPathLineEdit()
    slicer_host.answers.update({"Select file": tmp_path / "a.txt", "Select folder": tmp_path})
    edit.browse()
    assert edit.currentPath == str(tmp_path / "a.txt")
    edit.filters = ctk.ctkPathLineEdit.Dirs
    edit.browse()
    assert edit.currentPath == str(tmp_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('<item><widget class="ctkUnheardOf" name="x"/></item>', "ctkUnheardOf"),
        (
            '<item><widget class="QLabel" name="x"><property name="colour"><string>red</string></property>'
            "</widget></item>",
            "'colour', which QLabel does not have",
        ),
    ],
)
def test_a_ui_with_mistakes_is_refused(slicer, tmp_path, extra, message):
    with pytest.raises(RuntimeError, match=message):
        slicer.util.loadUI(ui_file(tmp_path, extra))


# The application


def test_dialogs_are_noted_and_answered_by_the_test(qt, slicer, slicer_host, tmp_path):
    slicer.util.errorDisplay("It failed.", detailedText="Traceback")
    slicer_host.answers.update({"Replace": False, "folder": tmp_path, "Sure": True})
    assert not slicer.util.confirmYesNoDisplay("Replace the result?")
    assert slicer.util.confirmOkCancelDisplay("Sure?")
    assert qt.QFileDialog.getExistingDirectory(None, "Export folder") == str(tmp_path)
    assert qt.QMessageBox.question(None, "DeepSeg", "Sure?", qt.QMessageBox.Yes | qt.QMessageBox.No) == (
        qt.QMessageBox.Yes
    )
    with pytest.raises(AssertionError, match=r"host\.answers"):
        slicer.util.confirmYesNoDisplay("Delete everything?")
    first = slicer_host.messages[0]
    assert (first.kind, first.text, first.details) == ("critical", "It failed.", "Traceback")


def test_an_error_in_a_guarded_slot_is_shown_and_kept(qt, slicer, slicer_host):
    def risky():
        with slicer.util.tryWithErrorDisplay("It failed.", waitCursor=True):
            raise RuntimeError("no disk")

    button = qt.QPushButton("Go")
    button.connect("clicked()", risky)
    button.click()
    assert slicer_host.messages[0].text == "It failed.\n\nno disk"
    assert "no disk" in str(slicer_host.errors[0])


def test_module_life(slicer, slicer_host, tiny, tmp_path):
    assert slicer.modules.tiny.title == "Tiny"
    assert slicer.modules.tiny.categories == ("Segmentation",)
    assert slicer.modules.tiny.widgetRepresentation().self() is tiny
    assert slicer.util.getModuleLogic("Tiny") is tiny.logic
    assert tiny.resourcePath("UI/Tiny.ui") == str(tmp_path / "Resources" / "UI" / "Tiny.ui")
    assert tiny.entered == 1
    assert slicer_host.sample_data["Tiny CT"]["nodeNames"] == "CT"
    node = tiny.logic.getParameterNode()
    node.SetParameter("model", "ct_demo")
    assert tiny.logic.getParameterNode() is node
    slicer.mrmlScene.Clear(False)
    assert tiny.closed == 1
    slicer.util.reloadScriptedModule("Tiny")
    fresh = slicer.modules.tiny.widgetRepresentation().self()
    assert fresh is not tiny
    assert tiny.cleaned == 1
    slicer_host.unload_module("Tiny")
    assert fresh.cleaned == 1


def test_a_module_has_one_panel(tiny, slicer_host, tmp_path):
    """Two would both have their shortcuts, and Qt then runs neither."""
    with pytest.raises(RuntimeError, match="Tiny is loaded"):
        slicer_host.load_module(tmp_path / "Tiny.py")


def test_pip_installs_nothing(slicer, slicer_host):
    """It fails as pip does: silently in Slicer 5.10, with a dialog of Slicer's own from 5.12 on."""
    with pytest.raises(CalledProcessError):
        slicer.util.pip_install("torch>=2.6")
    assert slicer_host.pip_requests == ["torch>=2.6"] and slicer_host.messages == []
    with pytest.raises(TypeError):
        slicer.util.pip_install("torch>=2.6", show_progress=False)
    slicer_host.pip.offer(packaging=True)
    with pytest.raises(CalledProcessError):
        slicer.packaging.pip_install("torch>=2.6", show_progress=False)
    assert slicer_host.messages == []
    with pytest.raises(CalledProcessError):
        slicer.util.pip_install("torch>=2.6")
    assert [message.kind for message in slicer_host.messages] == ["critical"]


def test_volumes_views_and_scenes(slicer, slicer_host, chest_ct, tmp_path):
    node = slicer.util.loadVolume(str(chest_ct), {"name": "CT"})
    assert slicer.util.arrayFromVolume(node).shape == (34, 128, 128)
    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == node.GetID()
    slicer.modules.markups.logic().JumpSlicesToLocation(10, 20, 30, True)
    slicer.app.layoutManager().threeDWidget(0).threeDView().resetFocalPoint()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert slicer.util.arrayFromVolume(slicer.util.getNode("CT")).shape == (34, 128, 128)


def test_settings_and_status_bar_are_the_stand_ins_own(qt, slicer, slicer_host):
    qt.QSettings().setValue("DeepSeg/folder", "/tmp")
    assert slicer.util.settingsValue("DeepSeg/folder", "") == "/tmp"
    assert slicer.app.temporaryPath in slicer.app.settings().fileName()
    slicer.util.showStatusMessage("working")
    assert slicer.util.mainWindow().statusBar().currentMessage() == "working"


def test_screenshot(qt, slicer_host, tmp_path):
    picture = slicer_host.screenshot(qt.QLabel("readable"), tmp_path / "label.png")
    image = qt.QImage(str(picture))
    assert image.width() == 2 * 420
    colors = {image.pixelColor(x, image.height() // 2).name() for x in range(200)}
    assert len(colors) > 3  # letters


def test_leaving_and_entering_a_module(slicer, slicer_host, tiny):
    slicer.util.selectModule("SegmentEditor")
    assert slicer.util.selectedModule() == "SegmentEditor"
    assert tiny.left == 1 and not tiny.parent.visible
    slicer.util.selectModule("Tiny")
    assert tiny.entered == 2 and tiny.parent.visible


def test_what_a_vtk_observer_raises_is_kept(slicer, slicer_host):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", lambda *_: 1 / 0)
    node.SetName("changed")
    assert isinstance(slicer_host.errors[0], ZeroDivisionError)


def test_what_goes_to_the_desktop_is_only_noted(qt, slicer_host):
    assert qt.QDesktopServices.openUrl(qt.QUrl("file:///tmp/models"))
    assert (slicer_host.messages[0].kind, slicer_host.messages[0].text) == ("open", "file:///tmp/models")
    menu = qt.QMenu()
    action = menu.addAction("Remove")
    slicer_host.answers["Remove"] = "Remove"
    assert menu.exec_() is action
