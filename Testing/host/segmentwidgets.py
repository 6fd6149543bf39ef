"""Stand-ins for Slicer's segmentation widgets: a table of the real segments, a placeholder for the editor."""

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property

from .mrmlwidgets import Observer, SceneWidget, stored


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
    """A placeholder: it remembers what the module tells Slicer's Segment Editor, and edits nothing."""

    def __init__(self, parent=None):
        super().__init__(parent)
        label = QtWidgets.QLabel("Slicer's Segment Editor is here (placeholder of the stand-in host)")
        label.setWordWrap(True)
        label.setAlignment(QtCore.Qt.AlignCenter)
        label.setFrameShape(QtWidgets.QFrame.StyledPanel)
        label.setMinimumHeight(80)
        QtWidgets.QVBoxLayout(self).addWidget(label)
        self._told = {}

    def mrmlSegmentEditorNode(self):
        return self._told.get("editor")

    def setMRMLSegmentEditorNode(self, node):
        self._told["editor"] = node

    def segmentationNode(self):
        return self._told.get("segmentation")

    def setSegmentationNode(self, node):
        self._needEditorNode()
        self._told["segmentation"] = node
        self.mrmlSegmentEditorNode().SetAndObserveSegmentationNode(node)

    def sourceVolumeNode(self):
        return self._told.get("volume")

    def setSourceVolumeNode(self, node):
        self._needEditorNode()
        self._told["volume"] = node
        self.mrmlSegmentEditorNode().SetAndObserveSourceVolumeNode(node)

    def currentSegmentID(self):
        node = self.mrmlSegmentEditorNode()
        return node.GetSelectedSegmentID() or "" if node else ""

    def setCurrentSegmentID(self, segment_id):
        self._needEditorNode()
        self.mrmlSegmentEditorNode().SetSelectedSegmentID(segment_id)

    def setActiveEffectByName(self, name):
        if name:
            self._needEditorNode()
        if self.mrmlSegmentEditorNode():
            self.mrmlSegmentEditorNode().SetActiveEffectName(name)

    def setupViewObservations(self):
        self._told["observing"] = True

    def removeViewObservations(self):
        self._told["observing"] = False

    def installKeyboardShortcuts(self):
        self._told["shortcuts"] = True

    def uninstallKeyboardShortcuts(self):
        self._told["shortcuts"] = False

    def updateWidgetFromMRML(self):
        pass

    def setSegmentationNodeSelectorVisible(self, visible):
        self._segmentationSelector = visible

    def setSourceVolumeNodeSelectorVisible(self, visible):
        self._volumeSelector = visible

    def setSwitchToSegmentationsButtonVisible(self, visible):
        self._switchButton = visible

    def _needEditorNode(self):
        if self.mrmlSegmentEditorNode() is None:
            raise AssertionError("The real Segment Editor ignores this until setMRMLSegmentEditorNode() was called.")

    segmentationNodeSelectorVisible = stored(bool, "_segmentationSelector", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "_volumeSelector", True)
    switchToSegmentationsButtonVisible = stored(bool, "_switchButton", True)
    readOnly = stored(bool, "_readOnly", False)
    maximumNumberOfUndoStates = stored(int, "_undo", 10)


CLASSES = qMRMLSegmentsTableView, qMRMLSegmentEditorWidget
