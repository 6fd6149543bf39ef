"""The real module file and the real .ui in the stand-in for Slicer's desktop, with the real worker and model."""

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
import trimesh
from packaging.requirements import Requirement

pytest.importorskip("PySide6", reason="needs PySide6")
pytest.importorskip("slicer", reason="needs slicer-core")

import host
import host.loop

from DeepSegLogic.io import read_volume
from DeepSegLogic.labels import LabelMap

EXTENSION = Path(__file__).resolve().parents[2] / "DeepSegExtension"


@pytest.fixture
def desktop():
    made = host.start()
    yield made
    made.reset()


@pytest.fixture
def panel(desktop):
    return desktop.load_module(EXTENSION / "DeepSeg.py")


@pytest.fixture(scope="module")
def small(chest_ct):
    """The middle of the chest CT, and its matrix."""
    volume = read_volume(chest_ct)
    start = np.eye(4)
    start[:3, 3] = 24, 24, 8
    return np.ascontiguousarray(volume.array[8:26, 24:104, 24:104]), volume.ijk_to_ras @ start


def add_volume(array, matrix, name="Chest"):
    import slicer
    import vtk

    node = slicer.util.addVolumeFromArray(array, name=name)
    ijkToRas = vtk.vtkMatrix4x4()
    ijkToRas.DeepCopy(np.asarray(matrix, float).ravel())
    node.SetIJKToRASMatrix(ijkToRas)
    return node


@pytest.fixture
def ready(panel, desktop, small):
    """The panel with the small CT chosen."""
    node = add_volume(*small)
    panel.ui.inputSelector.setCurrentNode(node)
    assert panel.ui.segmentButton.enabled, panel.ui.statusLabel.text
    return panel


def session_of(panel):
    return panel.logic.sceneSession.session


def run(panel, desktop):
    """Press Segment and wait for the end of everything."""
    before = session_of(panel).result
    panel.ui.segmentButton.click()
    session = session_of(panel)
    assert session.run.busy
    done = desktop.pump(240, until=lambda: not session.run.busy and (session.result is before or session.measurements))
    assert done, session.log
    assert desktop.errors == []


