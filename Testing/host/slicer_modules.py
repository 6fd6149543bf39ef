"""Stand-ins for ``slicer.modules`` and for the objects that Slicer makes for a scripted module."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property

from .event_loop import LOOP
from .mrml_widgets import qMRMLWidget, stored
from .pythonqt import wrap

_LOGICS = {
    "annotations": "vtkSlicerAnnotationModuleLogic",
    "cameras": "vtkSlicerCamerasModuleLogic",
    "colors": "vtkSlicerColorLogic",
    "cropvolume": "vtkSlicerCropVolumeLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "models": "vtkSlicerModelsLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "tables": "vtkSlicerTablesLogic",
    "texts": "vtkSlicerTextsLogic",
    "transforms": "vtkSlicerTransformLogic",
    "units": "vtkSlicerUnitsLogic",
    "volumerendering": "vtkSlicerVolumeRenderingLogic",
    "volumes": "vtkSlicerVolumesLogic",
}


class qSlicerScriptedLoadableModule(QtCore.QObject):
    """What Slicer hands to ``DeepSeg(parent)``."""

    def __init__(self, name, path):
        super().__init__()
        self._name, self._path, self._widget = name, str(path), None
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self)
        return self._widget

    def createNewWidgetRepresentation(self):
        return qSlicerScriptedLoadableModuleWidget(self)

    def logic(self):
        return self._logic

    name = Property(str, lambda self: self._name)
    path = Property(str, lambda self: self._path)
    title = stored(str, "_title", "")
    categories = stored("QStringList", "_categories", [])
    dependencies = stored("QStringList", "_dependencies", [])
    contributors = stored("QStringList", "_contributors", [])
    associatedNodeTypes = stored("QStringList", "_types", [])
    helpText = stored(str, "_help", "")
    acknowledgementText = stored(str, "_acknowledgement", "")
    icon = stored(QtGui.QIcon, "_icon", QtGui.QIcon())
    hidden = stored(bool, "_hidden", False)
    index = stored(int, "_index", -1)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel's outermost widget, and the owner of the module's Python widget."""

    def __init__(self, module):
        super().__init__()
        self._module, self._python, self._entered = module, None, False
        self.setObjectName(f"{module._name}ModuleWidget")
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def self(self):
        return self._python

    def reload(self):
        """Make the Python widget anew and set it up."""
        source = sys.modules[self._module._name]
        self._python = getattr(source, f"{self._module._name}Widget")(wrap(self))
        setattr(slicer.modules, f"{self._module._name}Widget", self._python)
        self._python.setup()

    def enter(self):
        self._tell("enter")

    def exit(self):
        self._tell("exit")

    def _tell(self, what):
        if hasattr(self._python, what) and self._entered != (what == "enter"):
            self._entered = what == "enter"
            LOOP.run_slot(getattr(self._python, what), ())


class CppModule:
    """A built-in module of which slicer-core has the logic."""

    def __init__(self, name, logic):
        self.name, self._logic = name, logic

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        raise AssertionError(f"The stand-in has no widget of the module {self.name}.")


class Modules:
    """``slicer.modules``: the scripted modules that were loaded, and built-in ones by their logic."""

    def start(self):
        """Make the logics that Slicer makes when it starts; they register nodes and conversions."""
        for name, class_name in _LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
            logic.SetMRMLScene(slicer.mrmlScene)
            setattr(self, name, CppModule(name, logic))


def import_module(path: Path):
    """Run a module's file as Slicer does: its folder is on ``sys.path``, its name is the file's."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
