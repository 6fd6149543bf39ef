"""The panel's list of what can compute a correction."""


class CorrectorList:
    """Hidden while there is only DeepSeg's solver."""

    def __init__(self, ui, sceneSession):
        self.ui, self.session = ui, sceneSession.session
        ui.correctorComboBox.connect("currentIndexChanged(int)", self.onChosen)
        self.update("correctors")

    def update(self, part):
        """Show what changed."""
        ui, correctors = self.ui, self.session.correctors
        if part == "run":
            ui.correctorComboBox.enabled = not self.session.run.busy
        elif part == "correctors":
            blocked = ui.correctorComboBox.blockSignals(True)
            ui.correctorComboBox.clear()
            ui.correctorComboBox.addItems([corrector.title for corrector in correctors.all])
            ui.correctorComboBox.currentIndex = correctors.all.index(correctors.chosen)
            ui.correctorComboBox.blockSignals(blocked)
            ui.correctorWidget.visible = len(correctors.all) > 1
            ui.correctorLabel.text = correctors.text
            ui.correctorLabel.visible = bool(correctors.text)

    def onChosen(self, index):
        self.session.choose_corrector(self.session.correctors.all[index].id)
