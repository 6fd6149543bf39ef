"""Stand-in for ``slicer.app``: the application, its main window and its managers."""

import atexit
import tempfile
from pathlib import Path

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property

from .event_loop import LOOP
from .layout import LayoutManager

MAJOR, MINOR = 5, 11  # of the Slicer that slicer-core was built from


class qSlicerModuleManager(QtCore.QObject):
    """The modules that were loaded."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)
    moduleLoaded = QtCore.Signal(str)

    def __init__(self):
        super().__init__()
        self._modules = {}

    def module(self, name):
        return self._modules.get(name)

    def factoryManager(self):
        return self

    def loadedModuleNames(self):
        return list(self._modules)

    def isLoaded(self, name):
        return name in self._modules


class ModuleSelector(QtWidgets.QToolBar):
    """Leaves one module and enters another, if it was loaded; otherwise it is only noted."""

    selectedModule = Property(str, lambda self: self._selected)
    _selected = ""

    def selectModule(self, name):
        modules = slicer.app.moduleManager()
        if modules.isLoaded(self._selected):
            left = modules.module(self._selected).widgetRepresentation()
            left.exit()
            left.hide()
        if modules.isLoaded(name):
            entered = modules.module(name).widgetRepresentation()
            entered.show()
            entered.enter()
        self._selected = name


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """The main window: a status bar and a module selector."""

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = ModuleSelector(self)

    def moduleSelector(self):
        return self._selector


class CoreIOManager(QtCore.QObject):
    """Reads and writes scenes, volumes, segmentations and models with their own MRML storage nodes."""

    _CLASSES = {  # noqa: RUF012
        "VolumeFile": "vtkMRMLScalarVolumeNode",
        "SegmentationFile": "vtkMRMLSegmentationNode",
        "ModelFile": "vtkMRMLModelNode",
    }
    newFileLoaded = QtCore.Signal(dict)

    def fileType(self, path):
        name = str(path).lower()
        if name.endswith((".mrml", ".mrb")):
            return "SceneFile"
        if ".seg." in name:
            return "SegmentationFile"
        return "ModelFile" if name.endswith((".stl", ".obj", ".ply", ".vtk", ".vtp")) else "VolumeFile"

    def fileWriterFileType(self, node):
        return next((kind for kind, name in self._CLASSES.items() if node.IsA(name)), "NoFile")

    def loadNodes(self, kind, properties, collection, messages=None):
        path, scene = str(properties["fileName"]), slicer.mrmlScene
        if kind == "SceneFile":
            clear = bool(properties.get("clear"))
            if path.endswith(".mrb"):
                return scene.ReadFromMRB(path, clear)
            scene.SetURL(path)
            scene.SetRootDirectory(str(Path(path).parent))
            return bool(scene.Connect() if clear else scene.Import())
        class_name = "vtkMRMLLabelMapVolumeNode" if properties.get("labelmap") else self._CLASSES[kind]
        node = scene.AddNewNodeByClass(class_name, properties.get("name") or Path(path).name.split(".")[0])
        node.AddDefaultStorageNode(path)
        if not node.GetStorageNode().ReadData(node):
            scene.RemoveNode(node)
            return False
        node.CreateDefaultDisplayNodes()
        collection.AddItem(node)
        if properties.get("show", True) and kind == "VolumeFile":
            slicer.util.setSliceViewerLayers(background=node, fit=True)
        return True

    def saveNodes(self, kind, properties, messages=None):
        path = str(properties["fileName"])
        if kind == "SceneFile":
            scene = slicer.mrmlScene
            if path.endswith(".mrb"):
                return scene.WriteToMRB(path)
            scene.SetURL(path)
            scene.SetRootDirectory(str(Path(path).parent))
            return bool(scene.Commit(path))
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))


class qSlicerApplication(QtWidgets.QApplication):
    """``slicer.app``."""

    startupCompleted = QtCore.Signal()

    def __init__(self):
        super().__init__(["Slicer", "-platform", "offscreen"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("NA-MIC")
        self.setApplicationVersion(f"{MAJOR}.{MINOR}.0-standin")
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-standin-", ignore_cleanup_errors=True)
        atexit.register(self._folder.cleanup)
        self._temporary = self._folder.name
        Path(self._temporary, "share", "ColorFiles").mkdir(parents=True)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, self._temporary)
        self._settings = QtCore.QSettings()
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetHomeDirectory(self._temporary)
        self._logic.SetShareDirectory("share")
        self._modules, self._io = qSlicerModuleManager(), CoreIOManager()
        self._layout = self._window = None
        self._displays: dict = {}  # of the nodes that are being removed

    def _openScene(self, scene):
        """Give the application its scene, with slice and 3D views as after Slicer's start."""
        cache, remote = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
        cache.SetRemoteCacheDirectory(self._temporary)
        remote.SetCacheManager(cache)
        scene.SetCacheManager(cache)
        scene.SetDataIOManager(remote)
        scene.AddObserver(scene.NodeAddedEvent, _refuse_hidden)
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._removing)
        scene.AddObserver(scene.NodeRemovedEvent, self._removed)
        self._logic.SetMRMLScene(scene)
        self._layout = LayoutManager(scene, self._logic)
        self._window = qSlicerMainWindow()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removing(self, scene, _event, node):
        if node.GetScene() is None:
            raise AssertionError(f"{node.GetName() or node.GetID()} was removed before: Slicer prints an error.")
        if node.IsA("vtkMRMLDisplayableNode") and not scene.IsClosing():
            self._displays[node] = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _removed(self, scene, _event, node):
        """The subject hierarchy removes the displays of a node."""
        for display in self._displays.pop(node, ()):
            if display is not None and display.GetScene() is scene:
                scene.RemoveNode(display)

    def applicationLogic(self):
        return self._logic

    def mrmlScene(self):
        return slicer.mrmlScene

    def moduleManager(self):
        return self._modules

    def coreIOManager(self):
        return self._io

    def ioManager(self):
        return self._io

    def layoutManager(self):
        return self._layout

    def settings(self):
        return self._settings

    userSettings = revisionUserSettings = settings

    def testingEnabled(self):
        return False

    def processEvents(self, flags=QtCore.QEventLoop.AllEvents):
        with LOOP.back():
            QtWidgets.QApplication.processEvents(flags)

    def moduleDocumentationUrl(self, name):
        return f"https://slicer.readthedocs.io/en/latest/user_guide/modules/{name.lower()}.html"

    def restart(self):
        raise AssertionError("The module restarts Slicer.")

    def pauseRender(self):
        return 0

    def resumeRender(self):
        return 0

    def setRenderPaused(self, paused):
        pass

    majorVersion = Property(int, lambda self: MAJOR)
    minorVersion = Property(int, lambda self: MINOR)
    revision = Property(str, lambda self: "0")
    temporaryPath = Property(str, lambda self: self._temporary)
    defaultScenePath = Property(str, lambda self: self._temporary)
    slicerHome = Property(str, lambda self: self._temporary)
    cachePath = Property(str, lambda self: self._temporary)
    os = Property(str, lambda self: "linux")
    arch = Property(str, lambda self: "amd64")
    slicerUserSettingsFilePath = Property(str, lambda self: self._settings.fileName())


@vtk.calldata_type(vtk.VTK_OBJECT)
def _refuse_hidden(scene, _event, node) -> None:
    """A node that is hidden when it is added gets no item in the subject hierarchy. Of a segmentation, Slicer prints
    an error each time that its segments change then."""
    if node.IsA("vtkMRMLSegmentationNode") and node.GetHideFromEditors() and not scene.IsImporting():
        raise AssertionError(f"Hide {node.GetName()} after it is in the scene.")
