"""The panel's export section."""

from pathlib import Path

import qt
import slicer

from DeepSegLib import remedies, storedResult
from DeepSegLib.i18n import tr as _
from DeepSegLogic.results.label_files import DICOM_FORMATS
from DeepSegLogic.surfaces.formats import FORMATS as SURFACE_FORMATS

FORMATS = (*SURFACE_FORMATS, "seg.nrrd", "nii.gz", "csv", *DICOM_FORMATS)  # each has a check box, format_…


class ExportSection:
    """Organ models, label maps and measurements into a folder, which is then opened."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.exportPathLineEdit.currentPath = str(Path.home())
        ui.exportButton.connect("clicked(bool)", self.onExport)
        self.session.jobs.run_changed.connect(self.showRun)
        self.session.outcome.result_changed.connect(self.showDicom)
        self.session.outcome.files_exported.connect(self.showFiles)
        sceneSession.lookChanged.connect(self.showHidden)
        ui.hiddenLabel.visible = False
        self.showDicom()

    def showRun(self, run):
        self.ui.exportButton.enabled = not run.busy

    def showDicom(self, _result=None):
        """Offer the DICOM formats, or say why not."""
        why = self.session.outcome.why_no_dicom
        for box in map(self._box, DICOM_FORMATS):
            box.enabled = not why
            box.checked = box.checked and not why
        self.ui.dicomLabel.text = why and _("No DICOM formats. {}").format(why)
        self.ui.dicomLabel.visible = bool(why)

    def showHidden(self, node):
        """Say that an export holds more than is seen, if it does."""
        display = node.GetDisplayNode()
        self.ui.hiddenLabel.visible = not all(map(display.GetSegmentVisibility, storedResult.segmentIDs(node)))

    def showFiles(self, paths):
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(paths[0].parent)))

    def onExport(self, _checked=False):
        ui = self.ui
        formats = [f for f in FORMATS if self._box(f).checked]
        if not formats:
            slicer.util.warningDisplay(_("Tick at least one format."), "DeepSeg")
            return
        with remedies.showingErrors(_("The result cannot be exported.")):
            labelMap = self.scene.labelMap()
            self.session.export(
                Path(ui.exportPathLineEdit.currentPath),
                formats,
                labelMap,
                corrected=self.scene.everCorrected,
                coordinates=ui.coordinatesComboBox.currentText,
                smoothing=ui.smoothingComboBox.currentText,
                max_error_mm=ui.errorSpinBox.value or None,
                joint=ui.jointCheckBox.checked,
            )

    def _box(self, kind):
        return getattr(self.ui, "format_" + kind.replace(".", "_").replace("-", "_"))
