"""The Python modules that a Slicer module imports: ``qt``, ``ctk``, ``SampleData`` and what is below ``slicer``."""

import importlib
import sys
from types import ModuleType

import slicer
import slicer.util
from PySide6 import QtCore, QtGui, QtNetwork, QtSvg, QtUiTools, QtWidgets

from . import ctk_widgets, dialogs, mrml_widgets, segment_widgets, slicer_modules
from .pythonqt import class_for
from .ui_loader import QUiLoader

_SOURCES = QtCore, QtGui, QtWidgets, QtNetwork, QtSvg, QtUiTools


class QtNamespace(ModuleType):
    """``qt``: the classes of Qt in one flat module. PySide's own inventions (``Signal``, ``Slot``) are absent."""

    def __getattr__(self, name):
        if name.startswith("Q"):
            kinds = [QUiLoader] if name == "QUiLoader" else [getattr(source, name, None) for source in _SOURCES]
            for kind in kinds:
                if isinstance(kind, type):
                    setattr(self, name, class_for(kind))
                    return getattr(self, name)
        raise AttributeError(f"module 'qt' has no attribute '{name}'")


def install(host) -> None:
    """Put the modules in place."""
    dialogs.install()
    _module("qt", QtNamespace("qt"))
    _module("ctk", ModuleType("ctk"), **{kind.__name__: class_for(kind) for kind in ctk_widgets.CLASSES})
    slicer.modules = slicer_modules.Modules()
    slicer.selfTests = {}
    for kind in (
        *mrml_widgets.CLASSES,
        *segment_widgets.CLASSES,
        slicer_modules.qSlicerScriptedLoadableModule,
        slicer_modules.qSlicerScriptedLoadableModuleWidget,
    ):
        setattr(slicer, kind.__name__, class_for(kind))
    slicer.util.messageBox = dialogs.message_box
    slicer.util.delayDisplay = lambda message, *_, **__: dialogs.DIALOGS.open("information", message, default=True)
    host.pip.offer()
    _module("slicer.i18n", ModuleType("slicer.i18n"), tr=lambda text: text, translate=lambda context, text: text)
    scripted = importlib.import_module(".scripted_module", __package__)
    _module("slicer.ScriptedLoadableModule", scripted)
    _module("SampleData", ModuleType("SampleData"), SampleDataLogic=_sample_data(host))


def _sample_data(host):
    class SampleDataLogic:
        """Notes the data sets that modules offer."""

        @staticmethod
        def registerCustomSampleDataSource(category="Custom", sampleName=None, **kwargs):
            host.sample_data[sampleName] = {"category": category, **kwargs}

    return SampleDataLogic


def _module(name, module, **content) -> None:
    for key, value in content.items():
        setattr(module, key, value)
    sys.modules[name] = module
    if name.startswith("slicer."):
        setattr(slicer, name.removeprefix("slicer."), module)
