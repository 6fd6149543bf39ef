"""The panel's comparison of the result with a reference segmentation, and with that of an earlier scan."""

from pathlib import Path

import qt
import slicer

from DeepSegLib import bridge, remedies, volumeNodes
from DeepSegLib.i18n import tr as _
from DeepSegLib.statisticsTable import changesTable, comparisonTable
from DeepSegLogic.util.errors import UsageError


class CompareSection:
    """A segmentation node, a button for each comparison, and tables of what was found."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.referenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.showReadiness)
        ui.compareButton.connect("clicked(bool)", self.onCompare)
        ui.earlierButton.connect("clicked(bool)", self.onCompareWithEarlier)
        self.session.jobs.run_changed.connect(self.showReadiness)
        self.session.outcome.comparison_changed.connect(self.showComparison)
        self.session.outcome.changes_changed.connect(self.showChanges)

    def showReadiness(self, _changed=None):
        chosen = self.ui.referenceSelector.currentNode() is not None
        for button in (self.ui.compareButton, self.ui.earlierButton):
            button.enabled = chosen and not self.session.jobs.run.busy

    def onCompare(self, _checked=False):
        with remedies.showingErrors(_("The result cannot be compared.")):
            labelMap, node = self.scene.labelMap(), self.ui.referenceSelector.currentNode()
            self.session.compare(bridge.labelMapFromSegmentation(node, self.session.outcome.volume), labelMap)

    def onCompareWithEarlier(self, _checked=False):
        with remedies.showingErrors(_("The scans cannot be compared.")):
            labelMap, node = self.scene.labelMap(), self.ui.referenceSelector.currentNode()
            volumeNode = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
            if volumeNode is None:
                raise UsageError(
                    _("{} does not say which scan it belongs to.").format(node.GetName()),
                    _("Choose its scan as source volume in the Segment Editor."),
                    code="usage.earlier",
                )
            volume = volumeNodes.volumeFromNode(volumeNode)
            earlier = bridge.labelMapFromSegmentation(node, volume)
            days = self.ui.daysSpinBox.value or None  # 0: as the dates of the series say
            self.session.compare_with_earlier(earlier, volume, self._reportFolder(), days, labelMap)

    def _reportFolder(self):
        return Path(slicer.app.temporaryPath) / "DeepSeg-follow-up"

    def showChanges(self, changes):
        if changes:
            node = changesTable(self.scene.scene, changes)
            slicer.util.showStatusMessage(_("Table {} created.").format(node.GetName()), 3000)
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._reportFolder() / "report.html")))

    def showComparison(self, scores):
        if scores:
            node = comparisonTable(self.scene.scene, scores)
            slicer.util.showStatusMessage(_("Table {} created.").format(node.GetName()), 3000)
