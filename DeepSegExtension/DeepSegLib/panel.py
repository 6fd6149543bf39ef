"""The panel once everything is installed: its sections, what a saved scene brings back to them, and a timer."""

import time

import qt
import slicer
from slicer.i18n import translate

from DeepSegLib import savedState
from DeepSegLib.channelSection import ChannelSection
from DeepSegLib.compareSection import CompareSection
from DeepSegLib.correctors import CorrectorList
from DeepSegLib.correctSection import CorrectSection
from DeepSegLib.detectSection import DetectSection
from DeepSegLib.draftSection import DraftSection
from DeepSegLib.enhanceSection import EnhanceSection
from DeepSegLib.exportSection import ExportSection
from DeepSegLib.inputSection import InputSection
from DeepSegLib.learnSection import LearnSection
from DeepSegLib.modelSection import ModelSection
from DeepSegLib.pictureSection import PictureSection
from DeepSegLib.placeSection import PlaceSection
from DeepSegLib.planSection import PlanSection
from DeepSegLib.resultSection import ResultSection
from DeepSegLib.runSection import RunSection
from DeepSegLib.structureSection import StructureSection
from DeepSegLib.style import Style
from DeepSegLib.sureSection import SureSection
from DeepSegLogic.util.i18n import set_translator

POLL_MS = 50
PAUSE_S = 0.002
SECTIONS = (
    InputSection,
    ChannelSection,
    EnhanceSection,
    PlaceSection,
    ModelSection,
    StructureSection,
    ResultSection,
    CompareSection,
    SureSection,
    CorrectorList,
    DetectSection,
    LearnSection,
    RunSection,
    PlanSection,
    ExportSection,
    DraftSection,
)
"""Those that have nothing of their own in the views."""


class Panel:
    """The sections show a session and pass on what the user does; a timer polls the worker.

    Args:
        ui: the widgets.
        logic: with the session, and the parameter node that keeps the state in the scene.
    """

    def __init__(self, ui, logic):
        set_translator(lambda text: translate("DeepSegLogic", text))
        self._ui, self._logic, self._scene = ui, logic, logic.sceneSession
        self._correct = CorrectSection(ui, self._scene)
        self._pictures = PictureSection(ui, self._scene)
        self._style = Style(ui)
        self._sections = [kind(ui, self._scene) for kind in SECTIONS]
        self._restore()  # the sections show what this tells them
        choices = self._scene.session.choices
        for changed in (
            choices.input_changed,
            choices.channels_changed,
            choices.settings_changed,
            choices.models_changed,
            choices.structures_changed,
            choices.correctors_changed,
            self._scene.replaceChanged,
            self._scene.resultShown,
        ):
            changed.connect(self._save)
        self._selectNodes()
        self._timer = qt.QTimer()
        self._timer.interval = POLL_MS
        self._timer.connect("timeout()", self._poll)
        self._timer.start()

    def _poll(self):
        if self._scene.session.jobs.waiting:
            time.sleep(PAUSE_S)  # in Slicer, other threads run only then: those that talk with the worker
        self._scene.poll()

    def close(self):
        """Take out of the views what is the panel's, and stop polling."""
        self._timer.stop()
        self._correct.close()
        self._pictures.close()
        self._style.close()
        self._sections = []

    def leaveTools(self):
        """The user goes elsewhere."""
        self._correct.leaveTools()

    def forgetScene(self):
        """The scene is about to be closed."""
        self.leaveTools()
        self._scene.forgetScene()

    def awaitScene(self):
        """A scene is about to be loaded: until its nodes are chosen, selectors lose theirs, which nobody asked for."""
        self._scene.isLoading = True

    def resume(self):
        """Go on with a scene that was loaded, or with an empty one."""
        self._restore()
        self.leaveTools()  # the scene may have been saved while one was used
        qt.QTimer.singleShot(0, self._selectNodes)

    def chooseOnlyVolume(self):
        """A volume was loaded: without another one, it is the one to segment."""
        if self._sections and not self._scene.isLoading and self._scene.volumeNode is None:
            self._ui.inputSelector.setCurrentNode(_onlyVolume())

    def _restore(self):
        savedState.restore(self._scene, self._logic.getParameterNode())

    def _save(self, _state):
        """Save the state at every change: Slicer does not tell when it saves a scene."""
        if not (slicer.mrmlScene.IsClosing() or self._scene.isLoading):
            savedState.save(self._scene, self._logic.getParameterNode())

    def _selectNodes(self):
        """Choose the volume of the saved state, or else the only one that is loaded, and give the editor its result.

        Slicer's selectors choose nodes of their own when a scene was loaded or closed, after it says that it was.
        """
        if not self._sections or slicer.mrmlScene.IsImporting():
            return  # closed meanwhile, or another scene follows
        self._scene.isLoading = False
        self._correct.editResult()
        node = self._scene.volumeNode or _onlyVolume()
        selector, choices = self._ui.inputSelector, self._scene.session.choices
        blocked = selector.blockSignals(True)
        selector.setCurrentNode(None)  # else it tells nobody of a node that it shows already
        selector.blockSignals(blocked)
        selector.setCurrentNode(node)
        choices.channels_changed.emit(choices.channels)  # their selectors lost their nodes, too


def _onlyVolume():
    """The volume of the scene if there is one only, else None."""
    volumes = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetImageData() is not None and not node.IsA("vtkMRMLLabelMapVolumeNode")
    ]
    return volumes[0] if len(volumes) == 1 else None
