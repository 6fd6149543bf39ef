"""The panel's correct section: clicks that correct a structure, one undo, and Slicer's Segment Editor."""

import slicer

from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.refine import Point
from DeepSegLogic.viewmodel import entry_text

POINTS = "DeepSeg clicks"
HINT = "Click on a structure in the result's list, press a button, then click in a view."


class CorrectSection:
    """Points are markups: they are placed in any view, take effect at once and are removed again."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self._points = self._observed = None
        ui.addPointButton.connect("toggled(bool)", self.onAdd)
        ui.removePointButton.connect("toggled(bool)", self.onRemove)
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.redoButton.connect("clicked(bool)", self.onRedo)
        self.update("result")

    def update(self, part):
        """Show what changed."""
        if part == "result":
            self.stop()
            self._editResult()
            self._tell(HINT)

    def stop(self):
        """Place no more points."""
        self.ui.addPointButton.checked = self.ui.removePointButton.checked = False

    def onAdd(self, on):
        self._place(on, self.ui.removePointButton)

    def onRemove(self, on):
        self._place(on, self.ui.addPointButton)

    def onUndo(self, _checked=False):
        with slicer.util.tryWithErrorDisplay("The correction cannot be taken back."):
            entry = self.scene.undo()
            self._tell(f"Taken back: {entry.title}" if entry else "There is nothing to take back.")

    def onRedo(self, _checked=False):
        with slicer.util.tryWithErrorDisplay("The correction cannot be done again."):
            entry = self.scene.redo()
            self._tell(self._text(entry) if entry else "There is nothing to do again.")

    def onPoint(self, _caller, _event):
        """A point was placed: correct, and take the point away."""
        index = self._points.GetNumberOfControlPoints() - 1
        if index < 0:
            return
        ras = self._points.GetNthControlPointPositionWorld(index)
        positive = self.ui.addPointButton.checked
        self._points.RemoveNthControlPoint(index)
        name = self.scene.currentStructure
        if name is None:
            self._tell(HINT)
            return
        try:
            self._tell(self._text(self.scene.prompt(Point(name, positive, tuple(ras)))))
        except DeepSegError as error:
            self._tell(str(error))

    def _place(self, on, other):
        interaction = self.scene.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        selection = self.scene.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        if on:
            other.checked = False
            if self._points is None or self._points.GetScene() is None:
                self._points = self.scene.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", POINTS)
                self._points.SetSaveWithScene(False)
                self._points.SetHideFromEditors(True)
                self._points.AddObserver(slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self.onPoint)
            selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
            selection.SetActivePlaceNodeID(self._points.GetID())
            interaction.SetPlaceModePersistence(1)
            interaction.SetCurrentInteractionMode(interaction.Place)
        elif not other.checked and interaction is not None:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _editResult(self):
        """Let the Segment Editor work on the result; its parameters live in a node of their own."""
        scene, editor = self.scene.scene, self.ui.segmentEditor
        node = scene.GetSingletonNode("DeepSegEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("DeepSegEditor")
            node = scene.AddNode(node)
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNode(self.scene.resultNode)
        editor.setSourceVolumeNode(self.scene.volumeNode)

    def _text(self, entry):
        return entry_text(entry, self.scene.correction.label_map)

    def _tell(self, text):
        self.ui.correctLabel.text = text
