"""The panel's choice of how the CT is enhanced before a run."""

from DeepSegLib.i18n import tr as _
from DeepSegLogic.session import Phase
from DeepSegLogic.session.enhancements import enhancements


class EnhanceSection:
    """A list under Advanced; it is not there without the packages that it needs."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        titles = enhancements()
        self._tasks = ["", *titles]
        ui.enhanceComboBox.addItems([_("Off"), *titles.values()])
        ui.enhanceComboBox.visible = ui.enhanceComboBoxLabel.visible = bool(titles)
        ui.enhanceComboBox.connect("currentIndexChanged(int)", self.onChosen)
        self.session.choices.settings_changed.connect(self.showSettings)
        self.session.jobs.ended.connect(self.onEnded)
        self.showSettings(self.session.choices.settings)

    def onChosen(self, index):
        self.session.choices.set_enhance(self._tasks[index])

    def onEnded(self, run):
        """Tell where the enhanced CT is, to look at it beside the scan."""
        node = self.scene.enhancedNode
        if run.task == "segment" and run.phase is Phase.DONE and node is not None:
            run.summary += " " + _("The enhanced CT is the volume {}.").format(node.GetName())

    def showSettings(self, settings):
        self.ui.enhanceComboBox.currentIndex = self._tasks.index(settings.enhance)
