"""The panel's button, progress bar and footer."""

import qt
import slicer

from DeepSegLogic.viewmodel import Phase
from DeepSegLogic.viewmodel.texts import run_text


class RunSection:
    """Segment and Cancel are one button; a failure is told below it, with its remedy."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.segmentButton.connect("clicked(bool)", self.onSegment)
        ui.logButton.connect("clicked(bool)", self.onLog)
        ui.reportButton.connect("clicked(bool)", self.onReport)
        self.update("run")

    def update(self, part):
        """Show what changed."""
        if part not in ("run", "input", "models", "structures"):
            return
        ui, run = self.ui, self.session.run
        ui.segmentButton.text = "Cancel" if run.busy else "Segment"
        why = self.scene.inputError or self.session.why_not
        ui.segmentButton.enabled = run.phase is Phase.RUNNING or not (run.busy or why)
        ui.segmentButton.toolTip = "" if run.busy else why
        ui.progressBar.visible = run.busy
        ui.progressBar.value = round(1000 * run.fraction)
        text = run_text(run) or why
        ui.statusLabel.text = "\n".join([text, *run.warnings]) if not run.busy else text

    def onSegment(self, _checked=False):
        if self.session.run.busy:
            self.session.cancel()
            return
        if self.scene.replaceResult and self.scene.resultCorrected:
            question = "The earlier result was corrected by hand. Replace it, and lose the corrections?"
            if not slicer.util.confirmOkCancelDisplay(question, "DeepSeg"):
                return
        with slicer.util.tryWithErrorDisplay("The volume cannot be segmented."):
            self.scene.segment()

    def onLog(self, _checked=False):
        qt.QApplication.clipboard().setText("\n".join(self.session.log))
        slicer.util.showStatusMessage("The log was copied.", 3000)

    def onReport(self, _checked=False):
        qt.QApplication.clipboard().setText(self.session.report())
        slicer.util.showStatusMessage("The report was copied. It holds no patient data.", 3000)
