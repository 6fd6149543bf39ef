"""The panel's section that finds lesions: a list of boxes to go through, accept, reject, segment and save."""

from pathlib import Path

import qt

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session import entry_text
from DeepSegLogic.session.detection import is_available
from DeepSegLogic.session.texts import finding_row

FOLDER = "findings"  # in the folder of exports


class DetectSection:
    """The detector, the table with its score slider, and the buttons for the chosen finding."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.detection = ui, sceneSession, sceneSession.session.detection
        ui.detectCollapsibleButton.visible = is_available()
        header = ui.findingTree.header()
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        header.setStretchLastSection(False)
        for column in (1, 2, 3):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        ui.scoreSlider.value = self.detection.min_score
        for name, slot in (
            ("detectButton", self.onFind),
            ("previousFindingButton", self.onPrevious),
            ("nextFindingButton", self.onNext),
            ("acceptFindingButton", self.onAccept),
            ("rejectFindingButton", self.onReject),
            ("segmentFindingButton", self.onSegment),
            ("saveFindingsButton", self.onSave),
        ):
            getattr(ui, name).connect("clicked(bool)", slot)
        ui.detectorComboBox.connect("activated(int)", self.onDetector)
        ui.scoreSlider.connect("valueChanged(double)", self.onScore)
        ui.findingTree.connect("itemSelectionChanged()", self.onSelection)
        self._rows = []  # places in the list of findings, by row
        self.detection.changed.connect(self.show)
        self.show(self.detection)

    def show(self, detection):
        ui = self.ui
        self._showModels(detection)
        self._rows = detection.shown
        tree = ui.findingTree
        blocked = tree.blockSignals(True)
        tree.clear()
        for at in self._rows:
            item = qt.QTreeWidgetItem(tree)
            for column, text in enumerate(finding_row(detection.findings[at], at + 1)):
                item.setText(column, text)
            if at == detection.at:
                tree.setCurrentItem(item)
        tree.blockSignals(blocked)
        ui.detectLabel.text = detection.text
        ui.detectButton.enabled = not detection.why_not
        ui.detectButton.toolTip = detection.why_not or _("Search the volume for lesions")
        idle = not self.scene.session.jobs.run.busy
        for button in (ui.previousFindingButton, ui.nextFindingButton):
            button.enabled = bool(self._rows)
        for button in (ui.acceptFindingButton, ui.rejectFindingButton):
            button.enabled = detection.at is not None
        ui.segmentFindingButton.enabled = idle and detection.at is not None
        ui.saveFindingsButton.enabled = idle and bool(self._rows)

    def onDetector(self, _index):
        self.detection.choose_model(self.ui.detectorComboBox.currentData)

    def onFind(self, _checked=False):
        with remedies.showingErrors(_("The volume cannot be searched.")):
            self.scene.setVolumeNode(self.scene.volumeNode)  # as it is now
            self.detection.search()

    def onScore(self, score):
        self.detection.show_from(score)

    def onSelection(self):
        tree = self.ui.findingTree
        row = tree.indexOfTopLevelItem(tree.currentItem()) if tree.currentItem() is not None else -1
        if 0 <= row < len(self._rows) and self._rows[row] != self.detection.at:
            self.detection.choose(self._rows[row])

    def onPrevious(self, _checked=False):
        self.detection.step(-1)

    def onNext(self, _checked=False):
        self.detection.step(1)

    def onAccept(self, _checked=False):
        self.detection.decide("accepted")

    def onReject(self, _checked=False):
        self.detection.decide("rejected")

    def onSegment(self, _checked=False):
        with remedies.showingErrors(_("The finding cannot be segmented.")):
            entry = self.scene.findings.segment()
            if entry is not None:
                self.ui.detectLabel.text = entry_text(entry, self.scene.correction.label_map)

    def onSave(self, _checked=False):
        formats = ["csv", "mrk.json"] + (["sr"] if self.detection.volume.source else [])
        with remedies.showingErrors(_("The findings cannot be saved.")):
            self.detection.export(Path(self.ui.exportPathLineEdit.currentPath) / FOLDER, formats)

    def _showModels(self, detection):
        box = self.ui.detectorComboBox
        ids = [card.id for card in detection.models]
        if [box.itemData(n) for n in range(box.count)] != ids:
            box.clear()
            for card in detection.models:
                box.addItem(card.title, card.id)
        box.currentIndex = ids.index(detection.model) if detection.model in ids else -1