def test_segment_correct_export(ready, desktop, tmp_path):
    import qt
    import slicer
    import vtk

    ui, scene = ready.ui, ready.logic.sceneSession
    texts, blocks = [], []
    session_of(ready).changed.connect(lambda part: texts.append(ui.statusLabel.text) if part == "run" else None)
    for _ in range(2):  # the first also starts the worker
        host.loop.LOOP.clear()
        run(ready, desktop)
        blocks.append(desktop.longest_block)
    assert min(blocks) < 0.1, desktop.longest_block_slot
    assert any("Finding structures" in text for text in texts)
    assert ui.segmentButton.text == "Segment" and "Done" in ui.statusLabel.text

    # a node with names, colours, codes and tags, on the volume's grid; each run made a new one
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert len(nodes) == 2 and scene.resultNode in nodes
    segmentation = scene.resultNode.GetSegmentation()
    lung = segmentation.GetSegment("lung_left")
    assert lung.GetName() == "Left lung"
    entry, model = vtk.reference(""), vtk.reference("")
    assert lung.GetTag("TerminologyEntry", entry) and "39607008^Lung" in str(entry)
    assert lung.GetTag("DeepSeg.model", model) and str(model) == "ct_demo"
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(scene.resultNode, "lung_left", scene.volumeNode)
    assert np.array_equal(mask > 0, session_of(ready).result.label_map.mask("lung_left"))

    # the table
    assert ui.resultTree.topLevelItemCount == sum(r.voxels > 0 for r in session_of(ready).measurements)
    rows = [ui.resultTree.topLevelItem(n) for n in range(ui.resultTree.topLevelItemCount)]
    item = next(row for row in rows if row.text(0) == "Left lung")
    voxel = abs(np.linalg.det(_matrix(scene.volumeNode)))
    assert float(item.text(1)) == pytest.approx(mask.sum() * voxel / 1000, abs=0.06)
    doubtful = ["review" in row.text(2) for row in rows]
    assert doubtful == sorted(doubtful, reverse=True)
    item.setCheckState(0, qt.Qt.Unchecked)
    assert not scene.resultNode.GetDisplayNode().GetSegmentVisibility("lung_left")

    # what to look at first: each finding jumps, and can be put away
    twice = session_of(ready).result.label_map
    twice = LabelMap(twice.array.copy(), twice.ijk_to_ras, twice.structures)
    twice.array[:] = 0
    twice.array[3:9, 5:15, 5:15] = twice.array[3:9, 60:70, 60:70] = twice.structure("liver").value
    session_of(ready).review(twice)
    assert desktop.pump(60, until=lambda: session_of(ready).findings)
    count = ui.reviewList.count
    assert count == len(session_of(ready).findings) and not ui.reviewList.isHidden()
    ui.reviewList.setCurrentRow(0)
    ui.reviewList.itemClicked(ui.reviewList.item(0))
    ui.ignoreButton.click()
    assert ui.reviewList.count < count

    # 3D
    ui.show3DButton.click()
    assert desktop.pump(60, until=lambda: session_of(ready).surfaces)
    surface = lung.GetRepresentation("Closed surface")
    assert surface.GetNumberOfPolys() > 100

    # a correction by hand, then export of what is seen
    corrected = mask.copy()
    corrected[: len(corrected) // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(corrected, scene.resultNode, "lung_left", scene.volumeNode)
    assert scene.resultCorrected
    ui.format_glb.checked = True
    ui.exportPathLineEdit.currentPath = str(tmp_path / "models")
    ui.exportButton.click()
    assert desktop.pump(60, until=lambda: not session_of(ready).run.busy)
    assert "files are in" in ui.statusLabel.text
    mesh = trimesh.load_mesh(tmp_path / "models" / "lung_left.stl")
    assert mesh.is_watertight and mesh.volume == pytest.approx(corrected.sum() * voxel, rel=0.02)
    assert (tmp_path / "models" / "organs.glb").stat().st_size > 1000

    # replacing what was corrected is asked
    ui.replaceCheckBox.checked = True
    desktop.answers["corrected by hand"] = False
    ui.segmentButton.click()
    assert not session_of(ready).run.busy
    desktop.answers["corrected by hand"] = True
    run(ready, desktop)
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    assert not scene.resultCorrected
    assert desktop.errors == []


def _matrix(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return [[matrix.GetElement(r, c) for c in range(3)] for r in range(3)]


def test_cancel_and_a_killed_worker_lose_nothing(ready, desktop):
    session = session_of(ready)
    run(ready, desktop)
    kept, node = session.result, ready.logic.sceneSession.resultNode
    for end in (ready.ui.segmentButton.click, session._client.kill):
        ready.ui.segmentButton.click()
        assert desktop.pump(60, until=lambda: session.run.stage == "Finding structures")
        end()
        assert desktop.pump(30, until=lambda: not session.run.busy)
        assert session.result is kept and ready.logic.sceneSession.resultNode is node
        assert ready.ui.segmentButton.text == "Segment" and ready.ui.segmentButton.enabled
    assert "stopped" in ready.ui.statusLabel.text  # and not a traceback
    assert "Traceback" not in ready.ui.statusLabel.text
    assert desktop.errors == []


def test_nodes_and_scenes_may_go_during_a_run(ready, desktop):
    import slicer

    session = session_of(ready)
    ready.ui.segmentButton.click()
    assert desktop.pump(60, until=lambda: session.run.stage == "Finding structures")
    slicer.mrmlScene.RemoveNode(ready.logic.sceneSession.volumeNode)
    assert desktop.pump(120, until=lambda: session.measurements)
    assert ready.logic.sceneSession.resultNode is not None and desktop.errors == []

    add = ready.ui.inputSelector
    add.setCurrentNode(add_volume(np.random.default_rng(0).integers(-1000, 900, (30, 40, 40), np.int16), np.eye(4)))
    ready.ui.segmentButton.click()
    assert desktop.pump(60, until=lambda: session.run.fraction > 0)
    slicer.mrmlScene.Clear(False)
    assert desktop.pump(60, until=lambda: not session.run.busy)
    assert session.result is None and "Load a CT" in ready.ui.segmentButton.toolTip
    assert desktop.errors == []


def test_a_saved_scene_reopens_as_it_was(ready, desktop, tmp_path):
    import slicer

    session = session_of(ready)
    run(ready, desktop)
    name = ready.logic.sceneSession.resultNode.GetName()
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
    assert ready.logic.sceneSession.resultNode.GetName() == name
    assert ready.ui.inputSelector.currentNode().GetName() == "Chest"
    assert desktop.errors == []


def test_a_volume_under_a_transform(ready, desktop):
    """The result lies where the volume is seen, and moves with it."""
    import slicer
    import vtk

    scene = ready.logic.sceneSession
    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 30.0)
    move.SetMatrixTransformToParent(matrix)
    scene.volumeNode.SetAndObserveTransformNodeID(move.GetID())
    run(ready, desktop)
    assert scene.resultNode.GetTransformNodeID() == move.GetID()
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(scene.resultNode, "lung_left", scene.volumeNode)
    assert np.array_equal(mask > 0, session_of(ready).result.label_map.mask("lung_left"))
    move.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    ready.ui.inputSelector.setCurrentNode(None)
    ready.ui.inputSelector.setCurrentNode(slicer.util.getNode("Chest"))
    assert not ready.ui.segmentButton.enabled and "Harden" in ready.ui.notesLabel.text


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((20, 20, 20), np.int16), "empty"),
        (np.full((20, 20, 20), np.nan, np.float32), "not numbers"),
        (np.abs(np.random.default_rng(0).normal(300, 90, (20, 30, 30))).astype(np.int16), "negative"),
        (np.random.default_rng(0).integers(-999, 999, (20, 20, 20, 3)).astype(np.int16), "several values"),
    ],
)
def test_what_cannot_be_segmented_is_said(panel, desktop, array, says):
    import slicer

    kind = "vtkMRMLVectorVolumeNode" if array.ndim == 4 else "vtkMRMLScalarVolumeNode"
    node = slicer.util.addVolumeFromArray(array, nodeClassName=kind)
    panel.logic.sceneSession.setVolumeNode(node)
    assert not panel.ui.segmentButton.enabled
    assert says in panel.ui.notesLabel.text and says in panel.ui.statusLabel.text
    assert desktop.errors == []


