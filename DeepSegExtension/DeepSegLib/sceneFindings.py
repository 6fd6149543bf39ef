"""Findings as ROI boxes of a scene, and the way from a finding to a segment."""

from DeepSegLib.i18n import tr as _
from DeepSegLib.planNodes import removeNode
from DeepSegLogic.detection.files import COLORS, roi_name

KEY = "DeepSeg.finding"  # attribute of the boxes' nodes: which finding it is
ROI = "vtkMRMLMarkupsROINode"
_POINT_MM = 0.01  # of the point in the middle, which would cover a small lesion


class SceneFindings:
    """Shows a session's findings as boxes, and centres the views on the chosen one.

    Args:
        sceneSession: with the result that segmented findings join.
    """

    def __init__(self, sceneSession):
        self._work, self._scene = sceneSession, sceneSession.scene
        self._detection = sceneSession.session.detection
        self._nodes = {}  # ID by place in the list
        self._drawn = {}  # finding by place, as its node shows it
        self._detection.changed.connect(self._show)
        self._detection.chosen.connect(lambda finding: self._work.jumpToPoint(finding.center_ras))

    def segment(self, reach=1.0):
        """Make the chosen finding a segment of the result: its mask, or what its box makes of the image.

        Returns:
            The step; None if nothing changed, or a model works on it.

        Raises:
            UsageError, InputError: nothing changed; the message says why.
        """
        detection, work = self._detection, self._work
        fits = work.session.outcome.result is not None and detection.result_is_of_volume
        labelMap, box = detection.seed(work.labelMap() if fits else None)
        if not fits:
            work.adopt(labelMap, detection.found.provenance)
        elif len(labelMap.structures) > len(work.correction.label_map.structures):
            work.corrections.edit(lambda correction: correction.take(labelMap, _("New structure")))
        drawn = detection.mask()
        if drawn is None:
            return work.corrections.prompt(box, reach)
        title = _("{}: mask of the detector").format(labelMap.structure(box.structure).title)
        return work.corrections.edit(lambda correction: correction.edit(box.structure, *drawn, give=True, title=title))

    def _show(self, detection):
        wanted = {n: detection.findings[n] for n in detection.shown}
        wanted = {n: f for n, f in wanted.items() if f.state != "rejected"}
        for at in [n for n in self._nodes if n not in wanted]:
            node = self._scene.GetNodeByID(self._nodes.pop(at))
            self._drawn.pop(at)
            if node is not None:
                removeNode(node)
        for at, finding in wanted.items():
            if self._drawn.get(at) != finding:
                self._draw(at, finding)
            node = self._scene.GetNodeByID(self._nodes[at])
            if node is not None:
                node.GetDisplayNode().SetFillOpacity(0.25 if at == detection.at else 0.0)

    def _draw(self, at, finding):
        node = self._scene.GetNodeByID(self._nodes.get(at, ""))
        if node is None:
            node = self._scene.AddNewNodeByClass(ROI)
            node.SetAttribute(KEY, str(at))
            node.SetSaveWithScene(False)  # a search finds them again; an export keeps them
            node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetSaveWithScene(False)
            node.SetLocked(True)
            self._nodes[at] = node.GetID()
        node.SetName(roi_name(finding, at + 1))
        node.SetCenter(*finding.center_ras)
        node.SetSize(*finding.size_mm)
        display = node.GetDisplayNode()
        display.SetColor(*COLORS[finding.state])
        display.SetSelectedColor(*COLORS[finding.state])
        display.SetHandlesInteractive(False)
        display.SetUseGlyphScale(False)
        display.SetGlyphSize(_POINT_MM)
        display.SetPropertiesLabelVisibility(False)
        self._drawn[at] = finding
