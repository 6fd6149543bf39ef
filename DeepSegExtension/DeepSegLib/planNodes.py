"""The markups and models that show a plan: found again by a key, made where they are missing."""

import numpy as np
import vtk

from DeepSegLogic.surfaces.surface import polydata

KEY = "DeepSeg.plan.entry"  # attribute of the plan's nodes: which one it is
LINE, MODEL = "vtkMRMLMarkupsLineNode", "vtkMRMLModelNode"
YELLOW, GRAY, DARK = (1.0, 0.85, 0.3), (0.55, 0.55, 0.55), (0.1, 0.1, 0.1)
LIFT_MM = 0.4  # of a distance map, so that its structure does not show through


class PlanNodes:
    """The nodes of a plan in a scene, by key. What is shown between :meth:`begin` and :meth:`end` stays."""

    def __init__(self, scene):
        self._scene, self._nodes, self._before = scene, {}, {}

    def begin(self):
        self._before, self._nodes = self._nodes, {}

    def end(self):
        for key in self._before.keys() - self._nodes.keys():
            removeNode(self._before[key])

    def gone(self, key):
        """Whether somebody deleted the node of a key."""
        return key in self._nodes and self._nodes[key].GetScene() is None

    def node(self, kind, key, name):
        """The node of this key, made if there is none."""
        node = self._found(kind, key)
        if node is None:
            node = self._scene.AddNewNodeByClass(kind)
            node.SetAttribute(KEY, key)
            node.CreateDefaultDisplayNodes()
        if node.GetName() != name:
            node.SetName(name)
        self._nodes[key] = node
        return node

    def line(self, key, name, points, color):
        """A line with its length."""
        node = self.node(LINE, key, name)
        if node.GetNumberOfControlPoints() != 2:
            node.RemoveAllControlPoints()
            for point in points:
                node.AddControlPointWorld(*point)
        for number, point in enumerate(points):
            node.SetNthControlPointPositionWorld(number, *point)
        node.SetLocked(True)
        for display in displaysOf(node):
            display.SetPointLabelsVisibility(False)
            display.SetOccludedVisibility(True)  # most of it lies within structures
            display.SetSelectedColor(*color)

    def margin(self, key, name, surface):
        """A translucent surface; None keeps the one of a saved scene."""
        if surface is None:
            self._kept(key, name)
            return
        mesh = polydata(surface.points, surface.triangles)
        self.translucent(key, name, mesh, [c / 255 for c in surface.structure.color])

    def translucent(self, key, name, mesh, color):
        display = self._model(key, name, mesh).GetDisplayNode()
        display.SetOpacity(0.35)
        display.SetVisibility2D(True)
        display.SetColor(*color)

    def distanceMap(self, key, name, found):
        """A surface in the colors of its distances, with contour lines; None keeps those of a saved scene."""
        if found is None:
            self._kept(key, name)
            self._kept(f"{key} contours", name)
            return
        from DeepSegLogic.planning import contour_lines, mapped

        display = self._model(key, name, mapped(found, LIFT_MM)).GetDisplayNode()
        display.SetActiveScalar("color", vtk.vtkAssignAttribute.POINT_DATA)
        display.SetScalarRangeFlag(display.UseDirectMapping)  # the colors are RGB
        display.SetScalarVisibility(True)
        lines = self._model(f"{key} contours", name, contour_lines(found, 2 * LIFT_MM)).GetDisplayNode()
        _drawn(lines, DARK)

    def centerLine(self, key, name, points, color):
        """A line along a vessel, seen through it."""
        from DeepSegLogic.planning import line_of

        _drawn(self._model(key, name, line_of(points)).GetDisplayNode(), color)

    def _model(self, key, name, mesh):
        node = self.node(MODEL, key, name)
        node.SetAndObservePolyData(mesh)
        return node

    def _kept(self, key, name):
        if self._found(MODEL, key) is not None:
            self.node(MODEL, key, name)

    def _found(self, kind, key):
        for index in range(self._scene.GetNumberOfNodesByClass(kind)):
            node = self._scene.GetNthNodeByClass(index, kind)
            if node.GetAttribute(KEY) == key:
                return node
        return None


def displaysOf(node):
    """The displays of markups in slices and in 3D. :mod:`.planLabels` writes name and length: Slicer's are cut off at
    the sides of a view."""
    if node.GetNumberOfDisplayNodes() < 2:
        node.AddAndObserveDisplayNodeID(node.GetScene().AddNewNodeByClass(node.GetDisplayNode().GetClassName()).GetID())
    flat, solid = (node.GetNthDisplayNode(index) for index in range(2))
    for display, inSlices in ((flat, True), (solid, False)):
        display.SetVisibility2D(inSlices)
        display.SetVisibility3D(not inSlices)
        display.SetPropertiesLabelVisibility(False)
    return flat, solid


def removeNode(node):
    """Remove a node with its displays, which the scene would keep."""
    scene = node.GetScene()
    if scene is not None:
        for display in [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]:
            scene.RemoveNode(display)
        scene.RemoveNode(node)


def _drawn(display, color):
    display.SetLineWidth(3)
    display.SetLighting(False)
    display.SetColor(*np.array(color, float))
    display.SetVisibility2D(True)
