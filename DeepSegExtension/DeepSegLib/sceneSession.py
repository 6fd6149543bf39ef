"""A session on a MRML scene: nodes in, segmentation nodes out."""

import slicer

from DeepSegLib import bridge, storedResult, volumeNodes
from DeepSegLib.frames import Frames, browserOf, countOf
from DeepSegLib.i18n import tr as _
from DeepSegLib.sceneCorrections import SceneCorrections
from DeepSegLib.sceneFindings import SceneFindings
from DeepSegLib.scenePlan import ScenePlan
from DeepSegLib.sceneSureness import SceneSureness
from DeepSegLogic.session import Session, Signal, WayOut
from DeepSegLogic.util.errors import DeepSegError, InputError, UsageError


class SceneSession:
    """Binds a :class:`DeepSegLogic.session.Session` to a scene.

    Attributes:
        session: the state and the commands.
        volumeNode, resultNode: of the scene, or None.
        replaceResult: whether the next result replaces the last one.
        isLoading: whether a scene is being loaded: what selectors choose meanwhile is not the user's choice.
        currentStructure: name of the one that prompts are for, or None.
        frames: of the time sequence segmented last, or None.
        corrections: of the result, in the scene.
        plan: what is planned on the result, in the scene.
        sureness: explanations of the result and second opinions on it, in the scene.
        findings: lesions found in the volume, in the scene.
        inputError: why the chosen volume cannot be used; empty when it can.
        resultError: why the result of a saved scene cannot be used; empty when it can.
        currentChanged: carries ``currentStructure``.
        replaceChanged: carries ``replaceResult``.
        resultShown: carries the result, or None, once the scene shows it.
        lookChanged: somebody changed how the scene shows the result, names, colors, what is visible; or its volume
            went.
        surfacesShown: carries the surfaces once the scene shows them.
    """

    def __init__(self, scene, session=None):
        self.scene = scene
        self.session = session or Session()
        self.session.outcome.result_changed.connect(self._onResult)
        self.session.outcome.surfaces_changed.connect(self._onSurfaces)
        self.session.outcome.measurements_changed.connect(self._onMeasurements)
        self.session.outcome.findings_changed.connect(self._onFindings)
        self.replaceChanged, self.resultShown, self.surfacesShown = Signal(), Signal(), Signal()
        self.currentChanged, self.lookChanged = Signal(), Signal()
        self.replaceResult = self.isLoading = False
        self.currentStructure = self.frames = None
        self.inputError = self.resultError = ""
        self._channelNodeIDs = {}  # by name of the channel
        self._volumeNodeID = self._resultNodeID = self._runVolumeNodeID = self._enhancedNodeID = None
        self._shownResult = self._look = None
        self.corrections = SceneCorrections(self)
        self.plan = ScenePlan(self)
        self.sureness = SceneSureness(self)
        self.findings = SceneFindings(self)

    @property
    def volumeNode(self):
        return self._node(self._volumeNodeID)

    @property
    def resultNode(self):
        return self._node(self._resultNodeID)

    @property
    def resultVolumeNode(self):
        """The volume that the result is of, or None."""
        return storedResult.volumeNodeOf(self.resultNode) if self.resultNode is not None else None

    @property
    def enhancedNode(self):
        """The enhanced volume that the last result was found on, or None."""
        return self._node(self._enhancedNodeID)

    @property
    def correction(self):
        """Of the result, or None."""
        return self.session.outcome.correction

    @property
    def resultCorrected(self):
        """Whether somebody changed the result's voxels since it came; unknown for a sequence, so True."""
        if self.correction is None or self.frames is not None:
            return self.frames is not None
        return self.correction.made or self.corrections.editedByHand

    @property
    def frameCount(self):
        """Of the volume chosen, if it is a time sequence; else None."""
        return countOf(self.volumeNode) if self.volumeNode is not None else None

    def setReplaceResult(self, on):
        """Whether the next result replaces the last one."""
        self.replaceResult = on
        self.replaceChanged.emit(on)

    def setVolumeNode(self, node):
        """Choose the input; ``inputError`` says what is wrong with it."""
        self._volumeNodeID = node.GetID() if node is not None else None
        self.inputError, volume = "", None
        if node is not None:
            try:
                if countOf(node) == 0:
                    raise InputError(
                        _("{} is a time sequence without frames.").format(node.GetName()), _("Load its frames again.")
                    )
                volume = volumeNodes.volumeFromNode(node, self.session.choices.volume)
            except DeepSegError as error:
                self.inputError = str(error)
        self.session.choices.set_volume(volume)

    def channelNode(self, name):
        """The volume chosen for a further channel of the model, or None."""
        return self._node(self._channelNodeIDs.get(name))

    def setChannelNode(self, name, node):
        """Choose the volume of a further channel.

        Raises:
            InputError: it cannot be used.
        """
        self._channelNodeIDs[name] = node.GetID() if node is not None else None
        self.session.choices.set_channel(name, None)  # what was there before goes in any case
        if node is not None:
            self.session.choices.set_channel(name, volumeNodes.volumeFromNode(node))

    @property
    def waysOut(self):
        """What can be done about the input warnings."""
        node = self.volumeNode
        return (
            [WayOut.RESAMPLE]
            if node is not None and volumeNodes.isBent(node)
            else self.session.choices.input.preflight.ways_out
        )

    def takeWayOut(self, way):
        """Make a new volume node that is easier to segment; returns it. The chosen volume stays as it is."""
        return volumeNodes.easier(self.volumeNode, way)

    def segment(self):
        """Start to segment the volume as it is now, edited or moved since it was chosen; of a sequence, all frames.

        Raises:
            UsageError: it cannot start.
        """
        if self.frameCount:
            frames = Frames(self, self.volumeNode)
            frames.start()
            self.frames = frames
        else:
            self.setVolumeNode(self.volumeNode)
            self.segmentShown()
            self.frames = None

    def openSegmentation(self, path):
        """Start to read a segmentation of the volume as it is now; it becomes its result.

        Raises:
            UsageError: there is no volume, or a task is running.
        """
        self.setVolumeNode(self.volumeNode)
        self.session.outcome.open(path, self.session.choices.volume)
        self._runVolumeNodeID, self.frames = self._volumeNodeID, None

    def segmentShown(self, frame=None):
        """Start to segment what was read from the volume's node.

        Args:
            frame: which one of a sequence this is, see :class:`DeepSegLogic.session.Run`.

        Raises:
            UsageError: it cannot start.
        """
        if self.inputError:
            raise UsageError(self.inputError, code="usage.not_ready")
        for name in self.session.choices.channels.names:
            self.setChannelNode(name, self.channelNode(name))
        self.session.segment(frame)
        self._runVolumeNodeID = self._volumeNodeID

    def poll(self):
        """Take in what happened; call this every 50 to 100 ms."""
        self.session.poll()
        self.plan.look()
        self._lookAtResult()
        if self.frames is not None and not self.session.jobs.run.busy:
            self.frames.look()

    def adopt(self, labelMap, provenance, **known):
        """Show what was segmented earlier, on the volume's grid, as its result.

        Args:
            known: see :meth:`DeepSegLogic.session.Outcome.adopt`.
        """
        self._runVolumeNodeID = self._volumeNodeID
        self.session.outcome.adopt(self.session.choices.volume, labelMap, provenance, **known)

    def noteState(self):
        """Write into the segments what a scene that is saved brings back: what was ignored, and what corrects."""
        corrector = self.session.choices.correctors.chosen.id
        storedResult.note(self.resultNode, self.session.outcome.ignored, corrector)

    def adoptShown(self, volume, result, **known):
        """Take what the result's node holds as the result of a volume.

        Args:
            known: see :meth:`DeepSegLogic.session.Outcome.show`.
        """
        self._shownResult = result
        self.session.outcome.show(volume, result, **known)

    def forgetResult(self):
        """Drop the result; its node stays."""
        self.session.outcome.forget()

    def labelMap(self):
        """The result as it is now, with the corrections made by hand.

        Raises:
            UsageError: there is none, or its volume is gone.
        """
        if self.resultNode is None or self.session.outcome.result is None:
            raise UsageError(_("There is no result."), _("Segment a volume first."), code="usage.empty")
        self.corrections.takeEdits()
        return self.correction.label_map

    @property
    def everCorrected(self):
        """Whether the result was corrected, also before the scene was saved."""
        return self.resultCorrected or bridge.isCorrected(self.resultNode)

    def showSurfaces(self):
        """Extract the joint surfaces of the result and show them in 3D."""
        labelMap = self.labelMap()
        if storedResult.hasSurfaces(self.resultNode):
            self.resultNode.GetDisplayNode().SetVisibility3D(True)
        else:  # what is corrected meanwhile is shown, too
            bridge.surfacesToSegmentation([], self.resultNode)
        self.session.outcome.show_surfaces(labelMap)

    def titleOf(self, structure):
        """What the scene calls a structure of the result: users may rename its segment."""
        node = self.resultNode
        segment = node.GetSegmentation().GetSegment(structure.name) if node is not None else None
        return segment.GetName() if segment is not None else structure.title

    def chooseStructure(self, name):
        """Make a structure the one that prompts are for; None for none."""
        if name != self.currentStructure:
            self.currentStructure = name
            self.currentChanged.emit(name)

    def checkStructure(self):
        """Prompts are for no structure that the result has lost."""
        known = self.correction.label_map.structures if self.correction is not None else ()
        if self.currentStructure not in [s.name for s in known]:
            self.chooseStructure(None)

    def jumpTo(self, name):
        """Centre all slice views on a structure."""
        if self.resultNode is not None and self.resultNode.GetSegmentation().GetSegment(name) is not None:
            centre = self.resultNode.GetSegmentCenterRAS(name)
            if centre is not None:
                self.jumpToPoint(centre)

    def jumpToPoint(self, ras):
        """Centre all slice views on a point."""
        slicer.vtkMRMLSliceNode.JumpAllSlices(self.scene, *ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def resume(self, volumeNode, node):
        """Go on with the volume and the result of a scene that was saved; ``resultError`` says why that fails."""
        known = node is not None and node is self.resultNode and self.session.outcome.result is not None
        self._resultNodeID = node.GetID() if node is not None else None
        self.resultError = ""
        if not known:  # else another scene was added to this one
            self._readResult()
        self.setVolumeNode(volumeNode)

    def forgetScene(self):
        """The scene was closed: stop, and drop its nodes."""
        self.session.jobs.cancel()
        self.frames = self._resultNodeID = self._runVolumeNodeID = None
        self.resultError = ""
        self.forgetResult()
        self.setVolumeNode(None)
        for name in self.session.choices.channels.names:
            self.setChannelNode(name, None)

    def _readResult(self):
        node, volumeNode = self.resultNode, self.resultVolumeNode
        browser = browserOf(volumeNode) if volumeNode is not None else None
        inSequence = browser is not None and browser.GetSequenceNode(node) is not None
        self.frames = Frames(self, volumeNode) if inSequence else None
        try:
            if node is not None:
                volume, result, known = storedResult.read(node, volumeNode)
                plan = None if inSequence else storedResult.readPlan(node)
                self.adoptShown(volume, result, plan=plan, **known)
                return
        except DeepSegError as error:
            self.resultError = "" if inSequence else str(error)  # a frame without a result is no fault
        self.forgetResult()

    def _lookAtResult(self):
        """Follow what Slicer's own widgets do to the result."""
        if self.session.outcome.result is None or self._resultNodeID is None:
            return
        if self.resultNode is None:  # removed
            self._resultNodeID = None
            self.frames = self.frames if self.session.jobs.run.busy else None  # the frames to come get a new node
            self.forgetResult()
            return
        self.corrections.look()
        look = storedResult.lookOf(self.resultNode), self.resultVolumeNode
        if look != self._look:
            self._look = look
            self.lookChanged.emit(self.resultNode)

    # --- what comes back ---------------------------------------------------------------------------------------

    def _onResult(self, result):
        if result is not None and result is not self._shownResult:
            self._showResult(result)
        if result is not None:
            self.corrections.resultShown()
            self.resultError = ""
        self.checkStructure()
        self.resultShown.emit(result)

    @property
    def _holdsResult(self):
        """Whether the result's node holds the result now: that of a sequence shows other frames while it plays."""
        there = self.resultNode is not None and self.session.outcome.result is not None
        return there and (self.frames is None or self.frames.inStep)

    def _onFindings(self, _findings):
        if self._holdsResult:
            self.noteState()

    def _onMeasurements(self, rows):
        outcome = self.session.outcome
        if rows and self._holdsResult:
            storedResult.noteRun(self.resultNode, outcome.result, outcome.as_run)
            bridge.markCorrected(self.resultNode, outcome.repainted)
            if outcome.repainted:
                self.corrections.noteBelief()

    def _onSurfaces(self, surfaces):
        node = self.resultNode
        if surfaces is not None and node is not None:
            hidden = storedResult.hasSurfaces(node) and not storedResult.showsSurfaces(node)
            bridge.surfacesToSegmentation(surfaces, node)
            if hidden:  # while they were made
                node.GetDisplayNode().SetVisibility3D(False)
            self.surfacesShown.emit(surfaces)

    def _showResult(self, result):
        volumeNode = self._node(self._runVolumeNodeID)  # None if it was removed meanwhile
        again = self.replaceResult or (self.frames is not None and self.frames.done)
        last = self.resultNode
        node = last if again and last is not None else storedResult.make(self.scene, volumeNode)
        if last is not None and last is not node:
            storedResult.showInPlaceOf(node, last)
        storedResult.fill(node, result, volumeNode)
        self._resultNodeID = node.GetID()
        self._enhancedNodeID = None
        if result.enhanced is not None and self.frames is None:
            like = node if volumeNode is None else volumeNode
            self._enhancedNodeID = volumeNodes.volumeToNode(result.enhanced, self.scene, like).GetID()

    def _node(self, nodeID):
        return self.scene.GetNodeByID(nodeID) if nodeID else None
