"""The panel's choice of the computer that networks run on."""

import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.remote.known import KnownServers
from DeepSegLogic.session.texts import place_question
from DeepSegLogic.util.errors import DeepSegError


class PlaceSection:
    """A list under Advanced: this computer, and the servers that were saved."""

    def __init__(self, ui, sceneSession):
        self.ui, self.session = ui, sceneSession.session
        self._urls, self._agreed = [], set()
        ui.placeComboBox.connect("currentIndexChanged(int)", self.onChosen)
        ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self.onCollapsed)
        self.session.choices.place_changed.connect(self.onPlace)
        self.session.jobs.run_changed.connect(self.showRun)
        self._showServers()

    def onCollapsed(self, collapsed):
        """A server may have been saved meanwhile."""
        if not collapsed:
            self._showServers()

    def onChosen(self, index):
        url = self._urls[index]
        try:
            with remedies.showingErrors(_("Runs stay on the same computer.")):
                if self._agrees(url):
                    self.session.run_on(url)
        finally:
            self.showRun(self.session.jobs.run)

    def onPlace(self, _place):
        self._showServers()
        self.session.choices.ask_estimate()

    def showRun(self, run):
        self.ui.placeComboBox.enabled = not run.busy
        if not run.busy:  # while a server is asked, the list shows that one
            self._showChosen()

    def _agrees(self, url):
        """Whether the user agrees to what a server gets; asked once."""
        if url and url not in self._agreed:
            if not slicer.util.confirmOkCancelDisplay(place_question(url), "DeepSeg"):
                return False
            self._agreed.add(url)
        return True

    def _showServers(self):
        present, box = self.session.choices.place.url, self.ui.placeComboBox
        try:
            saved = list(KnownServers().all())
        except DeepSegError as error:  # the panel goes on without them
            slicer.util.errorDisplay(remedies.sentence(error))
            saved = []
        if present and present not in saved:
            saved.append(present)
        self._urls = ["", *saved]
        blocked = box.blockSignals(True)
        box.clear()
        box.addItems([_("This computer"), *saved])
        box.blockSignals(blocked)
        self._showChosen()

    def _showChosen(self):
        url, box = self.session.choices.place.url, self.ui.placeComboBox
        blocked = box.blockSignals(True)
        box.currentIndex = self._urls.index(url)
        box.blockSignals(blocked)
        self.ui.deviceComboBox.enabled = not url  # a server chooses its own
