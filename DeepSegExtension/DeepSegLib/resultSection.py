"""The panel's result section."""

import qt
import slicer

from DeepSegLogic.measures import confidence_note
from DeepSegLogic.viewmodel import is_doubtful


class ResultSection:
    """The structures found, those to review first; opacity, 3D, statistics."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        self._items = {}
        header = ui.resultTree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        header.setSectionResizeMode(1, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(2, qt.QHeaderView.ResizeToContents)
        ui.resultTree.connect("itemClicked(QTreeWidgetItem*,int)", self.onItemClicked)
        ui.resultTree.connect("itemChanged(QTreeWidgetItem*,int)", self.onItemChanged)
        ui.reviewList.connect("itemClicked(QListWidgetItem*)", self.onFinding)
        ui.ignoreButton.connect("clicked(bool)", self.onIgnore)
        ui.opacitySlider.connect("valueChanged(double)", self.onOpacity)
        ui.show3DButton.connect("toggled(bool)", self.onShow3D)
        ui.statisticsButton.connect("clicked(bool)", self.onStatistics)
        self.update("measurements")
        self.update("findings")

    def update(self, part):
        """Show what changed."""
        ui = self.ui
        if part == "result":
            if self.session.result is not None:
                self.session.review(self.session.result.label_map)
            if ui.show3DButton.checked and self.session.result is not None:
                self.scene.showSurfaces()
        elif part == "measurements":
            self._fill()
            found = bool(self.session.measurements)
            ui.resultCollapsibleButton.collapsed = not found
            for widget in (ui.resultCollapsibleButton, ui.correctCollapsibleButton, ui.exportCollapsibleButton):
                widget.enabled = found
        elif part == "findings":
            ui.reviewList.clear()
            for finding in self.session.findings:
                ui.reviewList.addItem(finding.reason)
            for widget in (ui.reviewLabel, ui.reviewList, ui.ignoreButton):
                widget.visible = bool(self.session.findings)

    def onFinding(self, _item):
        self.scene.jumpToPoint(self.session.findings[self.ui.reviewList.currentRow].ras)

    def onIgnore(self, _checked=False):
        row = self.ui.reviewList.currentRow
        if row >= 0:
            self.session.ignore(self.session.findings[row])

    def onItemClicked(self, item, _column):
        name = self._nameOf(item)
        if name:
            self.scene.currentStructure = name
            self.scene.jumpTo(name)

    def onItemChanged(self, item, _column):
        name, node = self._nameOf(item), self.scene.resultNode
        if name and node is not None:
            node.GetDisplayNode().SetSegmentVisibility(name, item.checkState(0) == qt.Qt.Checked)

    def onOpacity(self, value):
        if self.scene.resultNode is not None:
            self.scene.resultNode.GetDisplayNode().SetOpacity2DFill(value)
            self.scene.resultNode.GetDisplayNode().SetOpacity3D(max(value, 0.1))

    def onShow3D(self, on):
        if on:
            with slicer.util.tryWithErrorDisplay("The surfaces cannot be shown."):
                self.scene.showSurfaces()
        elif self.scene.resultNode is not None:
            self.scene.resultNode.GetDisplayNode().SetVisibility3D(False)

    def onStatistics(self, _checked=False):
        node = self.scene.statisticsTable()
        slicer.util.showStatusMessage(f"{node.GetName()} was made.", 3000)

    def _fill(self):
        tree, colors, node = self.ui.resultTree, {}, self.scene.resultNode
        if self.session.result is not None:
            colors = {s.name: s.color for s in self.session.result.label_map.structures}
        blocked = tree.blockSignals(True)
        tree.clear()
        self._items = {}
        for row in (r for r in self.session.measurements if r.voxels):
            item = qt.QTreeWidgetItem(tree)
            item.setText(0, row.title)
            hidden = node is not None and not node.GetDisplayNode().GetSegmentVisibility(row.name)
            item.setCheckState(0, qt.Qt.Unchecked if hidden else qt.Qt.Checked)
            swatch = qt.QPixmap(12, 12)
            swatch.fill(qt.QColor(*colors.get(row.name, (128, 128, 128))))
            item.setIcon(0, qt.QIcon(swatch))
            item.setText(1, f"{row.volume_ml:.1f}")
            item.setText(2, "" if row.confidence is None else f"{row.confidence:.2f}")
            note = confidence_note(row.confidence, row.boundary_margin)
            if is_doubtful(row):
                item.setText(2, f"{row.confidence:.2f}  review")
                note = f"The model was not sure of this structure: look at it first. {note}".rstrip()
            item.setToolTip(2, note)
            self._items[row.name] = item
        tree.blockSignals(blocked)

    def _nameOf(self, item):
        return next((name for name, known in self._items.items() if known == item), None)
