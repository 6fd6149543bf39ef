"""The panel's input and advanced sections."""

from pathlib import Path

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLib.notes import showNotes
from DeepSegLogic.classify.outline import outline_png
from DeepSegLogic.session import WayOut
from DeepSegLogic.session.texts import estimate_text

FIGURE_HEIGHT = 110  # px


class InputSection:
    """Which volume, what is known about it, and how to run."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self._drawn = None  # the scan whose field of view is drawn
        ui.fieldOfViewLabel.visible = False
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolume)
        ui.openSegmentationButton.connect("clicked(bool)", self.onOpenSegmentation)
        ui.cropButton.connect("clicked(bool)", self.onCrop)
        ui.resampleButton.connect("clicked(bool)", self.onResample)
        ui.forceCheckBox.connect("toggled(bool)", self.onForce)
        ui.qualityComboBox.connect("currentTextChanged(QString)", self.onQuality)
        ui.deviceComboBox.connect("currentTextChanged(QString)", self.onDevice)
        ui.replaceCheckBox.connect("toggled(bool)", self.onReplace)
        choices = self.session.choices
        choices.input_changed.connect(self.showInput)
        choices.settings_changed.connect(self.showSettings)
        choices.estimate_changed.connect(self.showEstimate)
        self.session.jobs.run_changed.connect(self.showRun)
        sceneSession.replaceChanged.connect(self.showReplace)
        self.showInput(choices.input)
        self.showSettings(choices.settings)
        self.showEstimate(choices.estimate)
        self.showReplace(sceneSession.replaceResult)

    def onVolume(self, node):
        if self.scene.isLoading:
            return
        self.session.jobs.forget_run()
        self.scene.setVolumeNode(node)
        self.session.choices.ask_scan()
        self.session.choices.ask_estimate()

    def onOpenSegmentation(self, _checked=False):
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(),
            _("Open a segmentation"),
            "",
            _("Segmentations (*.dcm *.nrrd *.nii *.nii.gz);;All files (*)"),
        )
        if path:
            with remedies.showingErrors(_("The segmentation cannot be opened.")):
                self.scene.openSegmentation(Path(path))

    def onCrop(self, _checked=False):
        self._takeWayOut(WayOut.CROP)

    def onResample(self, _checked=False):
        self._takeWayOut(WayOut.RESAMPLE)

    def onForce(self, checked):
        self.session.choices.set_force(checked)

    def onQuality(self, text):
        self.session.choices.set_quality(text)
        self.session.choices.ask_estimate()

    def onDevice(self, text):
        self.session.choices.set_device(text)
        self.session.choices.ask_estimate()

    def onReplace(self, checked):
        self.scene.setReplaceResult(checked)

    def showRun(self, run):
        ui = self.ui
        ui.inputSelector.enabled = not (run.busy and run.frame)
        ui.cropButton.enabled = ui.resampleButton.enabled = ui.inputSelector.enabled
        ui.openSegmentationButton.enabled = not run.busy
        if run.asks_estimate:
            self.session.choices.ask_estimate()

    def showEstimate(self, estimate):
        text = estimate_text(estimate)
        self.ui.estimateLabel.text = _("{} for each frame").format(text) if self.scene.frameCount else text
        self.ui.estimateLabel.visible = bool(text)

    def showSettings(self, settings):
        self.ui.forceCheckBox.checked = settings.force
        self.ui.qualityComboBox.currentText = settings.quality
        self.ui.deviceComboBox.currentText = settings.device

    def showReplace(self, on):
        self.ui.replaceCheckBox.checked = on

    def showInput(self, chosen):
        ui, found, frames = self.ui, chosen.preflight, self.scene.frameCount
        sequence = _("Time sequence of {} frames: all are segmented.").format(frames) if frames else ""
        ui.factsLabel.text = "\n".join(filter(None, (found.facts, found.shows, sequence)))
        ui.factsLabel.visible = bool(found.facts)
        self._showFieldOfView(chosen.scan)
        lines = [f"{note.text} {note.remedy}".strip() for note in found.notes]
        lines += filter(None, (self.scene.inputError, self.scene.resultError))
        showNotes(ui.notesLabel, lines)
        ways = self.scene.waysOut
        ui.cropButton.visible = WayOut.CROP in ways
        ui.resampleButton.visible = WayOut.RESAMPLE in ways
        ui.forceCheckBox.visible = any(note.blocking for note in found.notes)

    def _showFieldOfView(self, scan):
        if scan is self._drawn:
            return
        self._drawn, picture = scan, qt.QPixmap()
        if scan is not None and scan.parts:
            picture.loadFromData(qt.QByteArray(outline_png(scan)))
            picture = picture.scaledToHeight(FIGURE_HEIGHT, qt.Qt.SmoothTransformation)
        self.ui.fieldOfViewLabel.setPixmap(picture)
        self.ui.fieldOfViewLabel.visible = not picture.isNull()

    def _takeWayOut(self, way):
        with remedies.showingErrors(_("The new volume cannot be made."), waitCursor=True):
            node = self.scene.takeWayOut(way)
            slicer.util.setSliceViewerLayers(background=node)
            self.ui.inputSelector.setCurrentNode(node)
