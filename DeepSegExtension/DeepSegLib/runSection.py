"""The panel's button, progress bar and footer."""

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session import Phase


class RunSection:
    """Segment and Cancel are one button; errors are shown below it, with their remedy."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.segmentButton.connect("clicked(bool)", self.onSegment)
        ui.logButton.connect("clicked(bool)", self.onLog)
        ui.reportButton.connect("clicked(bool)", self.onReport)
        self.session.jobs.run_changed.connect(self.showRun)
        self.session.choices.input_changed.connect(self.showReadiness)
        self.session.choices.why_not_changed.connect(self.showReadiness)
        self.showRun(self.session.jobs.run)

    def showReadiness(self, _state):
        """The scene knows why a node cannot be read, the session why the rest does not suffice."""
        self.showRun(self.session.jobs.run)

    def showRun(self, run):
        ui, why = self.ui, self.scene.inputError or self.session.choices.why_not
        ui.segmentButton.text = _("Cancel") if run.busy else _("Segment")
        ui.segmentButton.enabled = run.phase is Phase.RUNNING or not (run.busy or why)
        ui.segmentButton.toolTip = "" if run.busy else why
        ui.progressBar.visible = run.busy
        ui.progressBar.value = round(1000 * run.fraction)
        text = remedies.runText(run) or why
        ui.statusLabel.text = "\n".join([text, *self._ownWarnings(run)]) if not run.busy else text

    def _ownWarnings(self, run):
        """Those that the result does not tell by itself."""
        result = self.session.outcome.result
        return [w for w in run.warnings if result is None or w not in result.warnings]

    def onSegment(self, _checked=False):
        if self.session.jobs.run.busy:
            self.session.jobs.cancel()
            return
        if self.scene.replaceResult and self.scene.resultCorrected:
            question = _("The last result was corrected. Replace it and lose the corrections?")
            if not slicer.util.confirmOkCancelDisplay(question, "DeepSeg"):
                return
        with remedies.showingErrors(_("The volume cannot be segmented.")):
            self.scene.segment()

    def onLog(self, _checked=False):
        qt.QApplication.clipboard().setText("\n".join(self.session.jobs.log))
        slicer.util.showStatusMessage(_("Log copied."), 3000)

    def onReport(self, _checked=False):
        qt.QApplication.clipboard().setText(self.session.report())
        slicer.util.showStatusMessage(_("Report copied. It holds no patient data."), 3000)
