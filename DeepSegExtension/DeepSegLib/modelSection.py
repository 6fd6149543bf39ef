"""The panel's model section: search, choose, install, import, remove."""

from pathlib import Path

import qt
import slicer

from DeepSegLogic.viewmodel.texts import install_question, remove_question, size_text


class ModelSection:
    """The list of models."""

    def __init__(self, ui, sceneSession):
        self.ui, self.session = ui, sceneSession.session
        self._items = {}
        ui.modelTree.header().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.modelTree.header().setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        ui.modelTree.header().setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        ui.modelTree.header().setStretchLastSection(False)
        ui.modelSearchBox.connect("textChanged(QString)", self.session.search_models)
        ui.modelTree.connect("itemSelectionChanged()", self.onSelection)
        ui.installButton.connect("clicked(bool)", self.onInstall)
        ui.importButton.connect("clicked(bool)", self.onImport)
        ui.removeButton.connect("clicked(bool)", self.onRemove)
        self.update("models")

    def update(self, part):
        """Show what changed."""
        if part == "run":
            self._enableButtons()
        if part != "models":
            return
        tree, chosen = self.ui.modelTree, self.session.model
        blocked = tree.blockSignals(True)
        tree.clear()
        self._items = {}
        for entry in self.session.models:
            item = qt.QTreeWidgetItem(tree)
            item.setText(0, entry.card.title)
            item.setText(1, "here" if entry.installed else size_text(entry.size_bytes))
            item.setText(2, entry.card.licence)
            found = f"\nFinds: {', '.join(entry.found)}" if entry.found else ""
            item.setToolTip(0, f"{entry.card.title}\n{entry.card.description}{found}")
            self._items[entry.card.id] = item
            if chosen is not None and entry.card.id == chosen.id:
                tree.setCurrentItem(item)
        tree.blockSignals(blocked)
        self.ui.modelCollapsibleButton.text = f"Model: {chosen.title}" if chosen else "Model"
        if chosen is None:
            self.ui.modelLabel.text = "No model is chosen."
        else:
            notes = " ".join(chosen.notes)
            self.ui.modelLabel.text = f"{len(chosen.structures)} structures. {chosen.intended_use} {notes}".strip()
        self._enableButtons()

    def onSelection(self):
        current = self.ui.modelTree.currentItem()
        for modelID, item in self._items.items():
            if item == current and (self.session.model is None or self.session.model.id != modelID):
                self.session.choose_model(modelID)
                self.session.ask_estimate()
                return

    def onInstall(self, _checked=False):
        entry = self._entry()
        if slicer.util.confirmOkCancelDisplay(install_question(entry), "DeepSeg"):
            with slicer.util.tryWithErrorDisplay("The model cannot be installed."):
                self.session.install(entry.card.id)

    def onImport(self, _checked=False):
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), "Import a model", "", "Models (*.zip *.pt *.ts *.pth);;All files (*)"
        )
        if path:
            with slicer.util.tryWithErrorDisplay("The model cannot be imported."):
                self.session.import_model(Path(path))

    def onRemove(self, _checked=False):
        entry = self._entry()
        if slicer.util.confirmOkCancelDisplay(remove_question(entry), "DeepSeg"):
            with slicer.util.tryWithErrorDisplay("The model cannot be removed."):
                self.session.remove_model(entry.card.id)

    def _entry(self):
        chosen = self.session.model
        return next((e for e in self.session.models if chosen is not None and e.card.id == chosen.id), None)

    def _enableButtons(self):
        entry, idle = self._entry(), not self.session.run.busy
        self.ui.installButton.enabled = idle and entry is not None and not entry.installed
        self.ui.removeButton.enabled = idle and entry is not None and entry.removable
        self.ui.importButton.enabled = idle
