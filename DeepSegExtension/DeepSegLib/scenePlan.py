"""The plan of a result in a scene: lines with their lengths, cuts to drag, margins, distance maps, center lines."""

import time
from dataclasses import dataclass

import numpy as np

from DeepSegLib import cutNodes, storedResult
from DeepSegLib.i18n import tr as _
from DeepSegLib.placing import Placing
from DeepSegLib.planNodes import GRAY, YELLOW, PlanNodes
from DeepSegLogic import planning as plans  # its modules come when a plan is made
from DeepSegLogic.session import Signal
from DeepSegLogic.util.errors import DeepSegError, UsageError

SETTLED_S = 0.3  # a cut that was not moved for so long has its place


@dataclass
class ShownCut:
    """A cut in the scene.

    Attributes:
        keys, nodes: of its markups, by name.
        cut: as these markups show it.
    """

    keys: dict
    nodes: dict
    cut: dict


class ScenePlan:
    """Shows the plan of a scene's result, and takes in what the user does to its nodes: drag a cut, delete one.

    Args:
        sceneSession: with the result.

    Attributes:
        placing: what the user draws by clicks in the views: vessel branches and straight paths.
        moving: carries the volumes (:class:`~DeepSegLogic.planning.texts.Line`) for the present place of a cut that
            is dragged.
        refused: carries the error of a cut that was moved to where it cannot be.
    """

    def __init__(self, sceneSession):
        self.moving, self.refused = Signal(), Signal()
        self._work, self._outcome = sceneSession, sceneSession.session.outcome
        self._nodes = PlanNodes(sceneSession.scene)
        self._cuts = {}  # (place of the entry, number of the cut) → ShownCut
        self._edited = False  # whether edits by hand were seen
        self._dragged = None  # place, number, cut and time of a cut that was moved
        self.placing = Placing(sceneSession.scene, self)
        self._outcome.plan_changed.connect(self._show)

    @property
    def planning(self):
        """The plan, for a command: edits by hand are taken over first.

        Raises:
            UsageError: there is no result.
        """
        self._work.labelMap()
        return self._outcome.planning

    @property
    def free(self):
        """Whether the plan can take a measurement now."""
        return not self._work.session.jobs.run.busy

    def line(self, planned):
        """An entry in words."""
        return plans.lines(planned.kind, planned.numbers, self._titles())

    def holds(self, planned):
        """Whether the numbers of an entry are those of the result as it is now, with edits by hand."""
        return not self._work.corrections.editedByHand and self._outcome.planning.holds(planned)

    @property
    def labels(self):
        """What is written beside lines and vessel branches: text, place in 3D, all points (N, 3), and color of each.

        Places and points are in RAS mm.
        """
        found, planning = [], self._outcome.planning
        for planned in planning.entries if planning is not None else ():
            color = YELLOW if self.holds(planned) else GRAY
            for name, (one, other) in planned.segments.items():
                length = f"{np.linalg.norm(other - one):.1f} mm"
                text, ends = f"{self._lineTitle(planned, name)}\n{length}", np.array([one, other])
                found.append((text, ends.mean(0), ends, color))
            for cut in planned.entry.get("cuts", []):
                marks = {name: np.array(points) for name, points in cut.get("marks", {}).items()}
                found += [(name, points[0], points, color) for name, points in marks.items()]
        return found

    def addPlane(self, organ):
        """Cut an organ, given by name, by a plane through its middle, across its longest side.

        Raises:
            DeepSegError: it cannot be cut.
        """
        middle, _half, normal = self._across(organ)
        self._outcome.planning.divide(organ, {"type": "plane", "origin": _rounded(middle), "normal": normal.tolist()})

    def addEllipsoid(self, organ):
        """Cut a ball out of an organ, in its middle and half as wide; raises as :meth:`addPlane`."""
        middle, half, _normal = self._across(organ)
        radius = round(float(half.min()) / 2, 3)
        self._outcome.planning.divide(
            organ, {"type": "ellipsoid", "center": _rounded(middle), "radii": [radius] * 3, "axes": np.eye(3).tolist()}
        )

    def addSurface(self, organ):
        """Cut an organ by a surface with nine control points, at first the plane of :meth:`addPlane`; raises as it."""
        middle, half, normal = self._across(organ)
        steps = [(-1.0, 0.0, 1.0) if not n else (0.0,) for n in normal]
        points = [_rounded(middle + half * step) for step in np.stack(np.meshgrid(*steps), -1).reshape(-1, 3)]
        self._outcome.planning.divide(organ, {"type": "surface", "points": points, "normal": normal.tolist()})

    def addBranches(self, branches, organ, vessel):
        """Divide an organ by the territories of vessel branches, with those that it has; raises as :meth:`addPlane`.

        Args:
            branches: points of each, RAS mm.
            organ, vessel: names; the vessel may be None.

        Returns:
            Whether there are two or more now.
        """
        planning, known = self.planning, {"type": "territories"} | ({"vessel": vessel} if vessel else {})
        for (at, number), shown in self._cuts.items():
            rest = {key: value for key, value in shown.cut.items() if key != "marks"}
            if planning.entries[at].numbers["organ"] == organ and rest == known:
                planning.move_cut(at, number, {**known, "marks": _named(branches, shown.cut["marks"])})
                return True
        if len(branches) > 1:
            planning.divide(organ, {**known, "marks": _named(branches, {})})
        return len(branches) > 1

    def makeParts(self):
        """Make the parts of the plan segments of the result; returns the step of the correction.

        Raises:
            UsageError: there is no resection.
        """
        return self._work.corrections.edit(lambda _correction: self._outcome.planning.make_parts())

    def jumpTo(self, planned):
        """Center the slice views on where an entry is."""
        place = next((points[0] for points in planned.segments.values()), None)
        if planned.kind == "resections":
            place = _placeOf(planned.entry["cuts"][0])
        elif planned.kind == "vessels":
            place = planned.numbers["smallest_ras"]
        if place is not None:
            self._work.jumpToPoint(place)
        elif planned.kind == "margins":
            self._work.jumpTo(planned.numbers["structure"])
        elif planned.kind == "distance_maps":
            self._work.jumpTo(planned.numbers["one"])

    def look(self):
        """Take in what the user did to the nodes; call this every 50 to 100 ms."""
        planning = self._outcome.planning
        if planning is None:
            return
        self.placing.look()
        if planning.entries and self._edited != self._work.corrections.editedByHand:
            self._edited = self._work.corrections.editedByHand
            planning.look()
        for (at, number), shown in self._cuts.items():
            there = {name: node for name, node in shown.nodes.items() if node.GetScene() is not None}
            if len(there) < min(2, len(shown.nodes)):
                planning.remove_cut(at, number)
                return
            cut = cutNodes.read(there, shown.cut)
            if cut != shown.cut:
                self._move(planning, at, number, cut)
                return
        for at, planned in enumerate(planning.entries):
            if any(map(self._nodes.gone, _keys(planned))):
                planning.remove(at)
                return

    def _move(self, planning, at, number, cut):
        """A cut is at another place than the plan says."""
        now = time.monotonic()
        try:
            if self._dragged is None or self._dragged[:3] != (at, number, cut):
                from DeepSegLogic.planning.evaluation import as_json

                self._dragged = at, number, cut, now
                found = planning.try_cut(at, number, cut)
                self._shape(planning.entries[at], number, cut)
                self.moving.emit(plans.lines("resections", as_json(found), self._titles()))
            elif now - self._dragged[3] >= SETTLED_S:
                self._dragged = None
                self.planning.move_cut(at, number, cut)
        except DeepSegError as error:
            self._dragged = None
            self._show(planning)  # back to its place
            self.refused.emit(error)

    def _show(self, planning):
        """The plan changed, or the result."""
        self._cuts = {}
        self._nodes.begin()
        for at, planned in enumerate(planning.entries if planning is not None else ()):
            key, title = _key(planned, ""), self._title(planned)
            color = YELLOW if self.holds(planned) else GRAY
            for name, points in planned.segments.items():
                self._nodes.line(_key(planned, name), self._lineTitle(planned, name), points, color)
            if planned.kind == "margins":
                self._nodes.margin(key, title, planned.shape)
            if planned.kind == "distance_maps":
                self._nodes.distanceMap(key, title, planned.shape)
            if planned.curve is not None:
                self._nodes.centerLine(key, title, planned.curve, color)
            for number, cut in enumerate(planned.entry.get("cuts", [])):
                self._cut(planned, at, number, cut)
        self._nodes.end()
        node = self._work.resultNode
        if planning is not None and node is not None:
            storedResult.notePlan(node, planning)

    def _cut(self, planned, at, number, cut):
        title = self._title(planned)
        keys = {name: f"{_cutKey(planned, number)} {name}".strip() for name in cutNodes.namesOf(cut)}
        nodes = {name: self._nodes.node(cutNodes.kindOf(cut), key, name or title) for name, key in keys.items()}
        if not all(node.GetNumberOfControlPoints() for node in nodes.values()) or cutNodes.read(nodes, cut) != cut:
            cutNodes.write(nodes, cut, *self._extent(planned.numbers["organ"]))
        self._cuts[at, number] = ShownCut(keys, nodes, cutNodes.read(nodes, cut))
        self._shape(planned, number, cut)

    def _shape(self, planned, number, cut):
        """The body of a cut whose markups do not show it."""
        if cut["type"] in ("ellipsoid", "surface"):
            mesh = plans.shape_of(plans.cut_of(cut), *self._extent(planned.numbers["organ"]))
            self._nodes.translucent(f"{_cutKey(planned, number)} shape", self._title(planned), mesh, YELLOW)

    def _lineTitle(self, planned, name):
        return plans.segment_title(planned.kind, planned.numbers, self._titles(), name)

    def _title(self, planned):
        return self.line(planned).title

    def _titles(self):
        correction = self._outcome.correction
        return {s.name: s.title for s in correction.label_map.structures} if correction is not None else {}

    def _across(self, organ):
        """The middle of an organ, half of its extent, and the direction of its longest side; (3,) each."""
        self._work.labelMap()
        low, high = self._extent(organ)
        return (low + high) / 2, (high - low) / 2, np.eye(3)[int(np.argmax(high - low))]

    def _extent(self, organ):
        """The smallest and largest R, A and S of an organ's voxels, (3,) each.

        Raises:
            DeepSegError: it is unknown, or has no voxels.
        """
        from DeepSegLogic.data.boxes import box_of, corners_of

        labelMap = self._outcome.planning.label_map
        box = box_of(labelMap.mask(organ))
        if box is None:
            raise UsageError(_("{} has no voxels.").format(self._titles().get(organ, organ)), code="usage.empty")
        points = corners_of(box, labelMap.ijk_to_ras)
        return points.min(0), points.max(0)


def _key(planned, name):
    """Of the node of an entry, the same after its numbers changed."""
    entry = planned.entry
    return " ".join([planned.kind, *(str(entry[k]) for k in sorted(entry)), name]).strip()


def _keys(planned):
    return [_key(planned, name) for name in planned.segments] + [_key(planned, "")]


def _cutKey(planned, number):
    return f"resections {planned.numbers['organ']} {number}"


def _named(branches, marks):
    """Marks with further branches, each with a name of its own."""
    found = dict(marks)
    for points in branches:
        number = next(n for n in range(1, len(found) + 2) if _("Branch {}").format(n) not in found)
        found[_("Branch {}").format(number)] = points
    return found


def _placeOf(cut):
    """A point of a cut, to look at."""
    points = next(iter(cut["marks"].values())) if "marks" in cut else cut.get("points")
    return np.mean(points, 0) if points else cut.get("origin") or cut.get("center")


def _rounded(point):
    return [round(x, 3) for x in point.tolist()]
