"""The panel's export section."""

from pathlib import Path

import qt
import slicer

FORMATS = ("stl", "obj", "ply", "glb", "3mf", "vtp", "seg.nrrd", "nii.gz", "csv")


class ExportSection:
    """Organ models, label maps and measurements into a folder, which is then opened."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.exportPathLineEdit.currentPath = str(Path.home())
        ui.exportButton.connect("clicked(bool)", self.onExport)

    def update(self, part):
        """Show what changed."""
        if part == "exported":
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self.session.exported[0].parent)))
        elif part == "run":
            self.ui.exportButton.enabled = not self.session.run.busy

    def onExport(self, _checked=False):
        ui = self.ui
        formats = [f for f in FORMATS if getattr(ui, "format_" + f.replace(".", "_")).checked]
        if not formats:
            slicer.util.warningDisplay("Tick at least one format.", "DeepSeg")
            return
        with slicer.util.tryWithErrorDisplay("The result cannot be exported."):
            self.session.export(
                Path(ui.exportPathLineEdit.currentPath),
                formats,
                self.scene.labelMap(),
                coordinates=ui.coordinatesComboBox.currentText,
                smoothing=ui.smoothingComboBox.currentText,
                max_error_mm=ui.errorSpinBox.value or None,
                joint=ui.jointCheckBox.checked,
            )
