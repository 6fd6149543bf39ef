"""The panel's export section."""

from pathlib import Path

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.surfaces.formats import FORMATS as SURFACE_FORMATS

FORMATS = (*SURFACE_FORMATS, "seg.nrrd", "nii.gz", "csv")  # each has a check box, format_…


class ExportSection:
    """Organ models, label maps and measurements into a folder, which is then opened."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.exportPathLineEdit.currentPath = str(Path.home())
        ui.exportButton.connect("clicked(bool)", self.onExport)
        self.session.jobs.run_changed.connect(self.showRun)
        self.session.outcome.files_exported.connect(self.showFiles)

    def showRun(self, run):
        self.ui.exportButton.enabled = not run.busy

    def showFiles(self, paths):
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(paths[0].parent)))

    def onExport(self, _checked=False):
        ui = self.ui
        formats = [f for f in FORMATS if getattr(ui, "format_" + f.replace(".", "_")).checked]
        if not formats:
            slicer.util.warningDisplay(_("Tick at least one format."), "DeepSeg")
            return
        with remedies.showingErrors(_("The result cannot be exported.")):
            self.session.export(
                Path(ui.exportPathLineEdit.currentPath),
                formats,
                self.scene.labelMap(),
                coordinates=ui.coordinatesComboBox.currentText,
                smoothing=ui.smoothingComboBox.currentText,
                max_error_mm=ui.errorSpinBox.value or None,
                joint=ui.jointCheckBox.checked,
            )
