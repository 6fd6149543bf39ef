"""A session on a MRML scene: nodes in, segmentation nodes out."""

from datetime import datetime
from functools import partial

import slicer
import vtk

from DeepSegLib import bridge, volumeNodes
from DeepSegLib.frames import Frames, countOf
from DeepSegLogic.errors import DeepSegError, InputError, UsageError
from DeepSegLogic.viewmodel import SOLVER, Correction, Session, WayOut, entry_text


class SceneSession:
    """Binds a :class:`DeepSegLogic.viewmodel.Session` to a scene.

    Attributes:
        session: the state and the commands.
        volumeNode, resultNode: of the scene, or None.
        replaceResult: whether the next result takes the place of the last one.
        correction: of the result, or None.
        currentStructure: name of the one that prompts are for, or None.
        frames: of the time sequence segmented last, or None.
        inputError: why the volume chosen cannot be used; empty when it can.
    """

    def __init__(self, scene, session=None):
        self.scene = scene
        self.session = session or Session()
        self.session.changed.connect(self._onChanged)
        self.replaceResult = False
        self.correction = self.currentStructure = self.frames = None
        self.inputError = ""
        self._volumeNodeID = self._resultNodeID = self._runVolumeNodeID = None
        self._shownTime, self._shownResult = 0, None

    @property
    def volumeNode(self):
        return self._node(self._volumeNodeID)

    @property
    def resultNode(self):
        return self._node(self._resultNodeID)

    @property
    def resultCorrected(self):
        """Whether somebody changed the result's voxels since it came; not known of a sequence, so True."""
        if self.correction is None or self.frames is not None:
            return self.frames is not None
        return self.correction.made or self._editedByHand()

    @property
    def frameCount(self):
        """Of the volume chosen, if it is a time sequence; else None."""
        return countOf(self.volumeNode) if self.volumeNode is not None else None

    def setVolumeNode(self, node):
        """Choose the input. What is wrong with it is told in ``inputError``."""
        self._volumeNodeID = node.GetID() if node is not None else None
        self.inputError, volume = "", None
        if node is not None:
            try:
                if countOf(node) == 0:
                    raise InputError(f"{node.GetName()} is a time sequence without frames.", "Load its frames again.")
                volume = volumeNodes.volumeFromNode(node)
            except DeepSegError as error:
                self.inputError = str(error)
        self.session.set_volume(volume)

    @property
    def waysOut(self):
        """What can be done about what the pre-flight warns of."""
        node = self.volumeNode
        return [WayOut.RESAMPLE] if node is not None and volumeNodes.isBent(node) else self.session.preflight.ways_out

    def takeWayOut(self, way):
        """Make a new volume node that is easier to segment; returns it. The volume chosen stays as it is."""
        node = self.volumeNode
        if volumeNodes.isBent(node):
            return volumeNodes.straightened(node)
        return volumeNodes.volumeToNode(way.apply(volumeNodes.volumeFromNode(node)), self.scene, node)

    def segment(self):
        """Start to segment the volume as it is now: it may have been edited or moved since it was chosen.

        Of a time sequence, all frames.

        Raises:
            UsageError: it cannot start.
        """
        if self.frameCount:
            frames = Frames(self)
            frames.start()
            self.frames = frames
        else:
            self.setVolumeNode(self.volumeNode)
            self.segmentShown()
            self.frames = None

    def segmentShown(self, frame=None):
        """Start to segment what was read from the volume's node.

        Args:
            frame: which one of a sequence this is, see :class:`DeepSegLogic.viewmodel.Run`.

        Raises:
            UsageError: it cannot start.
        """
        if self.inputError:
            raise UsageError(self.inputError, code="usage.not_ready")
        self.session.segment(frame)
        self._runVolumeNodeID = self._volumeNodeID

    def poll(self):
        """Take in what happened; call this every 50 to 100 ms."""
        self.session.poll()
        if self.frames is not None and not self.session.run.busy:
            self.frames.look()

    def adopt(self, labelMap, provenance, **known):
        """Show what was segmented earlier, on the volume's grid, as its result.

        Args:
            known: see :meth:`DeepSegLogic.viewmodel.Session.adopt_result`.
        """
        self._runVolumeNodeID = self._volumeNodeID
        self.session.adopt_result(labelMap, provenance, **known)

    def noteState(self):
        """Write into the segments what a scene that is saved brings back: what was ignored, and what corrects."""
        segmentation = self.resultNode.GetSegmentation()
        for index in range(segmentation.GetNumberOfSegments()):
            segment, name = segmentation.GetNthSegment(index), segmentation.GetNthSegmentID(index)
            kinds = sorted(kind for kind, structure in self.session.ignored if structure == name)
            segment.SetTag(f"{bridge.TAG_PREFIX}ignored", " ".join(kinds))
            segment.SetTag(f"{bridge.TAG_PREFIX}corrector", self.session.correctors.chosen.id)

    def adoptShown(self, volume, result):
        """Take what the result's node holds as the result of a volume."""
        self._shownResult = result
        self._begin(volume, result)
        self.session.show_result(volume, result)

    def forgetResult(self):
        """Let go of the result; its node stays."""
        self.correction = None
        self.session.forget_result()

    def labelMap(self):
        """The result as it is now, with the corrections made by hand.

        Raises:
            UsageError: there is none, or its volume is gone.
        """
        if self.resultNode is None or self.session.result is None:
            raise UsageError("There is no result.", "Segment a volume first.", code="usage.empty")
        self._takeEdits()
        return self.correction.label_map

    def prompt(self, prompt):
        """Correct the result by a prompt, see :mod:`DeepSegLogic.refine.prompts`.

        Returns:
            The step; None if a model works on it: ``session.run`` tells how far it is, and what came of it.

        Raises:
            UsageError, InputError: nothing was changed; the message says why.
        """
        self.labelMap()
        correction, corrector = self.correction, self.session.correctors.chosen
        if corrector == SOLVER:
            return self._show(correction.prompt(prompt))
        take = partial(self._takeAnswer, correction, prompt, correction.history.done, corrector.title)
        self.session.correct(correction.request(prompt), take)
        return None

    def edit(self, change):
        """Correct the result by what a function does to its :class:`DeepSegLogic.viewmodel.Correction`; returns the
        step, or None if nothing changed."""
        self.labelMap()
        return self._show(change(self.correction))

    def undo(self):
        """Take the last correction back, by prompt or by hand; returns the step, or None."""
        return self.edit(Correction.undo)

    def redo(self):
        """Do again what was taken back; returns the step, or None."""
        return self.edit(Correction.redo)

    def showSurfaces(self):
        """Make the joint surfaces of the result and show them in 3D."""
        self.session.show_surfaces(self.labelMap())

    def jumpTo(self, name):
        """Centre all slice views on a structure."""
        if self.resultNode is not None and self.resultNode.GetSegmentation().GetSegment(name) is not None:
            centre = self.resultNode.GetSegmentCenterRAS(name)
            if centre is not None:
                self.jumpToPoint(centre)

    def jumpToPoint(self, ras):
        """Centre all slice views on a point."""
        slicer.vtkMRMLSliceNode.JumpAllSlices(self.scene, *ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def statisticsTable(self):
        """The measurements as a new table node."""
        node = self.scene.AddNewNodeByClass("vtkMRMLTableNode", "DeepSeg statistics")
        columns = ("Structure", "Volume (ml)", "Mean HU", "SD HU", "Confidence", "Boundary margin")
        arrays = []
        for title in columns:
            array = vtk.vtkStringArray() if title == "Structure" else vtk.vtkDoubleArray()
            array.SetName(title)
            arrays.append(array)
        for row in (r for r in self.session.measurements if r.voxels):
            arrays[0].InsertNextValue(row.title)
            numbers = (row.volume_ml, row.mean_hu, row.sd_hu, row.confidence, row.boundary_margin)
            for array, value in zip(arrays[1:], numbers, strict=True):
                array.InsertNextValue(float("nan") if value is None else value)
        for array in arrays:
            node.AddColumn(array)
        return node

    def resume(self, volumeNode, resultNode):
        """Go on with the nodes of a scene that was saved."""
        self._resultNodeID = resultNode.GetID() if resultNode is not None else None
        self.setVolumeNode(volumeNode)

    def forgetScene(self):
        """The scene was closed: stop, and let go of its nodes."""
        self.session.cancel()
        self.forgetResult()
        self.frames = self._resultNodeID = self._runVolumeNodeID = None
        self.setVolumeNode(None)

    # --- what comes back ---------------------------------------------------------------------------------------

    def _onChanged(self, part):
        result = self.session.result
        if part == "result" and result is not None and result is not self._shownResult:
            self._showResult(result)
        elif part == "surfaces" and self.session.surfaces is not None and self.resultNode is not None:
            bridge.surfacesToSegmentation(self.session.surfaces, self.resultNode)

    def _showResult(self, result):
        volumeNode = self._node(self._runVolumeNodeID)  # None if it was removed meanwhile
        again = self.replaceResult or (self.frames is not None and self.frames.done)
        node = self.resultNode if again else None
        if node is None:
            name = self.scene.GenerateUniqueName(f"{volumeNode.GetName() if volumeNode else 'CT'} organs")
            node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
            node.CreateDefaultDisplayNodes()
            if volumeNode is not None:
                volumeNodes.putBeside(node, volumeNode)
        facts = result.provenance
        tags = {
            "model": facts["model"]["id"],
            "version": facts["model"]["version"],
            "quality": facts["settings"]["quality"],
            "deepseg": facts["versions"]["deepseg"],
            "created": facts.get("created") or datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        known = {"confidence": result.confidence, "boundary_margin": result.boundary_margin}
        own = {
            s.name: {fact: f"{of[s.name]:.4f}" for fact, of in known.items() if s.name in of}
            for s in result.label_map.structures
        }
        bridge.segmentationFromLabelMap(result.label_map, node, volumeNode, tags, own)
        self._resultNodeID = node.GetID()
        self._begin(self.session.result_volume, result)

    def _begin(self, volume, result):
        """From here on, corrections are counted."""
        self._shownTime = _voxelTime(self.resultNode)
        self.correction = Correction(result.label_map, volume, result.probabilities)

    def _show(self, entry):
        """Write what a step changed into the segmentation, and measure and draw it anew."""
        if entry is not None:
            bridge.updateSegments(self.correction.label_map, self.resultNode, entry.changes_ml, entry.box)
            self._shownTime = _voxelTime(self.resultNode)
            self.session.measure(self.correction.label_map)
            if self.resultNode.GetDisplayNode().GetVisibility3D():
                self.session.show_surfaces(self.correction.label_map)
        return entry

    def _takeAnswer(self, correction, prompt, since, by, answer):
        """Take over what a model made of a prompt; returns what it changed, in words."""
        if correction is not self.correction:
            raise UsageError("There is another result by now, so nothing was corrected.", code="usage.changed")
        self.labelMap()
        return entry_text(self._show(correction.answered(prompt, answer, since, by)), correction.label_map)

    def _editedByHand(self):
        return self.resultNode is not None and _voxelTime(self.resultNode) > self._shownTime

    def _takeEdits(self):
        """What was painted since the last look becomes a step of its own."""
        if self._editedByHand():
            known = self.correction.label_map.structures
            edited = bridge.labelMapFromSegmentation(self.resultNode, self.session.result_volume, known)
            self.correction.take(edited)
            self._shownTime = _voxelTime(self.resultNode)

    def _node(self, nodeID):
        return self.scene.GetNodeByID(nodeID) if nodeID else None


def _voxelTime(node):
    """When the voxels of a segmentation last changed."""
    segmentation = node.GetSegmentation()
    images = set()
    for index in range(segmentation.GetNumberOfSegments()):
        image = segmentation.GetNthSegment(index).GetRepresentation(bridge.BINARY_LABELMAP)
        if image is not None:
            images.add(image)
    return max([image.GetMTime() for image in images], default=0)
