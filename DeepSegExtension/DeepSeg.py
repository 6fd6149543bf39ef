"""3D Slicer module: segment the organs of a CT. Importing this file loads nothing heavy."""

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


def _preferOwnLogic():
    """Import the DeepSegLogic that belongs to this file: beside it in an extension, above it in a source checkout.

    Another version that pip installed must not run instead, nor a folder that an older version left behind.
    """
    here = Path(__file__).resolve().parent
    own = next((f for f in (here, here.parent) if (f / "DeepSegLogic" / "__init__.py").is_file()), None)
    found = find_spec("DeepSegLogic")
    if own and (found is None or found.origin is None or Path(found.origin).resolve().parent.parent != own):
        sys.path.insert(0, str(own))


_preferOwnLogic()


class DeepSeg(ScriptedLoadableModule):
    """What Slicer shows in its list of modules."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("DeepSeg")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["The DeepSeg developers"]
        parent.helpText = _("Segments organs in CT and exports 3D models of them. For research use only.")
        parent.acknowledgementText = _("Networks: nnU-Net v2 (Isensee et al., doi:10.1038/s41592-020-01008-z).")
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """The chest CT that Slicer itself offers, under the name of this module."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="DeepSeg",
        sampleName="DeepSegChestCT",
        uris="https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"
        "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e",
        fileNames="CT-chest.nrrd",
        nodeNames="CTChest",
        checksums="SHA256:4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e",
        thumbnailFileName=None,
    )


class DeepSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel, or what is to be installed first."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = self._panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        if (slicer.app.majorVersion, slicer.app.minorVersion) < (5, 10):  # Python 3.9
            self.layout.addWidget(qt.QLabel(_("DeepSeg needs 3D Slicer 5.10 or newer.")))
            return
        from DeepSegLogic.util.resources import resource_path

        panel = slicer.util.loadUI(str(resource_path("UI", "DeepSeg.ui")))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = DeepSegLogic()
        self.ui.setupButton.connect("clicked(bool)", self.onSetup)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneLoaded)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneLoaded)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNodeAdded)
        self._begin()

    def cleanup(self):
        self.removeObservers()
        if self._panel is not None:
            self._panel.close()
            self._panel = None
        if self.logic is not None:
            self.logic.close()

    def enter(self):
        if self.logic is not None:
            self._begin()

    def exit(self):
        if self._panel is not None:
            self._panel.leaveTools()

    def onSetup(self, _checked=False):
        """Install what is missing, after asking."""
        from DeepSegLib import dependencies

        question = _("Install the packages that DeepSeg needs? {names}").format(names=", ".join(dependencies.missing()))
        if not slicer.util.confirmOkCancelDisplay(question, "DeepSeg"):
            return
        with slicer.util.tryWithErrorDisplay(_("The set-up failed."), waitCursor=True):
            dependencies.install(self.ui.wheelsPathLineEdit.currentPath)
        self.enter()

    def onSceneStartClose(self, _caller, _event):
        if self._panel is not None:
            self._panel.forgetScene()

    def onSceneStartImport(self, _caller, _event):
        if self._panel is not None:
            self._panel.awaitScene()

    def onSceneLoaded(self, _caller, _event):
        if self._panel is not None:
            self._panel.resume()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, _caller, _event, node):
        if self._panel is not None and node.IsA("vtkMRMLScalarVolumeNode"):
            qt.QTimer.singleShot(0, self._panel.chooseOnlyVolume)  # once it has its voxels

    def _begin(self):
        """Show the panel once everything that it needs is installed."""
        if self._panel is not None:
            return
        from DeepSegLib import dependencies

        lacking = dependencies.missing()
        self.ui.setupFrame.visible = bool(lacking)
        self.ui.mainWidget.visible = not lacking
        if lacking:
            self.ui.setupLabel.text = _("DeepSeg needs packages that are not installed: {names}.").format(
                names=", ".join(lacking)
            )
            return
        from DeepSegLib.panel import Panel

        self._panel = Panel(self.ui, self.logic)


