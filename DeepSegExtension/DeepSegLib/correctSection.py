"""The panel's correct section: prompts that correct a structure, one undo history, and Slicer's Segment Editor."""

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.drawing import BOX, POINT, STROKE, Drawing
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session import SOLVER, Newest, entry_text
from DeepSegLogic.session.newest import OUTLINE_PAUSE_S
from DeepSegLogic.session.reach import reach_after
from DeepSegLogic.util.errors import DeepSegError
from DeepSegLogic.util.i18n import mark as N_

ADJUST = N_("{}. Turn the wheel to change more or less, release to apply.")
ACCEPT = N_("{}. Move the slider to change more or less, press Accept to apply.")
READY = N_("{}: press Add or Remove, then draw in a view.")
CHOOSE = N_("Click on a structure in the result list first.")
HINTS = {
    (POINT, True): N_("Add to {}: click in a view. Right-click or Esc to stop."),
    (STROKE, True): N_("Add to {}: drag in a slice view. Right-click or Esc to stop."),
    (BOX, True): N_("Add to {}: click two opposite corners in a view. Right-click or Esc to stop."),
    (POINT, False): N_("Remove from {}: click in a view. Right-click or Esc to stop."),
    (STROKE, False): N_("Remove from {}: drag in a slice view. Right-click or Esc to stop."),
    (BOX, False): N_("Remove from {}: click two opposite corners in a view. Right-click or Esc to stop."),
}
KEYS = {
    "pointButton": "Shift+P",
    "strokeButton": "Shift+S",
    "boxButton": "Shift+B",
    "addToButton": "+",
    "removeFromButton": "-",
    "undoButton": "Ctrl+Z",
    "redoButton": "Ctrl+Y",
    "acceptButton": "Ctrl+Return",
}


def later(seconds, call):
    """Call a function from Qt's event loop."""
    qt.QTimer.singleShot(round(1000 * seconds), call)


def plain(toolTip):
    """A tooltip as it was written; Slicer makes rich text of it."""
    document = qt.QTextDocument()
    document.setHtml(toolTip)
    return document.toPlainText()


