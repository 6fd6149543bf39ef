"""The panel's comparison of the result with a reference segmentation."""

import slicer

from DeepSegLib import bridge, remedies
from DeepSegLib.i18n import tr as _
from DeepSegLib.statisticsTable import comparisonTable


class CompareSection:
    """A segmentation node, a button, and a table of the scores."""

    def __init__(self, ui, sceneSession):
        self.ui, self.scene, self.session = ui, sceneSession, sceneSession.session
        ui.referenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.showReadiness)
        ui.compareButton.connect("clicked(bool)", self.onCompare)
        self.session.jobs.run_changed.connect(self.showReadiness)
        self.session.outcome.comparison_changed.connect(self.showComparison)

    def showReadiness(self, _changed=None):
        chosen = self.ui.referenceSelector.currentNode() is not None
        self.ui.compareButton.enabled = chosen and not self.session.jobs.run.busy

    def onCompare(self, _checked=False):
        with remedies.showingErrors(_("The result cannot be compared.")):
            labelMap, node = self.scene.labelMap(), self.ui.referenceSelector.currentNode()
            self.session.compare(bridge.labelMapFromSegmentation(node, self.session.outcome.volume), labelMap)

    def showComparison(self, scores):
        if scores:
            node = comparisonTable(self.scene.scene, scores)
            slicer.util.showStatusMessage(_("Table {} created.").format(node.GetName()), 3000)
