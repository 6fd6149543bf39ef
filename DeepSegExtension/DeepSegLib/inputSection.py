"""The panel's input and advanced sections."""

from DeepSegLogic.viewmodel.texts import estimate_text


class InputSection:
    """Which volume, what can be said of it, and how to run."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolume)
        ui.forceCheckBox.connect("toggled(bool)", self.onForce)
        ui.qualityComboBox.connect("currentTextChanged(QString)", self.onQuality)
        ui.deviceComboBox.connect("currentTextChanged(QString)", self.onDevice)
        ui.replaceCheckBox.connect("toggled(bool)", self.onReplace)
        self.update("input")
        self.update("estimate")

    def onVolume(self, node):
        self.scene.setVolumeNode(node)
        self.session.ask_estimate()

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

    def update(self, part):
        """Show what changed."""
        ui, session = self.ui, self.session
        if part == "estimate":
            each = " for each frame" if self.scene.frameCount else ""
            ui.estimateLabel.text = estimate_text(session.estimate) + each
            ui.estimateLabel.visible = bool(session.estimate)
        elif part == "run":
            ui.inputSelector.enabled = not (session.run.busy and session.run.frame)
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
            ui.forceCheckBox.visible = any(note.blocking for note in found.notes)
            ui.forceCheckBox.checked = session.force
            ui.qualityComboBox.currentText = session.quality
            ui.deviceComboBox.currentText = session.device
            ui.replaceCheckBox.checked = self.scene.replaceResult
