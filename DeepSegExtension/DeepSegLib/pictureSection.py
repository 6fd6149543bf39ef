"""The part of the plan section that shows it: presets, views, clipping, scale bar, pictures."""

from functools import partial
from pathlib import Path

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLib.planLabels import PlanLabels
from DeepSegLib.planLook import PlanLook, pictureOf
from DeepSegLogic.planning.looks import PRESETS
from DeepSegLogic.util.i18n import tr as sessionText

VIEW_BUTTONS = {"frontViewButton": "front", "leftViewButton": "left", "surgeonViewButton": "surgeon"}


class PictureSection:
    """A preset to choose, buttons for views and pictures."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self.look = PlanLook(sceneSession)
        self.labels = PlanLabels(sceneSession, self._renderers, self._sliceViews)
        for preset, shown in PRESETS.items():
            ui.lookComboBox.addItem(sessionText(shown.title), preset)
        ui.lookComboBox.connect("activated(int)", self.onPreset)
        for name, view in VIEW_BUTTONS.items():
            getattr(ui, name).connect("clicked(bool)", partial(self.onView, view))
        ui.clipCheckBox.connect("toggled(bool)", self.look.clip)
        ui.scaleBarCheckBox.connect("toggled(bool)", self.look.setScaleBar)
        ui.copyPictureButton.connect("clicked(bool)", self.onCopy)
        ui.savePicturesButton.connect("clicked(bool)", self.onSave)
        self.session.outcome.plan_changed.connect(self.showReadiness)
        self.session.jobs.run_changed.connect(self.showReadiness)
        self.showReadiness()

    def close(self):
        self.labels.close()

    def showReadiness(self, *_changed):
        found = self.session.outcome.planning is not None and self.scene.frames is None
        for name in ("lookComboBox", "clipCheckBox", "scaleBarCheckBox", "copyPictureButton", *VIEW_BUTTONS):
            getattr(self.ui, name).enabled = found
        self.ui.savePicturesButton.enabled = found and not self.session.jobs.run.busy

    def onPreset(self, _index):
        self.scene.resultNode.GetDisplayNode().SetVisibility3D(True)
        self.look.apply(self.ui.lookComboBox.currentData)

    def onView(self, view, _checked=False):
        self.look.look(view)

    def onCopy(self, _checked=False):
        picture = qt.QImage()
        picture.loadFromData(pictureOf(self._view().renderWindow()))
        qt.QApplication.clipboard().setImage(picture)
        slicer.util.showStatusMessage(_("Picture copied."), 3000)

    def onSave(self, _checked=False):
        folder = qt.QFileDialog.getExistingDirectory(self.ui.mainWidget, _("Folder for the pictures"))
        if folder:
            with remedies.showingErrors(_("The pictures cannot be written.")):
                target = Path(folder) / "deepseg-pictures"
                self.scene.plan.planning.write_pictures(target, self.ui.lookComboBox.currentData, self._written)

    def _written(self, paths):
        slicer.util.showStatusMessage(_("{} pictures written to {}.").format(len(paths), paths[0].parent), 5000)

    @staticmethod
    def _renderers():
        layout = slicer.app.layoutManager()
        views = [layout.threeDWidget(index).threeDView() for index in range(layout.threeDViewCount)]
        return [_rendererOf(view) for view in views]

    @staticmethod
    def _sliceViews():
        layout = slicer.app.layoutManager()
        widgets = [layout.sliceWidget(name) for name in layout.sliceViewNames()]
        return [(_rendererOf(widget.sliceView()), widget.mrmlSliceNode()) for widget in widgets]

    def _view(self):
        return slicer.app.layoutManager().threeDWidget(0).threeDView()


def _rendererOf(view):
    return view.renderWindow().GetRenderers().GetFirstRenderer()
