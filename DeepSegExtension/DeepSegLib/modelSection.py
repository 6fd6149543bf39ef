"""The panel's model section: search, choose, install, import, remove."""

from pathlib import Path

import qt
import slicer

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session.texts import install_question, remove_question, trust_question
from DeepSegLogic.util.errors import DeepSegError
from DeepSegLogic.util.words import size_text

WIDEST = 280  # px of a title over the section


class ModelSection:
    """The list of models."""

    def __init__(self, ui, sceneSession):
        self.ui, self.session, self.choices = ui, sceneSession.session, sceneSession.session.choices
        self._items, self._checked, self._untrusted = {}, None, False
        ui.modelTree.header().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.modelTree.header().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        ui.modelTree.header().setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        ui.modelTree.header().setStretchLastSection(False)
        ui.modelSearchBox.connect("textChanged(QString)", self.choices.search_models)
        ui.modelTree.connect("itemSelectionChanged()", self.onSelection)
        ui.installButton.connect("clicked(bool)", self.onInstall)
        ui.importButton.connect("clicked(bool)", self.onImport)
        ui.trustButton.connect("clicked(bool)", self.onTrust)
        ui.removeButton.connect("clicked(bool)", self.onRemove)
        self.choices.models_changed.connect(self.showModels)
        self.session.jobs.run_changed.connect(self.showRun)
        self.showModels(self.choices.models)

    def showModels(self, models):
        tree, chosen = self.ui.modelTree, models.chosen
        blocked = tree.blockSignals(True)
        tree.clear()
        self._items = {}
        for entry in models.shown:
            item = qt.QTreeWidgetItem(tree)
            item.setText(0, entry.card.title)
            item.setText(1, _("installed") if entry.installed else size_text(entry.size_bytes))
            item.setText(2, entry.card.licence)
            found = _("Matches: {}").format(", ".join(entry.found)) if entry.found else ""
            item.setToolTip(0, "\n".join(filter(None, (entry.card.title, entry.card.description, found))))
            self._items[entry.card.id] = item
            if chosen is not None and entry.card.id == chosen.id:
                tree.setCurrentItem(item)
        tree.blockSignals(blocked)
        if chosen is None:
            self.ui.modelCollapsibleButton.text = _("Model")
            self.ui.modelLabel.text = _("No model is chosen.")
        else:
            button = self.ui.modelCollapsibleButton
            title = button.fontMetrics().elidedText(chosen.title, qt.Qt.ElideRight, WIDEST)  # else it widens the panel
            button.text = _("Model: {}").format(title)
            count = _("Structures: {}.").format(len(chosen.structures))
            self.ui.modelLabel.text = " ".join(filter(None, (count, chosen.intended_use, *chosen.notes)))
        if chosen is not self._checked:  # reads all files of a model with code
            self._checked, self._untrusted = chosen, self._needsTrust(chosen)
        self.showRun(self.session.jobs.run)

    def showRun(self, run):
        entry, idle = self._entry(), not run.busy
        self.ui.installButton.enabled = idle and entry is not None and bool(entry.missing)
        self.ui.trustButton.enabled = idle and self._untrusted
        self.ui.removeButton.enabled = idle and entry is not None and entry.removable
        self.ui.importButton.enabled = idle

    def onSelection(self):
        current, chosen = self.ui.modelTree.currentItem(), self.choices.model
        for modelID, item in self._items.items():
            if item == current and (chosen is None or chosen.id != modelID):
                self.choices.choose_model(modelID)
                self.choices.ask_estimate()
                return

    def onInstall(self, _checked=False):
        entry = self._entry()
        if slicer.util.confirmOkCancelDisplay(install_question(entry), "DeepSeg"):
            with remedies.showingErrors(_("The model cannot be installed.")):
                self.choices.install(entry.card.id)

    def onImport(self, _checked=False):
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Import a model"), "", _("Models (*.zip *.pt *.ts *.pth);;All files (*)")
        )
        if path:
            with remedies.showingErrors(_("The model cannot be imported.")):
                self.choices.import_model(Path(path))

    def onTrust(self, _checked=False):
        from DeepSegLogic.models.trust import trust

        card = self.choices.model
        with remedies.showingErrors(_("The model cannot be trusted.")):
            if slicer.util.confirmOkCancelDisplay(trust_question(card), "DeepSeg"):
                trust(card)
                self._checked = None
                self.choices.choose_model(card.id)  # anew: what was said of it no longer holds
                self.choices.ask_estimate()

    def onRemove(self, _checked=False):
        entry = self._entry()
        if slicer.util.confirmOkCancelDisplay(remove_question(entry), "DeepSeg"):
            with remedies.showingErrors(_("The model cannot be removed.")):
                self.choices.remove_model(entry.card.id)

    @staticmethod
    def _needsTrust(card):
        """Whether a model contains code that the user has not trusted."""
        from DeepSegLogic.models.trust import is_trusted

        try:
            return card is not None and not is_trusted(card)
        except DeepSegError:  # its files cannot be read: the list says why
            return False

    def _entry(self):
        chosen = self.choices.model
        return next((e for e in self.choices.models.shown if chosen is not None and e.card.id == chosen.id), None)
