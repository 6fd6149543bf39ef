"""The panel's result section."""

import qt
import slicer

from DeepSegLib import remedies, storedResult
from DeepSegLib.i18n import tr as _
from DeepSegLib.notes import showNotes
from DeepSegLib.statisticsTable import statisticsTable
from DeepSegLogic.review.field_of_view import cut_note
from DeepSegLogic.review.measurements import confidence_note
from DeepSegLogic.session import is_doubtful
from DeepSegLogic.session.scan_texts import scan_lines


class ResultSection:
    """The structures found, those to check first; opacity, 3D, statistics."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.outcome = ui, sceneSession, sceneSession.session.outcome
        self._items, self._tableWanted = {}, False
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
        sceneSession.resultShown.connect(self.showResult)
        sceneSession.lookChanged.connect(self.showLook)
        sceneSession.surfacesShown.connect(self.showSurfaces)
        sceneSession.session.choices.input_changed.connect(self.showInput)
        self.outcome.measurements_changed.connect(self.showMeasurements)
        self.outcome.findings_changed.connect(self.showFindings)
        self._showTold(self.outcome.result)
        self.showMeasurements(self.outcome.measurements)
        self.showFindings(self.outcome.findings)

    def showResult(self, result):
        self._tableWanted = self._toFrame = False  # that was of the last one
        self._showLook()
        self._showTold(result)
        if result is not None:
            self.outcome.review(result.label_map)
            if self.ui.show3DButton.checked:
                self.scene.showSurfaces()

    def showInput(self, _chosen):
        """Another volume was chosen: whose result this is."""
        self._showTold(self.outcome.result)

    def showLook(self, _node):
        """Somebody changed it elsewhere in Slicer."""
        self._showLook()
        self._showTold(self.outcome.result)
        blocked = self.ui.resultTree.blockSignals(True)
        for row in (r for r in self.outcome.measurements if r.name in self._items):
            self._dress(self._items[row.name], row)
        self.ui.resultTree.blockSignals(blocked)

    def showMeasurements(self, measurements):
        ui, found, there = self.ui, bool(measurements), self.outcome.result is not None
        self._fill(measurements)
        ui.noRowsLabel.text = self.outcome.why_no_measurements
        ui.noRowsLabel.visible = not found
        ui.resultCollapsibleButton.enabled, ui.resultCollapsibleButton.collapsed = there, not there
        for widget in (
            ui.sureCollapsibleButton,
            ui.correctCollapsibleButton,
            ui.planCollapsibleButton,
            ui.exportCollapsibleButton,
        ):
            widget.enabled = found
        self._makeTable()

    def showFindings(self, findings):
        ui = self.ui
        ui.reviewList.clear()
        for finding in findings:
            ui.reviewList.addItem(finding.reason)
        for widget in (ui.reviewLabel, ui.reviewList, ui.ignoreButton):
            widget.visible = bool(findings)

    def onFinding(self, _item):
        self.scene.jumpToPoint(self.outcome.findings[self.ui.reviewList.currentRow].ras)

    def onIgnore(self, _checked=False):
        row = self.ui.reviewList.currentRow
        if row >= 0:
            self.outcome.ignore(self.outcome.findings[row])

    def onItemClicked(self, item, _column):
        name = self._nameOf(item)
        if name:
            self.scene.chooseStructure(name)
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
            with remedies.showingErrors(_("The surfaces cannot be shown.")):
                self._toFrame |= not storedResult.hasSurfaces(self.scene.resultNode)
                self.scene.showSurfaces()
        elif self.scene.resultNode is not None:
            self.scene.resultNode.GetDisplayNode().SetVisibility3D(False)

    def showSurfaces(self, _surfaces):
        """The first surfaces of a result: look at all of them, from where the user looks."""
        if self._toFrame and self.ui.show3DButton.checked:
            self._toFrame = False
            qt.QTimer.singleShot(0, _frame3D)  # the views show them first

    def onStatistics(self, _checked=False):
        with remedies.showingErrors(_("There are no statistics.")):
            self.scene.labelMap()  # with what was painted just now
            self._tableWanted = True
            self._makeTable()

    def _makeTable(self):
        """Make the table of statistics that was asked for, once all is measured."""
        if self._tableWanted and self.outcome.measurements and not self.outcome.measuring:
            self._tableWanted = False
            node = statisticsTable(self.scene.scene, self.outcome.measurements)
            slicer.util.showStatusMessage(_("Table {} created.").format(node.GetName()), 3000)

    def _showTold(self, result):
        """What the run told of the scan; it holds for as long as the result is there."""
        lines = scan_lines(result) if result is not None else []
        notes = [self._whose, *result.warnings] if result is not None else []
        showNotes(self.ui.warningsLabel, list(filter(None, notes)))
        self.ui.phaseLabel.text = "\n".join(lines)
        self.ui.phaseLabel.visible = bool(lines)

    @property
    def _whose(self):
        """Which volume the result is of, if it is not the chosen one."""
        node = self.scene.resultVolumeNode
        if node is None:
            return _("The CT of this result, {}, was removed.").format(self.outcome.volume.name)
        return "" if node is self.scene.volumeNode else _("This is the result of {}.").format(node.GetName())

    def _showLook(self):
        """Set the slider and the 3D button to how the scene shows the result; a new one has no surfaces yet."""
        ui, node = self.ui, self.scene.resultNode
        if node is not None:
            blocked = ui.opacitySlider.blockSignals(True)
            ui.opacitySlider.value = node.GetDisplayNode().GetOpacity2DFill()
            ui.opacitySlider.blockSignals(blocked)
        if node is None or storedResult.hasSurfaces(node):
            blocked = ui.show3DButton.blockSignals(True)
            ui.show3DButton.checked = node is not None and storedResult.showsSurfaces(node)
            ui.show3DButton.blockSignals(blocked)

    def _fill(self, measurements):
        tree = self.ui.resultTree
        blocked = tree.blockSignals(True)
        tree.clear()
        self._items = {}
        for row in (r for r in measurements if r.voxels):
            item = qt.QTreeWidgetItem(tree)
            self._dress(item, row)
            item.setText(1, row.volume_text)
            item.setToolTip(1, cut_note(row.cut))
            item.setText(2, "" if row.confidence is None else f"{row.confidence:.2f}")
            note = confidence_note(row.confidence, row.boundary_margin)
            if is_doubtful(row):
                item.setText(2, _("{:.2f}  check").format(row.confidence))
                note = " ".join(filter(None, (_("The model is uncertain about this structure: check it first."), note)))
            item.setToolTip(2, note)
            self._items[row.name] = item
        tree.blockSignals(blocked)

    def _dress(self, item, row):
        """Name, color and tick of a row, as the scene has them."""
        node = self.scene.resultNode
        segment = node.GetSegmentation().GetSegment(row.name) if node is not None else None
        title, color, shown = row.title, (0.5, 0.5, 0.5), True
        if segment is not None:
            title, color = segment.GetName(), segment.GetColor()
            shown = node.GetDisplayNode().GetSegmentVisibility(row.name)
        item.setText(0, title)
        item.setToolTip(0, title)  # a narrow column cuts it
        item.setCheckState(0, qt.Qt.Checked if shown else qt.Qt.Unchecked)
        swatch = qt.QPixmap(12, 12)
        swatch.fill(qt.QColor(*(round(255 * c) for c in color)))
        item.setIcon(0, qt.QIcon(swatch))

    def _nameOf(self, item):
        return next((name for name, known in self._items.items() if known == item), None)


def _frame3D():
    layout = slicer.app.layoutManager()
    for view in [layout.threeDWidget(index).threeDView() for index in range(layout.threeDViewCount)]:
        view.resetFocalPoint()
        view.resetCamera()
