"""Stand-ins for Slicer's segmentation widgets: a table of the real segments, a placeholder for the editor."""

from weakref import WeakSet

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property

from .mrml_widgets import Observer, SceneWidget, qMRMLNodeComboBox, stored

_editors: WeakSet = WeakSet()


class qMRMLSegmentsTableView(SceneWidget):
    """The segments of a segmentation: shown or not, colour, name."""

    selectionChanged = QtCore.Signal(QtCore.QItemSelection, QtCore.QItemSelection)

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._table = QtWidgets.QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["Shown", "Colour", "Name"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.horizontalHeader().setStretchLastSection(True)
        layout.addWidget(self._table)
        self._node, self._ids = None, []
        self._observer = Observer(self, "_refill")
        self._table.itemChanged.connect(self._edited)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged)

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node):
        self._node = node
        self._observer.clear()
        if node is not None:
            kinds = slicer.vtkSegmentation
            events = kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified, kinds.SegmentsOrderModified
            self._observer.watch(node.GetSegmentation(), *events)
            self._observer.watch(node, slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent)
        self._refill()

    def selectedSegmentIDs(self):
        return [self._ids[index.row()] for index in self._table.selectionModel().selectedRows()]

    def setSelectedSegmentIDs(self, ids):
        self._table.clearSelection()
        for segment_id in ids:
            index = self._table.model().index(self._ids.index(segment_id), 0)
            flags = QtCore.QItemSelectionModel.Select | QtCore.QItemSelectionModel.Rows
            self._table.selectionModel().select(index, flags)

    def clearSelection(self):
        self._table.clearSelection()

    def _refill(self):
        segmentation = self._node.GetSegmentation() if self._node else None
        count = segmentation.GetNumberOfSegments() if segmentation else 0
        self._ids = [segmentation.GetNthSegmentID(row) for row in range(count)]
        display = self._node.GetDisplayNode() if self._node else None
        self._table.blockSignals(True)
        self._table.setRowCount(count)
        for row, segment_id in enumerate(self._ids):
            segment = segmentation.GetSegment(segment_id)
            shown = QtWidgets.QTableWidgetItem()
            visible = display is None or display.GetSegmentVisibility(segment_id)
            shown.setCheckState(QtCore.Qt.Checked if visible else QtCore.Qt.Unchecked)
            color = QtWidgets.QTableWidgetItem()
            color.setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
            for column, item in enumerate((shown, color, QtWidgets.QTableWidgetItem(segment.GetName()))):
                self._table.setItem(row, column, item)
        self._table.blockSignals(False)

    def _edited(self, item):
        segment_id = self._ids[item.row()]
        if item.column() == 0 and self._node.GetDisplayNode():
            self._node.GetDisplayNode().SetSegmentVisibility(segment_id, item.checkState() == QtCore.Qt.Checked)
        elif item.column() == 2:
            self._node.GetSegmentation().GetSegment(segment_id).SetName(item.text())

    def _headers(self):
        self._table.horizontalHeader().setVisible(self.headerVisible)
        for column, name in enumerate(("visibilityColumnVisible", "colorColumnVisible")):
            self._table.setColumnHidden(column, not getattr(self, name))

    headerVisible = stored(bool, "_header", True, "_headers")
    visibilityColumnVisible = stored(bool, "_visibility", True, "_headers")
    colorColumnVisible = stored(bool, "_color", True, "_headers")
    opacityColumnVisible = stored(bool, "_opacity", True)
    statusColumnVisible = stored(bool, "_status", False)
    readOnly = stored(bool, "_readOnly", False)
    segmentCount = Property(int, lambda self: len(self._ids))


