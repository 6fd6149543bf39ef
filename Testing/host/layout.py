"""Stand-in for Slicer's layout manager: the MRML side of three slice views and one 3D view, without rendering."""

import slicer
import vtk
from PySide6 import QtCore
from PySide6.QtCore import Property

_SLICES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


def _window():
    """One to draw in, off-screen."""
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(64, 48)
    window.AddRenderer(vtk.vtkRenderer())
    return window


class SliceView(QtCore.QObject):
    """Where a slice is seen; its interactor passes mouse events on that a test invokes."""

    def __init__(self):
        super().__init__()
        self._interactor, self._window = vtk.vtkGenericRenderWindowInteractor(), _window()

    def renderWindow(self):
        return self._window

    def interactor(self):
        return self._interactor


class SliceWidget(QtCore.QObject):
    """One slice view."""

    def __init__(self, logic):
        super().__init__()
        self._logic, self._view = logic, SliceView()

    def sliceView(self):
        return self._view

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()


class ThreeDView(QtCore.QObject):
    """The 3D view; notes how often it was centred. Its window is empty."""

    def __init__(self, node):
        super().__init__()
        self._node, self._resets = node, 0
        self._window = _window()

    def mrmlViewNode(self):
        return self._node

    def renderWindow(self):
        return self._window

    def resetFocalPoint(self):
        self._resets += 1

    def resetCamera(self, *_):
        self._resets += 1

    def scheduleRender(self):
        pass

    def forceRender(self):
        pass

    resets = Property(int, lambda self: self._resets)


class ThreeDWidget(QtCore.QObject):
    """What holds the 3D view."""

    def __init__(self, node):
        super().__init__()
        self._view = ThreeDView(node)

    def threeDView(self):
        return self._view

    def mrmlViewNode(self):
        return self._view.mrmlViewNode()


class LayoutManager(QtCore.QObject):
    """Three slice views and one 3D view."""

    def __init__(self, scene, application_logic):
        super().__init__()
        self._layout, self._slices = 0, {}
        logics = vtk.vtkCollection()
        for name, orientation in _SLICES.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLScene(scene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
            logics.AddItem(logic)
            self._slices[name] = SliceWidget(logic)
        self._logics = logics
        application_logic.SetSliceLogics(logics)
        view = slicer.vtkMRMLViewNode()
        view.SetSingletonTag("1")
        view.SetLayoutName("1")
        self._view = ThreeDWidget(scene.AddNode(view))

    def sliceViewNames(self):
        return list(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return self._logics

    def resetSliceViews(self):
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToAll()

    def threeDWidget(self, _index):
        return self._view

    def resetThreeDViews(self, *_):
        self._view.threeDView().resetFocalPoint()

    def setLayout(self, layout):
        self._layout = int(layout)

    threeDViewCount = Property(int, lambda self: 1)
    layout = Property(int, lambda self: self._layout, setLayout)