def test_without_a_volume(panel):
    assert not panel.ui.segmentButton.enabled
    assert "Load a CT" in panel.ui.statusLabel.text
    assert not panel.ui.exportCollapsibleButton.enabled


def test_models_and_structures(panel, desktop):
    import qt

    ui, session = panel.ui, session_of(panel)
    ui.modelSearchBox.text = "liver vessels"
    titles = [ui.modelTree.topLevelItem(n).text(0) for n in range(ui.modelTree.topLevelItemCount)]
    assert titles and len(titles) < 20
    ui.modelTree.setCurrentItem(ui.modelTree.topLevelItem(0))
    assert session.model.title == titles[0]
    ui.modelSearchBox.text = ""
    session.choose_model("ct_demo")
    assert not ui.installButton.enabled and not ui.removeButton.enabled  # bundled

    ui.noneButton.click()
    assert session.chosen == [] and not ui.segmentButton.enabled
    group = next(
        ui.structureTree.topLevelItem(n)
        for n in range(ui.structureTree.topLevelItemCount)
        if ui.structureTree.topLevelItem(n).text(0) == "Respiratory"
    )
    group.setCheckState(0, qt.Qt.Checked)
    assert set(session.chosen) == {"lung_left", "lung_right"}
    group.child(0).setCheckState(0, qt.Qt.Unchecked)
    assert len(session.chosen) == 1 and group.checkState(0) == qt.Qt.PartiallyChecked
    ui.structureSearchBox.text = "liver"
    assert group.isHidden()
    ui.structureSearchBox.text = ""
    index = next(n for n in range(ui.presetComboBox.count) if ui.presetComboBox.itemText(n) == "Thorax")
    ui.presetComboBox.activated(index)
    assert "lung_right" in session.chosen and "liver" not in session.chosen
    assert desktop.errors == []


def test_a_model_that_must_be_installed_first(panel, desktop, small):
    session = session_of(panel)
    panel.ui.inputSelector.setCurrentNode(add_volume(*small))
    absent = next(e for e in session.models if not e.installed)
    session.choose_model(absent.card.id)
    assert "Install the model" in panel.ui.statusLabel.text and panel.ui.installButton.enabled
    desktop.answers["will be downloaded"] = False
    panel.ui.installButton.click()
    assert not session.run.busy
    question = desktop.messages[-1].text
    assert absent.card.licence in question and "Size" in question


def test_the_report_holds_no_patient_data(panel, small):
    panel.ui.inputSelector.setCurrentNode(add_volume(*small, name="Doe^Jane"))
    report = session_of(panel).report()
    assert "torch" in report and "ct_demo" in report
    assert "Doe" not in report and str(Path.home()) not in report


def test_for_scripts(panel, desktop, small):
    import slicer

    logic = slicer.modules.deepseg.widgetRepresentation().self().logic
    node = logic.segment(add_volume(*small), structures=["lung_left", "lung_right"])
    assert node.GetSegmentation().GetNumberOfSegments() == 2


