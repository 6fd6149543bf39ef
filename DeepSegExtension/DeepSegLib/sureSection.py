"""The panel's section on why the model says so, and how sure it is."""

import qt

from DeepSegLib import remedies
from DeepSegLib.i18n import tr as _
from DeepSegLogic.session.sureness import METHODS
from DeepSegLogic.util.i18n import tr as sessionText


class SureSection:
    """Explain the current structure; ask for a second opinion, look where it differs, and take structures from it."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self._others, self._names = [], []  # by row
        header = ui.opinionTree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.explainMethodComboBox.addItems([sessionText(title) for title in METHODS.values()])
        ui.explainButton.connect("clicked(bool)", self.onExplain)
        ui.opinionButton.connect("clicked(bool)", self.onAsk)
        ui.takeOpinionButton.connect("clicked(bool)", self.onTake)
        ui.overlayCheckBox.connect("toggled(bool)", self.scene.sureness.setVisible)
        ui.opinionTree.connect("itemSelectionChanged()", self.onSelected)
        self.session.sureness.changed.connect(self.show)
        self.session.jobs.run_changed.connect(self.showReadiness)
        self.session.outcome.measurements_changed.connect(self.showReadiness)
        self.show(self.session.sureness)

    def show(self, sureness):
        ui = self.ui
        if self._others != list(sureness.others):
            self._others = list(sureness.others)
            ui.opinionComboBox.clear()
            ui.opinionComboBox.addItems(list(sureness.others.values()))
        rows = [row for row in sureness.rows if row.differs]
        self._names = [row.name for row in rows]
        blocked = ui.opinionTree.blockSignals(True)
        ui.opinionTree.clear()
        for row in rows:
            item = qt.QTreeWidgetItem(ui.opinionTree)
            for column, text in enumerate((row.title, f"{row.dice:.3f}", f"{row.differing_ml:.1f}")):
                item.setText(column, text)
            item.setToolTip(0, _("Volumes in ml: {}").format(", ".join(f"{v:.1f}" for v in row.volumes_ml)))
        ui.opinionTree.blockSignals(blocked)
        ui.opinionTree.visible = bool(rows)
        ui.overlayCheckBox.visible = sureness.overlay is not None
        self.showReadiness()

    def showReadiness(self, _changed=None):
        ui, whyNot = self.ui, self.session.sureness.why_not
        ui.explainButton.enabled = ui.opinionButton.enabled = not whyNot
        ui.explainButton.toolTip = whyNot or _("Show which parts of the image speak for the chosen structure")
        ui.opinionButton.toolTip = whyNot or _("Segment again in another way, and show where the results differ")
        ui.takeOpinionButton.visible = bool(self._names)
        ui.takeOpinionButton.enabled = not whyNot and self._chosen() is not None

    def onExplain(self, _checked=False):
        with remedies.showingErrors(_("The result cannot be explained.")):
            structure = self.scene.currentStructure or self._firstFound()
            self.scene.sureness.explain(structure, list(METHODS)[self.ui.explainMethodComboBox.currentIndex])

    def onAsk(self, _checked=False):
        with remedies.showingErrors(_("There is no second opinion.")):
            self.scene.sureness.ask(self._others[self.ui.opinionComboBox.currentIndex])

    def onSelected(self):
        name = self._chosen()
        if name is not None:
            self.scene.sureness.jumpTo(name)
        self.showReadiness()

    def onTake(self, _checked=False):
        with remedies.showingErrors(_("The structure cannot be taken over.")):
            self.scene.sureness.take(self._chosen())

    def _chosen(self):
        """Name of the structure that is selected in the table, or None."""
        tree = self.ui.opinionTree
        row = tree.indexOfTopLevelItem(tree.currentItem()) if tree.currentItem() is not None else -1
        return self._names[row] if 0 <= row < len(self._names) else None

    def _firstFound(self):
        return next((row.name for row in self.session.outcome.measurements if row.voxels), "")
