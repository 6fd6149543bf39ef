"""A time sequence: segmented frame by frame, and browsed together with its segmentations."""

from dataclasses import replace

from DeepSegLib import bridge, storedResult
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session import Phase
from DeepSegLogic.util.errors import DeepSegError

BROWSER = "vtkMRMLSequenceBrowserNode"


def browserOf(volumeNode):
    """The sequence browser that shows its frames in a volume node, or None."""
    scene = volumeNode.GetScene()
    browsers = (scene.GetNthNodeByClass(n, BROWSER) for n in range(scene.GetNumberOfNodesByClass(BROWSER)))
    return next((browser for browser in browsers if browser.GetSequenceNode(volumeNode)), None)


def countOf(volumeNode):
    """How many frames a volume node shows; None if it is not part of a sequence."""
    browser = browserOf(volumeNode)
    return None if browser is None else browser.GetSequenceNode(volumeNode).GetNumberOfDataNodes()


class Frames:
    """The frames that a volume node shows, one after the other.

    The segmentations are a sequence of their own, with the same index values, in the same browser. A run that is
    cancelled or fails keeps the frames done before.

    Args:
        work: the :class:`~DeepSegLib.sceneSession.SceneSession` that segments and shows them.

    Attributes:
        done: how many frames were segmented.
    """

    def __init__(self, work, volumeNode):
        self._work, self._session = work, work.session
        self._volumeNode, self._browser = volumeNode, browserOf(volumeNode)
        self._volumes = self._browser.GetSequenceNode(self._volumeNode)
        self._count = self._volumes.GetNumberOfDataNodes()
        self._results = {}  # frame → provenance of its result
        self._frame, self._shown = 0, self._browser.GetSelectedItemNumber()

    @property
    def done(self):
        return len(self._results)

    @property
    def inStep(self):
        """Whether the browser shows the frame that the result is of; it does not while it plays."""
        return self._shown == self._browser.GetSelectedItemNumber()

    def start(self):
        """Segment the first frame; the others follow.

        Raises:
            UsageError: it cannot start.
        """
        self._segment(0)
        self._work.resultShown.connect(self._keep)
        self._session.jobs.ended.connect(self._goOn)

    def look(self):
        """Call this often: when the browser shows another frame, what was found there is the result."""
        if self._gone() or self._work.resultNode is None or self._browser.GetPlaybackActive() or self.inStep:
            return
        self._shown = self._browser.GetSelectedItemNumber()
        try:
            volume, result, known = storedResult.read(self._work.resultNode, self._volumeNode)
        except DeepSegError:  # not segmented, or emptied by hand
            self._work.forgetResult()
            return
        if self._shown in self._results:  # of this session: more is known than a scene keeps
            result = replace(result, provenance=self._results[self._shown])
        self._work.adoptShown(volume, result, **known)

    def _segment(self, frame):
        self._frame = frame
        if frame:
            self._emptyShown()
        self._browser.SetSelectedItemNumber(frame)
        self._work.setVolumeNode(self._volumeNode)
        warnings = self._session.jobs.run.warnings if frame else []
        self._work.segmentShown((frame + 1, self._count))
        self._session.jobs.run.warnings += warnings

    def _goOn(self, run):
        """The run of a frame ended: start the next one."""
        if run.phase is Phase.DONE and self._frame + 1 < self._count and not self._gone():
            try:
                self._segment(self._frame + 1)
                return
            except DeepSegError as error:
                run.warnings.append(_("Frame {number}: {error}").format(number=self._frame + 1, error=error))
        self._end(run)

    def _keep(self, result):
        """Put the result's node into the sequence, and show the frame that it belongs to."""
        if result is None or self._gone():
            return
        node, browser = self._work.resultNode, self._browser
        sequence = browser.GetSequenceNode(node)
        isNew = sequence is None
        if isNew:
            sequence = self._newSequence(node.GetName())
        waiting = browser.StartModify()  # so that it fills the node once
        sequence.SetDataNodeAtValue(node, self._volumes.GetNthIndexValue(self._frame))
        if isNew:  # with its first frame in it, or the browser would make a node of its own
            browser.AddProxyNode(node, sequence, False)
            browser.SetMissingItemMode(sequence, browser.MissingItemSetToDefault)  # empty, not the frame before
        elif browser.GetSaveChanges(sequence):
            browser.SetSaveChanges(sequence, False)  # the node is filled while another frame may be shown
        browser.SetSelectedItemNumber(self._frame)
        self._emptyShown()
        browser.EndModify(waiting)
        self._results[self._frame] = result.provenance

    def _emptyShown(self):
        """The browser is about to fill the result's node anew, from the sequence; into a full one, that is slow."""
        if self._work.resultNode is not None:
            bridge.emptySegmentation(self._work.resultNode)

    def _newSequence(self, name):
        sequence = self._browser.GetScene().AddNewNodeByClass("vtkMRMLSequenceNode", name)
        sequence.SetIndexName(self._volumes.GetIndexName())
        sequence.SetIndexUnit(self._volumes.GetIndexUnit())
        sequence.SetIndexType(self._volumes.GetIndexType())
        return sequence

    def _end(self, run):
        self._work.resultShown.disconnect(self._keep)
        self._session.jobs.ended.disconnect(self._goOn)
        self._shown = self._frame if self._frame in self._results else None
        if self._results and self._work.resultNode is not None and not self._gone():
            self._emptyShown()
            self._browser.SetSaveChanges(self._browser.GetSequenceNode(self._work.resultNode), True)  # corrections
        sentence = _("{done} of {count} frames are segmented.").format(done=self.done, count=self._count)
        if run.phase is Phase.DONE:
            run.summary = sentence
        else:
            run.warnings.append(sentence)

    def _gone(self):
        return self._browser.GetScene() is None or self._volumeNode.GetScene() is None
