"""Stand-ins for Slicer's MRML widgets, on the real scene."""

import weakref

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property


class Observer:
    """VTK observations that do not keep the widget alive and end with it."""

    def __init__(self, owner, method):
        self._owner, self._method, self._tags = weakref.ref(owner), method, []

    def watch(self, target, *events, priority=0.0):
        for event in events:
            self._tags.append((target, target.AddObserver(event, self._call, priority)))

    def clear(self):
        for target, tag in self._tags:
            target.RemoveObserver(tag)
        self._tags.clear()

    def _call(self, *_):
        owner = self._owner()
        if owner is None or not shiboken6.isValid(owner):
            self.clear()
        else:
            getattr(owner, self._method)()


def stored(kind, name, default, then=None):
    """A Qt property that the stand-in remembers, and maybe acts on."""

    def read(self):
        return self.__dict__.get(name, default)

    def write(self, value):
        self.__dict__[name] = value
        if then:
            getattr(self, then)()

    return Property(kind, read, write)


class SceneWidget(QtWidgets.QWidget):
    """What MRML widgets have in common."""

    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self._sceneChanged()

    def _sceneChanged(self):
        pass


class qMRMLWidget(SceneWidget):
    """A widget that tells others its scene."""

    mrmlSceneChanged = QtCore.Signal(object)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}  # noqa: RUF012

    def _sceneChanged(self):
        self.mrmlSceneChanged.emit(self._scene)


class qMRMLNodeComboBox(SceneWidget):
    """A list of the scene's nodes of some types.

    As in the real one, the node that follows a removed one becomes current, a node can be chosen before the scene is
    there, and a new name of the current node is told like a new node.
    """

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    nodeAddedByUser = QtCore.Signal(object)
    nodeActivated = QtCore.Signal(object)
    _currentNodeValid = QtCore.Signal(bool)
    SIGNALS = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "_currentNodeValid",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
    }

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox()
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._chosen)
        self._nodes, self._current, self._requested, self._attributes = [], None, None, {}
        self._sceneObserver = Observer(self, "_refill")
        self._importObserver = Observer(self, "_startAnew")
        self._nodeObserver = Observer(self, "_rename")

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if self._scene else None
        self._requested = None if self._scene else node
        if node not in self._nodes:
            node = None
        changed, self._current = node is not self._current, node
        self._combo.setCurrentIndex(self._row())
        if changed:
            self._tell()

    def setCurrentNodeID(self, node_id):
        self.setCurrentNode(node_id)

    def nodeCount(self):
        return len(self._nodes)

    def setCurrentNodeIndex(self, index):
        self.setCurrentNode(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeFromIndex(self, index):
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def addAttribute(self, node_type, name, value=None):
        self._attributes.setdefault(node_type, {})[name] = value
        self._refill()

    def removeAttribute(self, node_type, name):
        self._attributes.get(node_type, {}).pop(name, None)
        self._refill()

    def addNode(self, node_type=None):
        node = self._scene.AddNewNodeByClass(node_type or self.nodeTypes[0], self.baseName)
        self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _entries(self):
        return [None, *self._nodes] if self.noneEnabled else self._nodes

    def _row(self):
        entries = self._entries()
        return entries.index(self._current) if self._current in entries else -1

    def _tell(self):
        node = self._current
        self.currentNodeChanged.emit(node)
        self._currentNodeValid.emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def _chosen(self, row):
        node = self._entries()[row]
        self.setCurrentNode(node)
        self.nodeActivated.emit(node)

    def _sceneChanged(self):
        self._sceneObserver.clear()
        self._importObserver.clear()
        if self._scene is not None:
            kinds = slicer.vtkMRMLScene
            self._sceneObserver.watch(
                self._scene, kinds.NodeAddedEvent, kinds.NodeRemovedEvent, kinds.EndBatchProcessEvent
            )
            self._importObserver.watch(self._scene, kinds.EndImportEvent)
        self._refill()

    def _startAnew(self):
        """The real list is made anew once a scene was imported; modules may hear of it before or after that."""
        self._list()
        self.setCurrentNode(None)
        if not self.noneEnabled:
            self.setCurrentNodeIndex(0)

    def _refill(self):
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        row, was_empty = self._row(), not self._nodes
        self._list()
        node, entries = self._current or self._requested, self._entries()
        if node is not None and node not in entries:
            node = entries[min(row, len(entries) - 1)] if entries else None
        if node is None and was_empty and not self.noneEnabled and self._nodes:
            node = self._nodes[0]
        self.setCurrentNode(node)

    def _list(self):
        self._nodeObserver.clear()
        self._nodes = [node for node in self._scene.GetNodes() if self._suits(node)] if self._scene else []
        for node in self._nodes:
            self._nodeObserver.watch(node, vtk.vtkCommand.ModifiedEvent)
        self._fillCombo()

    def _rename(self):
        before = self._combo.currentText()
        self._fillCombo()
        if self._current is not None and self._combo.currentText() != before:
            self._tell()

    def _fillCombo(self):
        names = [node.GetName() if node else self.noneDisplay or "None" for node in self._entries()]
        if names != [self._combo.itemText(row) for row in range(self._combo.count())]:
            self._combo.clear()
            self._combo.addItems(names)
            self._combo.setCurrentIndex(self._row())

    def _suits(self, node):
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        kind = node.GetClassName()
        wanted = [name for name in self.nodeTypes if kind == name or (self.showChildNodeTypes and node.IsA(name))]
        if not wanted or any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
            return False
        conditions = [item for name in wanted for item in self._attributes.get(name, {}).items()]
        return all(
            node.GetAttribute(name) is not None and value in (None, "", node.GetAttribute(name))
            for name, value in conditions
        )

    nodeTypes = stored("QStringList", "_types", [], "_refill")
    hideChildNodeTypes = stored("QStringList", "_hiddenTypes", [], "_refill")
    showChildNodeTypes = stored(bool, "_children", True, "_refill")
    showHidden = stored(bool, "_hidden", False, "_refill")
    noneEnabled = stored(bool, "_none", False, "_refill")
    noneDisplay = stored(str, "_noneText", "None", "_fillCombo")
    addEnabled = stored(bool, "_add", True)
    removeEnabled = stored(bool, "_remove", True)
    editEnabled = stored(bool, "_edit", False)
    renameEnabled = stored(bool, "_renaming", False)
    selectNodeUponCreation = stored(bool, "_select", True)
    baseName = stored(str, "_base", "")
    currentNodeID = Property(
        str,
        lambda self: self._current.GetID() if self._current else "",
        setCurrentNodeID,
        notify=currentNodeIDChanged,
    )


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A list of nodes, each with a check box."""

    checkedNodesChanged = QtCore.Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._checked = []

    def checkedNodes(self):
        return [node for node in self._nodes if node in self._checked]

    def checkState(self, node):
        return QtCore.Qt.Checked if node in self._checked else QtCore.Qt.Unchecked

    def setCheckState(self, node, state):
        if (node in self._checked) != (state == QtCore.Qt.Checked):
            (self._checked.append if state == QtCore.Qt.Checked else self._checked.remove)(node)
            self.checkedNodesChanged.emit()


CLASSES = qMRMLWidget, qMRMLNodeComboBox, qMRMLCheckableNodeComboBox