def test_set_up_is_offered_with_consent(desktop, monkeypatch):
    from DeepSegLib import dependencies

    monkeypatch.setattr(dependencies, "missing", lambda: ["filelock>=3.13"])
    panel = desktop.load_module(EXTENSION / "DeepSeg.py")
    assert panel.ui.setupFrame.visible and not panel.ui.mainWidget.visible
    assert "filelock" in panel.ui.setupLabel.text
    desktop.answers["Install now?"] = False
    panel.ui.setupButton.click()
    assert desktop.pip_requests == []
    desktop.answers["Install now?"] = True
    panel.ui.wheelsPathLineEdit.currentPath = "wheels"
    panel.ui.setupButton.click()  # the host refuses to install: the reason is shown
    assert desktop.pip_requests == ["--no-deps --no-index --find-links wheels filelock>=3.13"]
    assert "pip download" in desktop.messages[-1].text
    monkeypatch.undo()
    panel.enter()
    assert panel.ui.mainWidget.visible and panel.ui.segmentButton is not None


def test_nothing_that_slicer_ships_would_be_installed():
    """pip gets --no-deps, so what our packages need in turn must be in the list or in Slicer."""
    from DeepSegLib import dependencies

    asked = {Requirement(r).name.lower() for r in dependencies.NEEDED.values()}
    assert dependencies.pipArguments(["x"])[0] == "--no-deps"
    assert not asked & {name.lower() for name in dependencies.SHIPPED}
    in_slicer = {"numpy", "requests", "scipy"}
    for name in asked - in_slicer:
        needs = {Requirement(r) for r in requires(name) or []}
        needs = {r.name.lower() for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})}
        assert needs <= asked | in_slicer, name


def test_importing_the_module_loads_nothing_heavy():
    code = (
        f"import sys; sys.path[:0] = [{str(EXTENSION.parent / 'Testing')!r}, {str(EXTENSION)!r}]; import host; "
        "host.start(); before = set(sys.modules); import DeepSeg; new = set(sys.modules) - before; "
        "print(sorted(n for n in new if '.' not in n))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['DeepSeg']"


def test_clicks_correct_one_structure_with_one_undo(ready, desktop):
    import slicer

    run(ready, desktop)
    ui, scene = ready.ui, ready.logic.sceneSession
    before = session_of(ready).result.label_map.array.copy()
    structure = session_of(ready).result.label_map.structure("lung_left")
    rows = [ui.resultTree.topLevelItem(n) for n in range(ui.resultTree.topLevelItemCount)]
    ui.resultTree.itemClicked(next(r for r in rows if r.text(0) == "Left lung"), 0)

    # somebody erases a part by hand, as the Segment Editor does
    inside = np.argwhere(before == structure.value)
    centre = inside[len(inside) // 2]
    erased = before == structure.value
    hole = tuple(slice(max(c - 3, 0), c + 4) for c in centre)
    erased[hole] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        erased.astype(np.uint8), scene.resultNode, "lung_left", scene.volumeNode
    )

    # and a click brings it back
    ui.addPointButton.click()
    ras = scene.session.result_volume.ijk_to_ras @ [*centre[::-1], 1.0]
    slicer.util.getNode("DeepSeg clicks").AddControlPointWorld(*ras[:3])
    assert "Left lung" in ui.correctLabel.text and "ml" in ui.correctLabel.text, ui.correctLabel.text
    assert slicer.util.getNode("DeepSeg clicks").GetNumberOfControlPoints() == 0

    def shown(name="lung_left"):
        return slicer.util.arrayFromSegmentBinaryLabelmap(scene.resultNode, name, scene.volumeNode) > 0

    assert shown()[tuple(centre)]
    assert np.array_equal(shown(), scene.correction.label_map.mask("lung_left"))
    others = [
        s for s in session_of(ready).result.label_map.structures if s.name != "lung_left" and (before == s.value).any()
    ]
    assert all(np.array_equal(shown(s.name), before == s.value) for s in others)

    slicer.util.getNode("DeepSeg clicks").AddControlPointWorld(*ras[:3])
    assert "is so already" in ui.correctLabel.text
    ui.undoButton.click()
    assert np.array_equal(shown(), erased)
    ui.undoButton.click()
    assert np.array_equal(shown(), before == structure.value)
    ui.redoButton.click()
    assert np.array_equal(shown(), erased)
    assert desktop.errors == []