class DeepSegLogic(ScriptedLoadableModuleLogic):
    """For scripts; the panel uses the same session.

    Example:
        >>> logic = slicer.modules.deepseg.widgetRepresentation().self().logic
        >>> segmentationNode = logic.segment(volumeNode, model="ct_demo", structures=["liver", "spleen"])
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._sceneSession = None

    @property
    def sceneSession(self):
        """Made at the first use: it needs packages that may have to be installed first."""
        if self._sceneSession is None:
            from DeepSegLib.sceneSession import SceneSession

            self._sceneSession = SceneSession(slicer.mrmlScene)
        return self._sceneSession

    def segment(self, volumeNode, model="ct_demo", structures=None, quality="standard", channels=None):
        """Segment a volume and wait for it while Slicer stays alive; returns the new segmentation node.

        Args:
            structures: names or titles; None for all.
            channels: for a model that sees several images, the other volume nodes by name of their channel.

        Raises:
            DeepSegError: what is wrong, and what to do.
        """
        from DeepSegLogic.data.terminology import known_names

        scene = self.sceneSession
        session = scene.session
        scene.setVolumeNode(volumeNode)
        session.choices.choose_model(model)
        for name, node in (channels or {}).items():
            scene.setChannelNode(name, node)
        names = session.choices.structures.known
        session.choices.choose_structures(known_names(structures or names, names))
        session.choices.set_quality(quality)
        scene.segment()
        while session.jobs.waiting:
            slicer.app.processEvents()
            scene.poll()
            time.sleep(0.01)  # else it would take a core from the run
        if session.jobs.run.error is not None:
            raise session.jobs.run.error
        return scene.resultNode

    def close(self):
        """End the worker."""
        if self._sceneSession is not None:
            self._sceneSession.session.close()


class DeepSegTest(ScriptedLoadableModuleTest):
    """Runs in a real Slicer: the bundled model on a chest CT, a stroke in a slice view, a saved scene."""

    def runTest(self):
        from DeepSegLogic.cli.demo import demo_ct

        slicer.mrmlScene.Clear()
        slicer.util.selectModule("DeepSeg")
        panel = slicer.modules.deepseg.widgetRepresentation().self()
        result = panel.logic.segment(slicer.util.loadVolume(str(demo_ct())), quality="draft")
        self.assertGreater(result.GetSegmentation().GetNumberOfSegments(), 10)
        self.strokeIsTaken(panel)
        self.sceneReopens(panel.logic.sceneSession)

    def strokeIsTaken(self, panel):
        """Drag the left button in the middle of the axial view."""
        ui, scene = panel.ui, panel.logic.sceneSession
        scene.currentStructure = "lung_left"
        scene.jumpTo("lung_left")
        ui.correctCollapsibleButton.collapsed = False
        ui.strokeButton.click()
        ui.removeFromButton.click()
        hint = ui.correctLabel.text
        slicer.app.processEvents()
        view = slicer.app.layoutManager().sliceWidget("Red")
        interactor, (width, height, _) = view.sliceView().interactor(), view.mrmlSliceNode().GetDimensions()
        for event, x in (("LeftButtonPress", 0), ("MouseMove", 5), ("MouseMove", 10), ("LeftButtonRelease", 10)):
            interactor.SetEventPosition(width // 2 + x, height // 2)
            interactor.InvokeEvent(f"{event}Event")
        slicer.app.processEvents()
        self.assertNotEqual(ui.correctLabel.text, hint)
        ui.acceptButton.click()
        self.assertEqual(slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode"), [])

    def sceneReopens(self, scene):
        """As it was, with what was chosen."""
        path, name = f"{slicer.app.temporaryPath}/DeepSegTest.mrb", scene.resultNode.GetName()
        self.assertTrue(slicer.util.saveScene(path))
        slicer.mrmlScene.Clear()
        self.assertIsNone(scene.resultNode)
        slicer.util.loadScene(path)
        slicer.app.processEvents()
        self.assertEqual(scene.resultNode.GetName(), name)
        self.assertEqual(scene.volumeNode.GetName(), "CTChest4")
