"""3D Slicer module: segment the organs of a CT.

This is a first panel: a volume, a model, one button. Importing the file loads nothing heavy.
"""

from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

POLL_MS = 50


class DeepSeg(ScriptedLoadableModule):
    """What Slicer shows in its list of modules."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "DeepSeg"
        parent.categories = ["Segmentation"]
        parent.dependencies = []
        parent.contributors = ["The DeepSeg developers"]
        parent.helpText = "Segments the organs of a CT. For research use only."
        parent.acknowledgementText = "Networks: nnU-Net v2 (Isensee et al., doi:10.1038/s41592-020-01008-z)."


class DeepSegWidget(ScriptedLoadableModuleWidget):
    """A volume, a model and one button; the worker does the work while Slicer stays usable."""

    def setup(self):
        import qt
        import slicer

        ScriptedLoadableModuleWidget.setup(self)
        form = qt.QFormLayout()
        self.layout.addLayout(form)
        self.volumeSelector = slicer.qMRMLNodeComboBox()
        self.volumeSelector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volumeSelector.addEnabled = False
        self.volumeSelector.setMRMLScene(slicer.mrmlScene)
        form.addRow("CT", self.volumeSelector)
        self.modelEdit = qt.QLineEdit("ct_demo")
        form.addRow("Model", self.modelEdit)
        self.segmentButton = qt.QPushButton("Segment")
        self.segmentButton.connect("clicked(bool)", self.onSegment)
        self.layout.addWidget(self.segmentButton)
        self.progressBar = qt.QProgressBar()
        self.progressBar.maximum = 1000
        self.layout.addWidget(self.progressBar)
        self.statusLabel = qt.QLabel("For research use only.")
        self.statusLabel.wordWrap = True
        self.layout.addWidget(self.statusLabel)
        self.layout.addStretch(1)
        self.logic = DeepSegLogic()
        self.timer = qt.QTimer()
        self.timer.interval = POLL_MS
        self.timer.connect("timeout()", self.onPoll)

    def cleanup(self):
        self.timer.stop()
        self.logic.close()

    def onSegment(self, *_):
        import slicer

        with slicer.util.tryWithErrorDisplay("The volume cannot be segmented.", waitCursor=True):
            if self.logic.running:
                self.logic.cancel()
                return
            self.logic.start(self.volumeSelector.currentNode(), self.modelEdit.text)
            self.segmentButton.text = "Cancel"
            self.timer.start()

    def onPoll(self):
        import slicer

        for event in self.logic.poll():
            if event.kind == "progress":
                self.progressBar.value = round(1000 * event.fraction)
                self.statusLabel.text = f"{event.stage}: {event.message}"
            elif event.kind == "error":
                self.statusLabel.text = str(event.error)
            elif event.kind == "result":
                self.statusLabel.text = "Done. For research use only."
                slicer.util.setSliceViewerLayers(background=self.volumeSelector.currentNode(), fit=False)
        if not self.logic.running:
            self.timer.stop()
            self.segmentButton.text = "Segment"
            self.progressBar.value = 0


class DeepSegLogic(ScriptedLoadableModuleLogic):
    """One run at a time, in the worker process; the result arrives as a new segmentation node."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._client = self._job = self._volumeNodeID = None
        self.segmentationNode = None

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._job is not None and self._client.is_open(self._job)

    def start(self, volumeNode, model: str = "ct_demo", structures=None) -> None:
        """Start to segment a volume; ask :meth:`poll` how it goes."""
        from DeepSegLib import bridge

        from DeepSegLogic.worker import WorkerClient

        volume = bridge.volumeFromNode(volumeNode)
        if self._client is None:
            self._client = WorkerClient()
        self._volumeNodeID = volumeNode.GetID()
        self._job = self._client.submit("segment", volume=volume, model=model, structures=structures)

    def poll(self) -> list:
        """What happened since the last call. A result has become a segmentation node by then."""
        if self._client is None:
            return []
        events = self._client.poll()
        for event in events:
            if event.kind == "result" and event.job == self._job:
                self._show(event.value)
        return events

    def cancel(self) -> None:
        """Stop the run within one window."""
        self._client.cancel(self._job)

    def close(self) -> None:
        """End the worker."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _show(self, result) -> None:
        import slicer
        from DeepSegLib import bridge

        volumeNode = slicer.mrmlScene.GetNodeByID(self._volumeNodeID)  # None if it was removed meanwhile
        name = f"{volumeNode.GetName() if volumeNode else 'CT'} organs"
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        model = result.provenance["model"]
        bridge.segmentationFromLabelMap(result.label_map, node, volumeNode, {"model": model["id"]})
        self.segmentationNode = node


class DeepSegTest(ScriptedLoadableModuleTest):
    """Runs in a real Slicer: the bundled model on Slicer's chest CT."""

    def runTest(self):
        import SampleData
        import slicer

        slicer.mrmlScene.Clear()
        volumeNode = SampleData.downloadSample("CTChest")
        logic = DeepSegLogic()
        logic.start(volumeNode)
        while logic.running:
            logic.poll()
            slicer.app.processEvents()
        logic.poll()
        self.assertIsNotNone(logic.segmentationNode)
        self.assertGreater(logic.segmentationNode.GetSegmentation().GetNumberOfSegments(), 10)
        logic.close()
