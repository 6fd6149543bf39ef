"""The panel's list of correction methods."""

from DeepSegLogic.util.i18n import tr as sessionText


class CorrectorList:
    """Hidden while there is only DeepSeg's solver."""

    def __init__(self, ui, sceneSession):
        self.ui, self.session = ui, sceneSession.session
        ui.correctorComboBox.connect("currentIndexChanged(int)", self.onChosen)
        self.session.choices.correctors_changed.connect(self.showCorrectors)
        self.session.jobs.run_changed.connect(self.showRun)
        self.showCorrectors(self.session.choices.correctors)

    def showRun(self, run):
        self.ui.correctorComboBox.enabled = not run.busy

    def showCorrectors(self, correctors):
        ui = self.ui
        blocked = ui.correctorComboBox.blockSignals(True)
        ui.correctorComboBox.clear()
        ui.correctorComboBox.addItems([sessionText(corrector.title) for corrector in correctors.all])
        ui.correctorComboBox.currentIndex = correctors.all.index(correctors.chosen)
        ui.correctorComboBox.blockSignals(blocked)
        ui.correctorWidget.visible = len(correctors.all) > 1
        ui.correctorLabel.text = correctors.text
        ui.correctorLabel.visible = bool(correctors.text)

    def onChosen(self, index):
        self.session.choices.choose_corrector(self.session.choices.correctors.all[index].id)
