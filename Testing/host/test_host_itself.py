"""The stand-in for Slicer's desktop: it refuses what PythonQt refuses, and its widgets follow the real scene."""

import time

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

MODULE = """
import qt, slicer
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class Tiny(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Tiny"
        parent.categories = ["Segmentation"]
        slicer.app.connect("startupCompleted()", registerSampleData)

def registerSampleData():
    import SampleData
    SampleData.SampleDataLogic.registerCustomSampleDataSource(sampleName="Tiny CT", category="Tiny", nodeNames="CT")

class TinyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.entered = self.left = self.closed = self.cleaned = 0

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.button = qt.QPushButton("Go")
        self.layout.addWidget(self.button)
        self.logic = TinyLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)

    def enter(self):
        self.entered += 1

    def exit(self):
        self.left += 1

    def cleanup(self):
        self.cleaned += 1
        self.removeObservers()

    def onSceneClosed(self, caller, event):
        self.closed += 1

class TinyLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def qt(slicer_host):
    import qt

    return qt


@pytest.fixture
def slicer(slicer_host):
    import slicer

    return slicer


@pytest.fixture
def tiny(slicer_host, tmp_path):
    path = tmp_path / "Tiny.py"
    path.write_text(MODULE)
    return slicer_host.load_module(path)


def ui_file(folder, extra=""):
    path = folder / "Tiny.ui"
    path.write_text(UI % extra)
    return str(path)


# PythonQt's manners


def test_a_property_is_an_attribute_and_not_a_call(qt):
    button = qt.QPushButton("Go")
    assert (button.text, button.enabled, button.checkable) == ("Go", True, False)
    button.text = "Stop"
    button.setToolTip("a slot is a call")
    assert (button.text, button.toolTip, button.isEnabled()) == ("Stop", "a slot is a call", True)
    with pytest.raises(TypeError, match="'str' object is not callable"):
        button.text()
    assert qt.QTreeWidgetItem(["a", "b"]).text(1) == "b"  # not a QObject: no properties


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("colour", "red", "creating new attributes on C\\+\\+ objects is not allowed"),
        ("click", print, "can not be overwritten"),
        ("clicked", print, "can not be overwritten"),
        ("width", 5, "not writable"),
        ("text", None, "does not accept an object of type NoneType"),
        ("enabled", None, "does not accept an object of type NoneType"),
    ],
)
def test_what_pythonqt_refuses_to_set_is_refused(qt, name, value, message):
    with pytest.raises(AttributeError, match=message):
        setattr(qt.QPushButton("Go"), name, value)


def test_keywords_new_signals_and_the_timers_property_are_refused(qt):
    with pytest.raises(TypeError, match="does not support kwargs"):
        qt.QLabel("text", wordWrap=True)
    with pytest.raises(AttributeError):
        _ = qt.Signal
    timer = qt.QTimer()
    with pytest.raises(AttributeError):
        timer.singleShot = True
    timer.setSingleShot(True)
    assert timer.isSingleShot()


def test_enums_are_integers_and_lists_are_tuples(qt):
    assert qt.Qt.Checked == 2
    assert qt.QMessageBox.Ok | qt.QMessageBox.Cancel == 0x400400
    with pytest.raises(AttributeError):
        _ = qt.Qt.CheckState.Checked
    tree = qt.QTreeWidget()
    item = qt.QTreeWidgetItem(tree, ["liver"])
    item.setCheckState(0, qt.Qt.PartiallyChecked)
    item.setFlags(item.flags() & ~qt.Qt.ItemIsSelectable)
    assert not item.flags() & qt.Qt.ItemIsSelectable
    assert item.checkState(0) == qt.Qt.PartiallyChecked
    assert tree.findItems("liver", qt.Qt.MatchExactly) == (item,)
    tree.selectionMode = qt.QAbstractItemView.ExtendedSelection
    assert tree.selectionMode == qt.QAbstractItemView.ExtendedSelection


def test_one_object_has_one_wrapper_and_knows_its_children(qt):
    box = qt.QGroupBox("title")
    label = qt.QLabel("inside", box)
    label.name = "inner"
    assert box.inner is label
    assert box.children() == (label,)
    assert label.parent() is box
    assert isinstance(label, qt.QWidget)
    assert label.className() == "QLabel"
    box.delete()
    assert not label
    with pytest.raises(ValueError, match="destroyed"):
        _ = label.text


def test_signals_are_connected_by_their_signature(qt):
    button, got = qt.QPushButton("Go"), []
    button.checkable = True

    def noted(checked):
        got.append(checked)

    assert button.connect("clicked(bool)", noted)
    assert button.connect("clicked()", lambda: got.append("no argument"))
    button.clicked.connect(lambda *args: got.append(args))
    button.click()
    assert got == [True, "no argument", (True,)]
    assert button.disconnect("clicked(bool)", noted)
    button.click()
    assert got[3:] == ["no argument", (False,)]


def test_a_function_gets_as_many_arguments_as_it_takes_defaults_included(qt):
    button, got = qt.QPushButton("Go"), []
    button.connect("clicked(bool)", lambda: got.append("none"))
    button.connect("clicked(bool)", lambda path="default": got.append(path))
    button.click()
    assert got == ["none", False]


def test_an_unknown_signal_is_an_error(qt, slicer_host, capsys):
    from host import signals

    button = qt.QPushButton("Go")
    for wrong in ("pressed(bool)", "clicked(int)", "toggled()"):
        with pytest.raises(ValueError, match="does not exist on QPushButton"):
            button.connect(wrong, print)
    signals.strict = False
    assert not button.connect("clicked(int)", print)
    assert "does not exist" in capsys.readouterr().err


def test_what_a_slot_raises_is_printed_and_kept(qt, slicer_host, capsys):
    button = qt.QPushButton("Go")
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert isinstance(slicer_host.errors[0], ZeroDivisionError)


def test_timers_run_in_the_event_loop(qt, slicer_host):
    ticks = []
    timer = qt.QTimer()
    timer.interval = 1
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    qt.QTimer.singleShot(0, lambda: ticks.append(2))
    assert slicer_host.pump(5, until=lambda: 1 in ticks and 2 in ticks)
    timer.stop()
    assert not timer.active


# The event loop


def test_the_longest_block_is_the_longest_slot(qt, slicer_host):
    def slow():
        time.sleep(0.12)

    qt.QTimer.singleShot(0, slow)
    slicer_host.pump(0.2)
    assert slicer_host.longest_block >= 0.12
    assert "slow" in slicer_host.longest_block_slot


def test_processing_events_inside_a_slot_ends_the_block(qt, slicer, slicer_host):
    def polite():
        for _ in range(10):
            time.sleep(0.02)
            slicer.app.processEvents()

    button = qt.QPushButton("Go")
    button.connect("clicked()", polite)
    started = time.perf_counter()
    button.click()
    assert 0.02 <= slicer_host.longest_block < 0.8 * (time.perf_counter() - started)


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


def test_pip_installs_nothing(slicer, slicer_host):
    with pytest.raises(RuntimeError, match="installs nothing"):
        slicer.util.pip_install("torch>=2.6")
    assert slicer_host.pip_requests == ["torch>=2.6"]


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
    assert tiny.left == 1
    slicer.util.selectModule("Tiny")
    assert tiny.entered == 2


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