class CorrectSection:
    """A prompt takes effect when the mouse button that drew it is released; then the next one can be drawn.

    A box, or what was clicked in 3D, could not be outlined before it was complete. So it is outlined then, and takes
    effect when it is accepted.
    """

    def __init__(self, ui, sceneSession):
        self.ui, self.scene = ui, sceneSession
        self._drawing = Drawing(sceneSession.scene, self.onDrawn, self.onPlaced, self.onDrawing, self.onTurned)
        self._waiting = None  # the prompt that is outlined until it is accepted
        self._outlining, self._reaching = Newest(self._outline, later, OUTLINE_PAUSE_S), Newest(self._follow, later)
        self._kinds = {ui.pointButton: POINT, ui.strokeButton: STROKE, ui.boxButton: BOX}
        self._kindGroup = qt.QButtonGroup(ui.mainWidget)  # autoExclusive would count the Segment Editor's buttons, too
        for button in self._kinds:
            self._kindGroup.addButton(button)
            button.connect("toggled(bool)", self.onKind)
        ui.addToButton.connect("toggled(bool)", self.onAdd)
        ui.removeFromButton.connect("toggled(bool)", self.onRemove)
        ui.undoButton.connect("clicked(bool)", self.onUndo)
        ui.redoButton.connect("clicked(bool)", self.onRedo)
        ui.acceptButton.connect("clicked(bool)", self.onAccept)
        ui.reachSlider.connect("valueChanged(int)", self.onReach)
        for name, key in KEYS.items():
            button = getattr(ui, name)
            button.toolTip = f"{plain(button.toolTip)} ({key})"
            self._shortcut(key).connect("activated()", button, "click()")
        self._escape = self._shortcut(qt.QKeySequence.Cancel)  # only while one draws: it is the Segment Editor's, too
        self._escape.enabled = False
        self._escape.connect("activated()", self.stop)
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolume)
        sceneSession.resultShown.connect(self.showResult)
        sceneSession.currentChanged.connect(self.showCurrent)
        sceneSession.session.jobs.run_changed.connect(self.showRun)
        self.showResult(sceneSession.session.outcome.result)

    def showResult(self, _result):
        self.stop()
        self.editResult()
        self._invite()

    def showCurrent(self, _name):
        """Prompts are for another structure now, also those of a tool that is pressed, and so is the Segment Editor."""
        self._selectCurrent()
        if self.ui.addToButton.checked or self.ui.removeFromButton.checked:
            self._draw()
        else:
            self._invite()

    def showRun(self, run):
        if run.task == "correct":
            self._tell(remedies.runText(run))

    def leaveTools(self):
        """Another module is shown, or another scene: put down what draws and paints."""
        self.stop()
        self.ui.segmentEditor.setActiveEffectByName("")

    def close(self):
        """Leave the Segment Editor's node to the panel that follows, when the module is reloaded."""
        self.leaveTools()
        self.ui.segmentEditor.setSegmentationNode(None)  # else it complains at each change of it that it has no node
        self.ui.segmentEditor.setMRMLSegmentEditorNode(None)

    def onVolume(self, _node):
        """What the user draws next may be meant for another volume than that of the result."""
        self.stop()

    def stop(self):
        """Stop drawing; an unfinished drawing is dropped."""
        self.ui.addToButton.checked = self.ui.removeFromButton.checked = False

    def onKind(self, on):
        if on:
            self._draw()

    def onAdd(self, on):
        if on:
            self.ui.removeFromButton.checked = False
        self._draw()

    def onRemove(self, on):
        if on:
            self.ui.addToButton.checked = False
        self._draw()

    def onDrawing(self):
        """The user draws: outline what would change."""
        if self.scene.session.choices.correctors.chosen == SOLVER:
            if not self._follows:
                self._resetReach()
            self._outlining.ask()

    @property
    def _follows(self):
        """Whether an outline follows what is drawn, or will in a moment."""
        return self.scene.corrections.previewing or self._outlining.asked

    def _outline(self):
        """Outline what the drawing would change now."""
        prompt = self._drawing.sketch(self.scene.currentStructure)
        try:
            self._tell(_(ADJUST).format(self.scene.corrections.preview(prompt, self._reach)))
        except DeepSegError as error:
            self.scene.corrections.endPreview()
            self._tell(remedies.sentence(error))

    def onTurned(self, notches):
        """The wheel widens or narrows what is outlined."""
        if self._follows:
            self.ui.reachSlider.value += notches

    def onReach(self, _value):
        """The slider was moved, by the mouse or by the wheel."""
        self._reaching.ask()

    def _follow(self):
        """Widen or narrow what is outlined, or else what the last prompt changed."""
        if self._outlining.asked:  # the next outline is as wide
            return
        with remedies.showingErrors(_("The correction cannot be changed.")):
            told = self.scene.corrections.previewAt(self._reach)
            if told is not None:
                self._tell(_(ADJUST if self._waiting is None else ACCEPT).format(told))
            elif (
                self.scene.correction is not None and (entry := self.scene.corrections.adjust(self._reach)) is not None
            ):
                self._tell(self._text(entry))

    def onDrawn(self):
        """The mouse button is released."""
        qt.QTimer.singleShot(0, self._next)  # the views are still busy with the node

    def onPlaced(self):
        """Slicer says that a drawing is complete, or that the user stopped."""
        qt.QTimer.singleShot(0, self._propose)

    def onAccept(self, _checked=False):
        """Apply what is outlined, and let the user draw again; or apply an unfinished stroke, and stop."""
        if self._waiting is not None:
            self._next()
        else:
            self._apply()
            self.stop()

    def onUndo(self, _checked=False):
        with remedies.showingErrors(_("The correction cannot be undone.")):
            entry = self.scene.corrections.undo()
            self._tell(_("Undone: {}").format(entry.title) if entry else _("Nothing to undo."))

    def onRedo(self, _checked=False):
        with remedies.showingErrors(_("The correction cannot be redone.")):
            entry = self.scene.corrections.redo()
            self._tell(self._text(entry) if entry else _("Nothing to redo."))

    def _draw(self):
        """Let the user draw what the buttons say."""
        ui, title = self.ui, self._title
        self._drawing.drop()
        self._endOutline()
        self._waiting = None
        self._escape.enabled = False
        if not (ui.addToButton.checked or ui.removeFromButton.checked):
            return
        if title is None:  # nothing chosen, or removed by hand
            self.stop()
            self._invite()
            return
        ui.segmentEditor.setActiveEffectByName("")  # the click is not to paint as well
        kind, positive = next(k for button, k in self._kinds.items() if button.checked), ui.addToButton.checked
        self._drawing.start(kind, positive)
        self._escape.enabled = True
        self._tell(_(HINTS[kind, positive]).format(title))

    @property
    def _title(self):
        """Of the structure that prompts are for; None if there is none."""
        known = self.scene.correction.label_map.structures if self.scene.correction is not None else ()
        return next((self.scene.titleOf(s) for s in known if s.name == self.scene.currentStructure), None)

    def _invite(self):
        self._tell(_(READY).format(self._title) if self._title is not None else _(CHOOSE))

    def _propose(self):
        """Outline what was drawn until it is accepted. A model has no outline, and nothing drawn means to stop."""
        prompt = self._drawing.sketch(self.scene.currentStructure)
        if prompt is None or self.scene.session.choices.correctors.chosen != SOLVER:
            self._next()
            return
        self._resetReach()
        try:
            self._tell(_(ACCEPT).format(self.scene.corrections.preview(prompt, self._reach)))
            self._waiting = prompt
        except DeepSegError as error:
            self._draw()
            self._tell(remedies.sentence(error))

    def _next(self):
        """Correct, and let the user draw again; leaving place mode with nothing drawn means to stop."""
        if self._apply():
            told = self.ui.correctLabel.text
            self._draw()
            self._tell(told)
        else:
            self.stop()

    def _apply(self):
        """Correct by what was drawn; False if nothing was."""
        prompt = self._waiting or self._drawing.sketch(self.scene.currentStructure)
        self._drawing.drop()
        self._waiting = None
        if not self._endOutline():
            self._resetReach()
        if prompt is None:
            return False
        try:
            entry = self.scene.corrections.prompt(prompt, self._reach)
            if entry is not None:
                self._tell(self._text(entry))
        except DeepSegError as error:
            self._tell(remedies.sentence(error))
        return True

    def _endOutline(self):
        """Nothing is drawn any more; returns whether something was outlined, or about to be."""
        followed = self._follows
        if followed:
            self._reaching.drop()  # it was for the outline
        self._outlining.drop()
        self.scene.corrections.endPreview()
        return followed

    @property
    def _reach(self):
        """See :class:`DeepSegLogic.refinement.Proposal`."""
        return reach_after(self.ui.reachSlider.value)

    def _resetReach(self):
        """What DeepSeg believes; nothing changes."""
        slider = self.ui.reachSlider
        blocked = slider.blockSignals(True)
        slider.value = 0
        slider.blockSignals(blocked)

    def _shortcut(self, key):
        """A key that works while the panel is shown, wherever the focus is: views may be in windows of their own."""
        shortcut = qt.QShortcut(self.ui.mainWidget)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.setContext(qt.Qt.ApplicationShortcut)
        return shortcut

    def editResult(self):
        """Let the Segment Editor work on the result; its parameters live in a node of their own."""
        scene, editor, result = self.scene.scene, self.ui.segmentEditor, self.scene.resultNode
        node = scene.GetSingletonNode("DeepSegEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("DeepSegEditor")
            node = scene.AddNode(node)
        node.SetSaveWithScene(False)  # the editor cannot take up a tool of a scene that is still loaded
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNode(result)
        if result is not None:  # before that it takes no volume
            editor.setSourceVolumeNode(self.scene.resultVolumeNode)
            self._selectCurrent()

    def _selectCurrent(self):
        """Let the Segment Editor paint the structure that is chosen in the table."""
        name, result = self.scene.currentStructure, self.scene.resultNode
        if name is not None and result is not None and result.GetSegmentation().GetSegment(name) is not None:
            self.ui.segmentEditor.setCurrentSegmentID(name)

    def _text(self, entry):
        return entry_text(entry, self.scene.correction.label_map)

    def _tell(self, text):
        self.ui.correctLabel.text = text
