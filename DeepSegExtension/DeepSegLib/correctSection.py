"""The panel's correct section: drawings that correct a structure, one undo, and Slicer's Segment Editor."""

import qt
import slicer

from DeepSegLib.drawing import BOX, POINT, STROKE, Drawing
from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.viewmodel import entry_text
from DeepSegLogic.viewmodel.texts import run_text

CHOOSE = "Click on a structure in the result's list first."
HOW = {
    POINT: "click there in a view; right click to stop.",
    STROKE: "drag along it in a slice view; right click to stop.",
    BOX: "click two opposite corners in a view; right click to stop.",
}
KEYS = {
    "pointButton": "Shift+P",
    "strokeButton": "Shift+S",
    "boxButton": "Shift+B",
    "belongsButton": "+",
    "notBelongsButton": "-",
    "undoButton": "Ctrl+Z",
    "redoButton": "Ctrl+Y",
    "acceptButton": "Ctrl+Return",
}


class CorrectSection:
    """A drawing takes effect as soon as it is complete; then the next one may be drawn."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene = ui, sceneSession
        self._drawing = Drawing(sceneSession.scene, self.onDrawn)
        self._kinds = {ui.pointButton: POINT, ui.strokeButton: STROKE, ui.boxButton: BOX}
        for button in self._kinds:
            button.connect("toggled(bool)", self.onKind)
        ui.belongsButton.connect("toggled(bool)", self.onBelongs)
        ui.notBelongsButton.connect("toggled(bool)", self.onNotBelongs)
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.redoButton.connect("clicked(bool)", self.onRedo)
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        for name, key in KEYS.items():
            self._addShortcut(getattr(ui, name), key)
        self.update("result")

    def update(self, part):
        """Show what changed."""
        if part == "result":
            self.stop()
            self._editResult()
            self._tell(CHOOSE)
        elif part == "run" and self.scene.session.run.task == "correct":
            self._tell(run_text(self.scene.session.run))

    def exit(self):
        """Another module is shown, or none: its mouse."""
        self.stop()
        self.ui.segmentEditor.setActiveEffectByName("")  # or it would go on painting there

    def stop(self):
        """Draw no more; what is not complete goes."""
        self.ui.belongsButton.checked = self.ui.notBelongsButton.checked = False

    def onKind(self, on):
        if on:
            self._draw()

    def onBelongs(self, on):
        if on:
            self.ui.notBelongsButton.checked = False
        self._draw()

    def onNotBelongs(self, on):
        if on:
            self.ui.belongsButton.checked = False
        self._draw()

    def onDrawn(self):
        """Slicer says that a drawing is complete."""
        qt.QTimer.singleShot(0, self._next)  # the views are still busy with the node

    def onAccept(self, _checked=False):
        """Take a stroke that was not ended yet, and stop."""
        self._apply()
        self.stop()

    def onUndo(self, _checked=False):
        with slicer.util.tryWithErrorDisplay("The correction cannot be taken back."):
            entry = self.scene.undo()
            self._tell(f"Taken back: {entry.title}" if entry else "There is nothing to take back.")

    def onRedo(self, _checked=False):
        with slicer.util.tryWithErrorDisplay("The correction cannot be done again."):
            entry = self.scene.redo()
            self._tell(self._text(entry) if entry else "There is nothing to do again.")

    def _draw(self):
        """Let the user draw what the buttons say, or nothing."""
        ui, name = self.ui, self.scene.currentStructure
        self._drawing.drop()
        if not (ui.belongsButton.checked or ui.notBelongsButton.checked):
            return
        if name is None:
            self.stop()
            self._tell(CHOOSE)
            return
        ui.segmentEditor.setActiveEffectByName("")  # the click is not to paint as well
        kind = next(kind for button, kind in self._kinds.items() if button.checked)
        self._drawing.start(kind, ui.belongsButton.checked)
        title = self.scene.correction.label_map.structure(name).title
        self._tell(f"{title} {'is here' if ui.belongsButton.checked else 'is not here'}: {HOW[kind]}")

    def _next(self):
        """Correct, and let the user draw again; leaving Slicer's place mode with nothing drawn means to stop."""
        if self._apply():
            told = self.ui.correctLabel.text
            self._draw()
            self._tell(told)
        else:
            self.stop()

    def _apply(self):
        """Correct by what was drawn; False if nothing was."""
        prompt = self._drawing.take(self.scene.currentStructure)
        if prompt is None:
            return False
        try:
            entry = self.scene.prompt(prompt)
            if entry is not None:
                self._tell(self._text(entry))
        except DeepSegError as error:
            self._tell(str(error))
        return True

    def _addShortcut(self, button, key):
        """A key that works while the panel is shown, wherever the focus is: views may be in windows of their own."""
        button.toolTip = f"{button.toolTip} ({key})"
        shortcut = qt.QShortcut(self.ui.mainWidget)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.setContext(qt.Qt.ApplicationShortcut)
        shortcut.connect("activated()", button, "click()")

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
