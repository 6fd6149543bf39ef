"""Corrections of a result in a scene: outlined, applied, undone."""

import time
from contextlib import nullcontext, suppress
from functools import partial

from DeepSegLib import bridge, storedResult
from DeepSegLib.i18n import tr as _
from DeepSegLib.outline import Outline
from DeepSegLogic.data.boxes import hull
from DeepSegLogic.session import SOLVER, Correction, entry_text
from DeepSegLogic.util.errors import DeepSegError, UsageError

REST_S = 1.0  # without painting
REST_FACTOR = 10  # of how long taking over took last, during which Slicer does not react


class SceneCorrections:
    """Applies :class:`DeepSegLogic.session.Correction` to the result in the scene.

    Every step first takes over what was painted by hand since the last one.

    Attributes:
        outlining: makes the context in which the outline changes; nothing else in the scene does meanwhile.
    """

    outlining = nullcontext

    def __init__(self, work):
        self._work, self._shownTime, self._shownIDs = work, 0, frozenset()
        self._painted, self._cost = (0, 0.0), 0.0  # voxels' time, and when it was seen first; seconds
        self._proposed, self._outline = None, Outline(work.scene)

    def resultShown(self):
        """The segmentation shows a result: what is painted or removed from now on is a correction."""
        self._shownTime = storedResult.voxelTime(self._work.resultNode)
        self._shownIDs = frozenset(storedResult.segmentIDs(self._work.resultNode))

    def preview(self, prompt, reach):
        """Outline what a prompt would change, in place of the outline before; returns it in words.

        Raises:
            UsageError, InputError: nothing would change; the message says why.
        """
        self._proposed = None
        self._work.labelMap()
        self._proposed = self._work.correction.propose(prompt)
        return self.previewAt(reach)

    @property
    def previewing(self):
        """Whether something is outlined."""
        return self._proposed is not None

    def previewAt(self, reach):
        """Outline the same at another reach; None if nothing is outlined."""
        if self._proposed is None:
            return None
        with self.outlining():
            self._outline.show(self._proposed, reach, self._work.resultVolumeNode)
        return self._proposed.text(reach)

    def endPreview(self):
        """Remove the outline."""
        self._proposed = None
        with self.outlining():
            self._outline.hide()

    def adjust(self, reach):
        """Apply the last prompt again at another reach; returns the step, or None if something else was done since."""
        self._work.labelMap()
        before = self._work.correction.history.done[-1:]
        entry = self._work.correction.adjust(reach)
        return self._show(entry, *before) if entry is not None else None

    def prompt(self, prompt, reach=1.0):
        """Correct the result by a prompt, see :mod:`DeepSegLogic.refinement.prompts`.

        Returns:
            The step; None if a model works on it: ``session.jobs.run`` then says how far it is, and its outcome.

        Raises:
            UsageError, InputError: nothing changed; the message says why.
        """
        self._work.labelMap()
        correction, corrector = self._work.correction, self._work.session.choices.correctors.chosen
        if corrector == SOLVER:
            return self._show(correction.prompt(prompt, reach))
        take = partial(self._takeAnswer, correction, prompt, correction.history.done, corrector.title)
        self._work.session.correct(correction.request(prompt), take)
        return None

    def edit(self, change):
        """Correct the result by what a function does to its :class:`DeepSegLogic.session.Correction`; returns the
        step, or None if nothing changed."""
        self._work.labelMap()
        return self._show(change(self._work.correction))

    def undo(self):
        """Undo the last correction, by prompt or by hand; returns the step, or None."""
        return self.edit(Correction.undo)

    def redo(self):
        """Redo the correction that was undone last; returns the step, or None."""
        return self.edit(Correction.redo)

    @property
    def editedByHand(self):
        """Whether somebody painted, or removed a segment, since the result or the last correction of it was shown."""
        node = self._work.resultNode
        if node is None or self._work.correction is None:
            return False
        there = storedResult.segmentIDs(node)
        return storedResult.voxelTime(node) > self._shownTime or bool(there and self._shownIDs.difference(there))

    def look(self):
        """Take over what was painted once the hand rests; call this often."""
        if self._work.frames is not None or not self.editedByHand:
            return
        now, voxels = time.monotonic(), storedResult.voxelTime(self._work.resultNode)
        if voxels != self._painted[0]:
            self._painted = voxels, now
        elif now - self._painted[1] > max(REST_S, REST_FACTOR * self._cost):
            with suppress(DeepSegError):  # what is in the way is told when the user does something
                self.takeEdits()
            self._painted, self._cost = (voxels, now), time.monotonic() - now

    def takeEdits(self):
        """Make a step of what was painted since the last one."""
        if self.editedByHand:
            node, correction = self._work.resultNode, self._work.correction
            outcome, known = self._work.session.outcome, correction.label_map.structures
            step = correction.take(bridge.labelMapFromSegmentation(node, outcome.volume, known))
            bridge.markCorrected(node, step.changes_ml if step is not None else ())
            self.noteBelief()
            self.resultShown()
            self._work.checkStructure()
            outcome.measure(correction.label_map)

    def _show(self, entry, *undone):
        """Write what a step changed into the segmentation, after other steps were undone, and update its measurements
        and surfaces."""
        if entry is not None:
            self.endPreview()  # it was of the labels before
            node, labelMap, outcome = self._work.resultNode, self._work.correction.label_map, self._work.session.outcome
            box = hull([step.box for step in (entry, *undone)])
            had = storedResult.hasSurfaces(node) or outcome.surfaces is not None  # which go when somebody paints
            new = storedResult.matchStructures(node, labelMap)
            there = {s.name for s in labelMap.structures}
            bridge.updateSegments(labelMap, node, there & {*entry.changes_ml, *new}, box)
            self.noteBelief()
            self.resultShown()
            self._work.checkStructure()
            outcome.measure(labelMap)
            if had and node.GetDisplayNode().GetVisibility3D():
                outcome.show_surfaces(labelMap)
        return entry

    def noteBelief(self):
        """Write into the segments what the model's confidence still holds for, for the scene that may be saved."""
        belief = self._work.session.outcome.belief_in(self._work.correction.label_map)
        storedResult.noteBelief(self._work.resultNode, *belief)

    def _takeAnswer(self, correction, prompt, since, by, answer):
        """Take over what a model answered to a prompt; returns what it changed, in words."""
        if correction is not self._work.correction:
            raise UsageError(_("There is another result now, so nothing was corrected."), code="usage.changed")
        self._work.labelMap()
        return entry_text(self._show(correction.answered(prompt, answer, since, by)), correction.label_map)
