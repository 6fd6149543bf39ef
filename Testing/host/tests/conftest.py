"""What the tests of the stand-in host share."""

import pytest

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
def ctk(slicer_host):
    import ctk

    return ctk


@pytest.fixture
def slicer(slicer_host):
    import slicer

    return slicer


@pytest.fixture
def tiny(slicer_host, tmp_path):
    path = tmp_path / "Tiny.py"
    path.write_text(MODULE, "utf-8")
    return slicer_host.load_module(path)
