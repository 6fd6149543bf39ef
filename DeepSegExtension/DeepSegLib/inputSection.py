"""The panel's input and advanced sections."""

import slicer

from DeepSegLogic.viewmodel import WayOut
from DeepSegLogic.viewmodel.texts import estimate_text


class InputSection:
    """Which volume, what can be said of it, and how to run."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolume)
        ui.cropButton.connect("clicked(bool)", self.onCrop)
        ui.resampleButton.connect("clicked(bool)", self.onResample)
        ui.forceCheckBox.connect("toggled(bool)", self.onForce)
        ui.qualityComboBox.connect("currentTextChanged(QString)", self.onQuality)
        ui.deviceComboBox.connect("currentTextChanged(QString)", self.onDevice)
        ui.replaceCheckBox.connect("toggled(bool)", self.onReplace)
        self.update("input")
        self.update("estimate")

    def onVolume(self, node):
        self.session.forget_run()
        self.scene.setVolumeNode(node)
        self.session.ask_estimate()

    def onCrop(self, _checked=False):
        self._takeWayOut(WayOut.CROP)

    def onResample(self, _checked=False):
        self._takeWayOut(WayOut.RESAMPLE)

    def onForce(self, checked):
        self.session.set_force(checked)

    def onQuality(self, text):
        self.session.set_quality(text)
        self.session.ask_estimate()

    def onDevice(self, text):
        self.session.set_device(text)
        self.session.ask_estimate()

    def onReplace(self, checked):
        self.scene.replaceResult = checked
        self.session.changed.emit("input")

    def update(self, part):
        """Show what changed."""
        ui, session = self.ui, self.session
        if part == "estimate":
            each = " for each frame" if self.scene.frameCount else ""
            ui.estimateLabel.text = estimate_text(session.estimate) + each
            ui.estimateLabel.visible = bool(session.estimate)
        elif part == "run":
            ui.inputSelector.enabled = not (session.run.busy and session.run.frame)
            ui.cropButton.enabled = ui.resampleButton.enabled = ui.inputSelector.enabled
        elif part == "input":
            found = session.preflight
            frames = self.scene.frameCount
            ui.factsLabel.text = found.facts + (
                f"\nTime sequence of {frames} frames: all are segmented." if frames else ""
            )
            ui.factsLabel.visible = bool(found.facts)
            lines = [f"{note.text} {note.remedy}".strip() for note in found.notes]
            lines += [self.scene.inputError] if self.scene.inputError else []
            ui.notesLabel.text = "\n".join(lines)
            ui.notesLabel.visible = bool(lines)
            ways = self.scene.waysOut
            ui.cropButton.visible = WayOut.CROP in ways
            ui.resampleButton.visible = WayOut.RESAMPLE in ways
            ui.forceCheckBox.visible = any(note.blocking for note in found.notes)
            ui.forceCheckBox.checked = session.force
            ui.qualityComboBox.currentText = session.quality
            ui.deviceComboBox.currentText = session.device
            ui.replaceCheckBox.checked = self.scene.replaceResult

    def _takeWayOut(self, way):
        with slicer.util.tryWithErrorDisplay("The new volume cannot be made.", waitCursor=True):
            node = self.scene.takeWayOut(way)
            slicer.util.setSliceViewerLayers(background=node)
            self.ui.inputSelector.setCurrentNode(node)
