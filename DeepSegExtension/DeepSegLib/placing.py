"""What the user draws for the plan by clicks in the views: lines along vessel branches, and straight paths."""

import json

from DeepSegLib.i18n import tr as _
from DeepSegLib.planNodes import YELLOW, removeNode
from DeepSegLogic.session import Signal
from DeepSegLogic.util.errors import DeepSegError
from DeepSegLogic.util.json_text import json_of

PENDING = "DeepSeg.plan.pending"  # attribute of a node that is drawn: what it is for, as JSON
CURVE, LINE = "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsLineNode"


class Placing:
    """Draws markups, and gives them to the plan once they are drawn.

    Args:
        scene: of the views.
        plan: the :class:`~DeepSegLib.scenePlan.ScenePlan` that takes them.

    Attributes:
        drawn: what is drawn now: ``"branch"``, ``"path"``, or empty.
        drawing: carries it.
    """

    def __init__(self, scene, plan):
        self._scene, self._plan = scene, plan
        self.drawing, self.drawn = Signal(), ""
        self._refused = None  # what the plan did not take, to ask only once

    @property
    def active(self):
        """Whether clicks in the views place points now."""
        mode = self._interaction
        return mode.GetCurrentInteractionMode() == mode.Place and bool(self._pending())

    def branch(self, organ, vessel=None):
        """Draw a line along a branch. Two or more divide the organ into their territories.

        Args:
            organ: its name.
            vessel: name of the vessel that the branches are of; None if the lines alone count.
        """
        self._start(CURVE, _("Branch"), {"organ": organ, "vessel": vessel})

    def path(self, spare):
        """Draw a straight path: its entry, then its target.

        Args:
            spare: names of structures whose distance is measured.
        """
        self._start(LINE, _("Path"), {"spare": spare})

    def stop(self):
        """End what is drawn now."""
        self._interaction.SetCurrentInteractionMode(self._interaction.ViewTransform)
        self._tell()

    def look(self):
        """Give the plan what is drawn."""
        self._tell()
        nodes = [] if self.active else self._pending()
        for node in nodes:
            if len(_points(node)) < (2 if node.IsA(LINE) else 1):  # it was given up
                removeNode(node)
                return
        state = [(node.GetID(), _points(node)) for node in nodes]
        if not nodes or state == self._refused:
            return
        try:
            self._give(nodes)
            self._refused = None
        except DeepSegError as error:
            self._refused = state
            self._plan.refused.emit(error)

    def _give(self, nodes):
        paths = [node for node in nodes if node.IsA(LINE)]
        if paths and self._plan.free:
            start, end = _points(paths[0])
            self._plan.planning.add("approaches", {"entry": start, "target": end} | _purpose(paths[0]))
            removeNode(paths[0])
        for purpose in {node.GetAttribute(PENDING) for node in nodes if node not in paths}:
            branches = [node for node in nodes if node.GetAttribute(PENDING) == purpose]
            if self._plan.addBranches([_points(node) for node in branches], **_purpose(branches[0])):
                for node in branches:
                    removeNode(node)

    def _start(self, kind, name, purpose):
        self.stop()
        self.look()  # what was drawn so far
        node = self._scene.AddNewNodeByClass(kind, name)
        node.SetAttribute(PENDING, json.dumps(purpose))
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSelectedColor(*YELLOW)
        display.SetPointLabelsVisibility(False)
        selection = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(kind)
        selection.SetActivePlaceNodeID(node.GetID())
        self._interaction.SetCurrentInteractionMode(self._interaction.Place)

        self._tell()

    def _tell(self):
        """Say when drawing begins or ends."""
        kind = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton").GetActivePlaceNodeClassName()
        now = {CURVE: "branch", LINE: "path"}.get(kind, "") if self.active else ""
        if now != self.drawn:
            self.drawn = now
            self.drawing.emit(now)

    @property
    def _interaction(self):
        return self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def _pending(self):
        found = []
        for kind in (CURVE, LINE):
            nodes = [self._scene.GetNthNodeByClass(n, kind) for n in range(self._scene.GetNumberOfNodesByClass(kind))]
            found += [node for node in nodes if node.GetClassName() == kind and _purpose(node) is not None]
        return found


def _purpose(node):
    """What a node is drawn for; None if it is for nothing or cannot be read: anybody may have made the scene."""
    text = node.GetAttribute(PENDING)
    try:
        match json_of(text.encode()) if text else None:
            case {"spare": [*names], **rest} if node.IsA(LINE) and not rest and all(isinstance(n, str) for n in names):
                return {"spare": names}
            case {"organ": str(organ), "vessel": str() | None as vessel, **rest} if not node.IsA(LINE) and not rest:
                return {"organ": organ, "vessel": vessel}
    except ValueError:
        pass
    return None


def _points(node):
    """Where its points are, without the one that still follows the mouse."""
    numbers = range(node.GetNumberOfControlPoints())
    placed = [n for n in numbers if node.GetNthControlPointPositionStatus(n) == node.PositionDefined]
    return [[round(x, 3) for x in node.GetNthControlPointPositionWorld(n)] for n in placed]
