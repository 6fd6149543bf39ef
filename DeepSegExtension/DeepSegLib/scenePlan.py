"""The plan of a result as markups and models of a scene: lines with their lengths, planes to drag, margins."""

import time

import numpy as np

from DeepSegLib import storedResult
from DeepSegLib.i18n import tr as _
from DeepSegLogic.planning import Plane
from DeepSegLogic.planning.plan_file import cut_of
from DeepSegLogic.planning.texts import lines
from DeepSegLogic.session import Signal
from DeepSegLogic.surfaces.surface import polydata
from DeepSegLogic.util.errors import DeepSegError, UsageError

KEY = "DeepSeg.plan.entry"  # attribute of the plan's nodes: which one it is
LINE, PLANE, MODEL = "vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsPlaneNode", "vtkMRMLModelNode"
SETTLED_S = 0.3  # a plane that was not moved for so long has its place
YELLOW, GRAY = (1.0, 0.85, 0.3), (0.55, 0.55, 0.55)


class ScenePlan:
    """Shows the plan of a scene's result, and takes in what the user does to its nodes: drag a plane, delete one.

    Args:
        sceneSession: with the result.

    Attributes:
        moving: carries the volumes (:class:`~DeepSegLogic.planning.texts.Line`) for the present place of a plane that
            is dragged.
        refused: carries the error of a plane that was moved to where it cannot be.
    """

    def __init__(self, sceneSession):
        self.moving, self.refused = Signal(), Signal()
        self._work, self._outcome = sceneSession, sceneSession.session.outcome
        self._nodes = {}  # by key
        self._planes = {}  # (place of the entry, number of the cut) → key
        self._edited = False  # whether edits by hand were seen
        self._dragged = None  # place, number, cut and time of a plane that was moved
        self._outcome.plan_changed.connect(self._show)

    @property
    def planning(self):
        """The plan, for a command: edits by hand are taken over first.

        Raises:
            UsageError: there is no result.
        """
        self._work.labelMap()
        return self._outcome.planning

    def line(self, planned):
        """An entry in words."""
        return lines(planned.kind, planned.numbers, self._titles())

    def holds(self, planned):
        """Whether the numbers of an entry are those of the result as it is now, with edits by hand."""
        return not self._work.editedByHand and self._outcome.planning.holds(planned)

    def addPlane(self, organ):
        """Cut an organ, given by name, by a plane through its middle, across its longest side.

        Raises:
            DeepSegError: it cannot be cut.
        """
        self._work.labelMap()
        low, high = self._extent(organ)
        normal = [0.0, 0.0, 0.0]
        normal[int(np.argmax(high - low))] = 1.0
        origin = [round(x, 3) for x in ((low + high) / 2).tolist()]
        self._outcome.planning.divide(organ, {"type": "plane", "origin": origin, "normal": normal})

    def makeParts(self):
        """Make the parts of the plan segments of the result; returns the step of the correction.

        Raises:
            UsageError: there is no resection.
        """
        return self._work.edit(lambda _correction: self._outcome.planning.make_parts())

    def jumpTo(self, planned):
        """Center the slice views on where an entry is."""
        place = next((points[0] for points in planned.segments.values()), None)
        if planned.kind == "resections":
            place = planned.entry["cuts"][0].get("origin")
        if place is not None:
            self._work.jumpToPoint(place)
        elif planned.kind == "margins":
            self._work.jumpTo(planned.numbers["structure"])

    def look(self):
        """Take in what the user did to the nodes; call this every 50 to 100 ms."""
        planning = self._outcome.planning
        if planning is None or not planning.entries:
            return
        if self._edited != self._work.editedByHand:
            self._edited = self._work.editedByHand
            planning.look()
        for (at, number), key in self._planes.items():
            node = self._nodes[key]
            if node.GetScene() is None:
                planning.remove_cut(at, number)
                return
            cut = _cutOf(node)
            if not _same(cut, planning.entries[at].entry["cuts"][number]):
                self._move(planning, at, number, cut)
                return
        for at, planned in enumerate(planning.entries):
            keys = [key for key in _keys(planned) if key in self._nodes]
            if any(self._nodes[key].GetScene() is None for key in keys):
                planning.remove(at)
                return

    def _move(self, planning, at, number, cut):
        """A plane is at another place than the plan says."""
        now = time.monotonic()
        try:
            if self._dragged is None or self._dragged[:3] != (at, number, cut):
                from DeepSegLogic.planning.evaluation import as_json

                self._dragged = at, number, cut, now
                found = planning.try_cut(at, number, cut)
                self.moving.emit(lines("resections", as_json(found), self._titles()))
            elif now - self._dragged[3] >= SETTLED_S:
                self._dragged = None
                self.planning.move_cut(at, number, cut)
        except DeepSegError as error:
            self._dragged = None
            self._show(planning)  # back to its place
            self.refused.emit(error)

    def _show(self, planning):
        """The plan changed, or the result."""
        before, self._nodes, self._planes = self._nodes, {}, {}
        for at, planned in enumerate(planning.entries if planning is not None else ()):
            color = YELLOW if self.holds(planned) else GRAY
            for name, points in planned.segments.items():
                self._line(_key(planned, name), self._title(planned), points, color)
            if planned.kind == "margins":
                self._model(planned)
            if planned.kind == "resections":
                for number, cut in enumerate(planned.entry["cuts"]):
                    self._plane(planned, at, number, cut)
        for key in before.keys() - self._nodes.keys():
            _remove(before[key])
        node = self._work.resultNode
        if planning is not None and node is not None:
            storedResult.notePlan(node, planning)

    def _line(self, key, name, points, color):
        node = self._node(LINE, key, name)
        if node.GetNumberOfControlPoints() != 2:
            node.RemoveAllControlPoints()
            for point in points:
                node.AddControlPointWorld(*point)
        for number, point in enumerate(points):
            node.SetNthControlPointPositionWorld(number, *point)
        node.SetLocked(True)
        display = node.GetDisplayNode()
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(True)  # the name and the length
        display.SetOccludedVisibility(True)  # most of it lies within structures
        display.SetSelectedColor(*color)

    def _plane(self, planned, at, number, cut):
        plane = cut_of(cut)
        if not isinstance(plane, Plane):
            return
        key = f"resections {planned.numbers['organ']} {number}"
        node = self._node(PLANE, key, self._title(planned))
        self._planes[at, number] = key
        if node.GetNumberOfControlPoints() and _same(_cutOf(node), cut):
            return
        node.SetOriginWorld(*plane.origin)
        node.SetNormalWorld(*plane.normal)
        low, high = self._extent(planned.numbers["organ"])
        size = float(np.linalg.norm(high - low))
        node.SetSizeMode(node.SizeModeAbsolute)
        node.SetSize(size, size)
        display = node.GetDisplayNode()
        display.SetHandlesInteractive(True)
        display.SetTranslationHandleVisibility(True)
        display.SetRotationHandleVisibility(True)
        display.SetScaleHandleVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetPointLabelsVisibility(False)
        display.SetOpacity(0.35)
        display.SetSelectedColor(*YELLOW)

    def _model(self, planned):
        key = _key(planned, "")
        known = key in self._nodes or self._found(MODEL, key) is not None
        if planned.surface is None and not known:
            return  # read from a file with its numbers; computing again brings it
        node = self._node(MODEL, key, self._title(planned))
        if planned.surface is not None:
            node.SetAndObservePolyData(polydata(planned.surface.points, planned.surface.triangles))
        display = node.GetDisplayNode()
        display.SetOpacity(0.35)
        display.SetVisibility2D(True)
        color = planned.surface.structure.color if planned.surface is not None else None
        if color is not None:
            display.SetColor(*(c / 255 for c in color))

    def _node(self, kind, key, name):
        """The node of this key, made if there is none."""
        node = self._found(kind, key)
        if node is None:
            node = self._work.scene.AddNewNodeByClass(kind)
            node.SetAttribute(KEY, key)
            node.CreateDefaultDisplayNodes()
        if node.GetName() != name:
            node.SetName(name)
        self._nodes[key] = node
        return node

    def _found(self, kind, key):
        scene = self._work.scene
        for index in range(scene.GetNumberOfNodesByClass(kind)):
            node = scene.GetNthNodeByClass(index, kind)
            if node.GetAttribute(KEY) == key:
                return node
        return None

    def _title(self, planned):
        return self.line(planned).title

    def _titles(self):
        correction = self._outcome.correction
        return {s.name: s.title for s in correction.label_map.structures} if correction is not None else {}

    def _extent(self, organ):
        """The smallest and largest R, A and S of an organ's voxels, (3,) each.

        Raises:
            DeepSegError: it is unknown, or has no voxels.
        """
        from DeepSegLogic.data.affine import ijk_to_ras_points
        from DeepSegLogic.data.boxes import box_of

        labelMap = self._outcome.planning.label_map
        box = box_of(labelMap.mask(organ))
        if box is None:
            raise UsageError(_("{} has no voxels.").format(self._titles().get(organ, organ)), code="usage.empty")
        corners = np.array([[s.start, s.stop - 1] for s in box][::-1], float)
        ijk = np.stack(np.meshgrid(*corners), -1).reshape(-1, 3)
        points = ijk_to_ras_points(ijk, labelMap.ijk_to_ras)
        return points.min(0), points.max(0)


def _key(planned, name):
    """Of the node of an entry, the same after its numbers changed."""
    entry = planned.entry
    return " ".join([planned.kind, *(str(entry[k]) for k in sorted(entry)), name]).strip()


def _keys(planned):
    return [_key(planned, name) for name in planned.segments] + [_key(planned, "")]


def _cutOf(node):
    """The cut that a plane node is, as in a plan file."""
    origin, normal = node.GetOriginWorld(), node.GetNormalWorld()
    return {"type": "plane", "origin": [round(x, 3) for x in origin], "normal": [round(x, 5) for x in normal]}


def _same(cut, other):
    """Whether two cuts are the same plane at the same place, but for rounding."""
    one, two = cut_of(cut), cut_of(other)
    normals = [np.array(plane.normal) / np.linalg.norm(plane.normal) for plane in (one, two)]
    return np.allclose(one.origin, two.origin, atol=2e-3) and np.allclose(*normals, atol=2e-4)


def _remove(node):
    scene = node.GetScene()
    if scene is not None:
        for display in [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]:
            scene.RemoveNode(display)  # the scene would keep it
        scene.RemoveNode(node)
