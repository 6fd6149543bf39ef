"""The panel's section in which a model learns from corrections: collect, learn, compare, accept, go back."""

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session.texts import offer_rows, titles
from DeepSegLogic.util.words import size_text


class LearnSection:
    """The collected cases of the chosen model, and the table of a new version."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.adaptation = ui, sceneSession, sceneSession.session.adaptation
        for tree in (ui.caseTree, ui.offerTree):
            tree.header().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
            tree.header().setSectionResizeMode(0, qt.QHeaderView.Stretch)
            tree.header().setStretchLastSection(False)
        ui.minutesSpinBox.value = self.adaptation.minutes
        ui.minutesSpinBox.connect("valueChanged(int)", self.onMinutes)
        ui.patientLineEdit.connect("textChanged(QString)", self.onPatient)
        ui.caseTree.connect("itemSelectionChanged()", self.showReadiness)
        ui.collectButton.connect("clicked(bool)", self.onCollect)
        ui.removeCaseButton.connect("clicked(bool)", self.onRemove)
        ui.learnButton.connect("clicked(bool)", self.onLearn)
        ui.acceptOfferButton.connect("clicked(bool)", self.onAccept)
        ui.discardOfferButton.connect("clicked(bool)", self.onDiscard)
        ui.backButton.connect("clicked(bool)", self.onBack)
        self._digests = []  # by row
        self.adaptation.changed.connect(self.show)
        self.show(self.adaptation)

    def show(self, adaptation):
        offer, notes = adaptation.offer, [adaptation.why_not_learn]
        self._digests = [case.digest for case in adaptation.cases]
        self._fill(
            self.ui.caseTree,
            [(c.name, c.damage or titles(c.structures), size_text(c.size_bytes)) for c in adaptation.cases],
        )
        if self.ui.patientLineEdit.text != adaptation.patient:
            self.ui.patientLineEdit.text = adaptation.patient
        self.ui.offerTree.visible = offer is not None
        if offer is not None:
            rows = [(f"{title} ({role})", *values) for role, title, *values in offer_rows(offer)]
            self._fill(self.ui.offerTree, rows)
            notes = [_("A new version is offered."), *offer.notes]
        self.ui.learnLabel.text = " ".join(note for note in (*notes, adaptation.where) if note)
        self.showReadiness()

    def showReadiness(self):
        ui, adaptation = self.ui, self.adaptation
        idle = not self.scene.session.jobs.run.busy
        ui.patientLineEdit.enabled = ui.collectButton.enabled = not adaptation.why_not_collect
        ui.collectButton.toolTip = adaptation.why_not_collect or _(
            "Keep a copy of the corrected result on this machine, for the model to learn from"
        )
        ui.removeCaseButton.enabled = idle and self._chosen() is not None
        ui.learnButton.enabled = not adaptation.why_not_learn
        ui.acceptOfferButton.enabled = ui.discardOfferButton.enabled = idle and adaptation.offer is not None
        ui.backButton.enabled = not adaptation.why_not_back

    def onMinutes(self, minutes):
        self.adaptation.minutes = minutes

    def onPatient(self, patient):
        self.adaptation.patient = patient

    def onCollect(self, _checked=False):
        with remedies.showingErrors(_("The result cannot be collected.")):
            labelMap = self.scene.labelMap()
            if slicer.util.confirmOkCancelDisplay(self.adaptation.question(labelMap), "DeepSeg"):
                self.adaptation.collect(labelMap)

    def onRemove(self, _checked=False):
        if slicer.util.confirmOkCancelDisplay(_("Delete this corrected case from this machine?"), "DeepSeg"):
            with remedies.showingErrors(_("The case cannot be removed.")):
                self.adaptation.remove(self._chosen())

    def onLearn(self, _checked=False):
        with remedies.showingErrors(_("The model cannot learn.")):
            self.adaptation.learn()

    def onAccept(self, _checked=False):
        with remedies.showingErrors(_("The new version cannot be installed.")):
            self.adaptation.accept()

    def onDiscard(self, _checked=False):
        if slicer.util.confirmOkCancelDisplay(_("Delete the new version?"), "DeepSeg"):
            with remedies.showingErrors(_("The new version cannot be deleted.")):
                self.adaptation.discard()

    def onBack(self, _checked=False):
        with remedies.showingErrors(_("The earlier version cannot be used.")):
            self.adaptation.go_back()

    def _chosen(self):
        """Digest of the selected case, or None."""
        tree = self.ui.caseTree
        row = tree.indexOfTopLevelItem(tree.currentItem()) if tree.currentItem() is not None else -1
        return self._digests[row] if 0 <= row < len(self._digests) else None

    @staticmethod
    def _fill(tree, rows):
        blocked = tree.blockSignals(True)
        tree.clear()
        for row in rows:
            item = qt.QTreeWidgetItem(tree)
            for column, text in enumerate(row):
                item.setText(column, text)
                item.setToolTip(column, text)
        tree.blockSignals(blocked)