class qMRMLSegmentEditorWidget(SceneWidget):
    """A placeholder that edits nothing, but follows the scene as Slicer's Segment Editor does.

    What it works on is in its parameter node, which a closed scene resets and a loaded one overwrites. Its own selector
    of segmentations always has one: when a scene was loaded it takes the first, whatever the module chose before.
    Where the real one prints an error and goes on, this one raises.
    """

    def __init__(self, parent=None):
        super().__init__(parent)
        label = QtWidgets.QLabel("Slicer's Segment Editor is here (placeholder of the stand-in host)")
        label.setWordWrap(True)
        label.setAlignment(QtCore.Qt.AlignCenter)
        label.setFrameShape(QtWidgets.QFrame.StyledPanel)
        label.setMinimumHeight(80)
        QtWidgets.QVBoxLayout(self).addWidget(label)
        option = QtWidgets.QRadioButton(self)  # of an effect; Qt counts it to the exclusive buttons around the editor
        option.setChecked(True)
        option.hide()
        self._told, self._node, self._shown, self._effect = {}, None, None, None
        self._segmentations, self._volumes = qMRMLNodeComboBox(), qMRMLNodeComboBox()
        self._segmentations.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._volumes.nodeTypes, self._volumes.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
        self._segmentations.currentNodeChanged.connect(self._segmentationChosen)
        self._volumes.currentNodeChanged.connect(self._volumeChosen)
        self._nodeObserver = Observer(self, "updateWidgetFromMRML")
        self._closed, self._ended = Observer(self, "updateWidgetFromMRML"), Observer(self, "_batchEnded")
        self._closing = Observer(self, "_checkToolsAreDown")
        _editors.add(self)

    def _sceneChanged(self):
        for observer in (self._closed, self._ended, self._closing):
            observer.clear()
        for selector in (self._segmentations, self._volumes):  # which hear of the scene first
            blocked = selector.blockSignals(True)
            selector.setMRMLScene(self._scene)
            selector._importObserver.clear()  # what Slicer's editor prints meanwhile cannot be prevented
            selector.blockSignals(blocked)
        if self._scene is not None:
            self._closed.watch(self._scene, slicer.vtkMRMLScene.EndCloseEvent)
            self._ended.watch(self._scene, slicer.vtkMRMLScene.EndBatchProcessEvent)
            self._closing.watch(self._scene, slicer.vtkMRMLScene.StartCloseEvent, priority=-1.0)  # after the module
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node):
        if node is self._node:
            return
        self._nodeObserver.clear()
        self._node = node
        if node is not None:
            self._nodeObserver.watch(node, vtk.vtkCommand.ModifiedEvent)
            self.updateWidgetFromMRML()

    def segmentationNode(self):
        return self._segmentations.currentNode()

    def setSegmentationNode(self, node):
        self._needEditorNode(node)
        if self._node is not None and self._node.GetSegmentationNode() is not node:
            self._node.SetAndObserveSegmentationNode(node)
            self.setActiveEffectByName("")

    def sourceVolumeNode(self):
        return self._node.GetSourceVolumeNode() if self._node else None

    def setSourceVolumeNode(self, node):
        self._needEditorNode(node)
        if self._node is None or self._node.GetSegmentationNode() is None:
            if node is not None:
                raise AssertionError("The real Segment Editor takes no volume before setSegmentationNode().")
        elif self._node.GetSourceVolumeNode() is not node:
            self._node.SetAndObserveSourceVolumeNode(node)

    def currentSegmentID(self):
        return (self._node.GetSelectedSegmentID() or "") if self._node else ""

    def setCurrentSegmentID(self, segment_id):
        self._needEditorNode(segment_id)
        if self._node is not None:
            self._node.SetSelectedSegmentID(segment_id)

    def activeEffect(self):
        return self._effect

    def setActiveEffectByName(self, name):
        self._needEditorNode(name)
        if self._node is not None:
            self._node.SetActiveEffectName(name)

    def updateWidgetFromMRML(self):
        scene, node = self._scene, self._node
        if scene is None or node is None or scene.IsClosing() or scene.IsBatchProcessing():
            return
        modifying = node.StartModify()
        try:
            self._showNodes(node)
            self._showEffect(node)
        finally:
            node.EndModify(modifying)

    def _showNodes(self, node):
        segmentation = node.GetSegmentationNode()
        _set_silently(self._segmentations, segmentation)
        if segmentation is not self._shown:
            self._shown = segmentation
            if segmentation is not None:
                role = segmentation.GetReferenceImageGeometryReferenceRole()
                self._volumes.setCurrentNode(segmentation.GetNodeReference(role))
        _set_silently(self._volumes, node.GetSourceVolumeNode())

    def _showEffect(self, node):
        name = node.GetActiveEffectName() or ""
        if name == (self._effect.objectName() if self._effect else ""):
            return
        self._effect = None
        if not name:
            return
        if node.GetSegmentationNode() is None:
            raise AssertionError(f"Cannot activate effect {name}: the Segment Editor has no segmentation.")
        if any(other._node is node for other in _editors if other is not self):
            raise AssertionError(f"Two Segment Editors use {name} with the same parameter node: both would paint.")
        self._effect = QtCore.QObject(self)
        self._effect.setObjectName(name)

    def _batchEnded(self):
        if self._node is not None:
            self.setSegmentationNode(self._segmentations.currentNode())
            self.setSourceVolumeNode(self._volumes.currentNode())
        self.updateWidgetFromMRML()

    def _segmentationChosen(self, node):
        if self._node is not None and not self._scene.IsBatchProcessing():
            self.setSegmentationNode(node)

    def _volumeChosen(self, node):
        if self._node is not None and self._node.GetSegmentationNode() is not None:
            self.setSourceVolumeNode(node)

    def _checkToolsAreDown(self):
        if self._node is not None and self._node.GetActiveEffectName():
            raise AssertionError(f"The scene closes while {self._node.GetActiveEffectName()} is active.")

    def setupViewObservations(self):
        self._told["observing"] = True

    def removeViewObservations(self):
        self._told["observing"] = False

    def installKeyboardShortcuts(self):
        self._told["shortcuts"] = True

    def uninstallKeyboardShortcuts(self):
        self._told["shortcuts"] = False

    def setSegmentationNodeSelectorVisible(self, visible):
        self._segmentationSelector = visible

    def setSourceVolumeNodeSelectorVisible(self, visible):
        self._volumeSelector = visible

    def setSwitchToSegmentationsButtonVisible(self, visible):
        self._switchButton = visible

    def _needEditorNode(self, value):
        if value and self._node is None:
            raise AssertionError("The real Segment Editor ignores this until setMRMLSegmentEditorNode() was called.")

    segmentationNodeSelectorVisible = stored(bool, "_segmentationSelector", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "_volumeSelector", True)
    switchToSegmentationsButtonVisible = stored(bool, "_switchButton", True)
    readOnly = stored(bool, "_readOnly", False)
    maximumNumberOfUndoStates = stored(int, "_undo", 10)


def _set_silently(selector, node):
    blocked = selector.blockSignals(True)
    selector.setCurrentNode(node)
    selector.blockSignals(blocked)


CLASSES = qMRMLSegmentsTableView, qMRMLSegmentEditorWidget
