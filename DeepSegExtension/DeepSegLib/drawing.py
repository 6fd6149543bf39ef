"""Prompts that a user draws in a view, as markups nodes of MRML."""

import math

from DeepSegLib.dragging import Dragging
from DeepSegLogic.refinement import Box, Point, Scribble

POINT, STROKE, BOX = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsROINode"
NAME = "DeepSeg correction"
GREEN, RED = (0.2, 0.8, 0.2), (0.9, 0.2, 0.2)


class Drawing:
    """One drawing in a node of its own, which is not saved with the scene.

    A point or a stroke is complete when the button that was dragged in a slice view is released. Slicer leaves its
    place mode when another drawing is complete: a point in 3D after a click, a box after two, a stroke of clicks in 3D
    after a right click. Either way the views still handle the click: use :meth:`sketch` and :meth:`drop` later.

    Args:
        finished: called when the button is released.
        placed: called when Slicer left its place mode, with something drawn or nothing.
        changed: called while the button is held and the drawing changes.
        turned: called with 1 or -1 when the wheel is turned while the button is held.
    """

    def __init__(self, scene, finished, placed, changed, turned):
        self._scene, self._finished, self._placed = scene, finished, placed
        self._changed, self._turned = changed, turned
        self._node = self._positive = self._interaction = self._tag = self._dragging = None

    def start(self, kind, positive):
        """Let the user draw a :data:`POINT`, a :data:`STROKE` or a :data:`BOX`."""
        self.drop()
        self._positive = positive
        node = self._node = self._scene.CreateNodeByClass(kind)
        node.UnRegister(None)  # Python holds it
        node.SetName(NAME)
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)  # before it is in the scene: else Slicer lists it with the data
        self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetSelectedColor(GREEN if positive else RED)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        if kind == STROKE:
            node.SetCurveTypeToLinear()
            display.SetCurveLineSizeMode(display.UseLineDiameter)
            display.SetLineDiameter(2 * Scribble.radius_mm)
            display.SetUseGlyphScale(False)  # but as wide as the stroke
            display.SetGlyphSize(2 * Scribble.radius_mm)
        if kind != BOX:
            moved = self._extend if kind == STROKE else self._move
            self._dragging = Dragging(moved, self._finished, self._turned)
        selection = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(kind)
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = self._interaction = self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        interaction.SwitchToSinglePlaceMode()
        self._tag = interaction.AddObserver(interaction.InteractionModeChangedEvent, self._onMode)

    def sketch(self, structure):
        """What was drawn so far, as a prompt for a structure; None if there is nothing."""
        node = self._node
        return None if node is None or node.GetScene() is None else self._prompt(node, structure)

    def drop(self):
        """Remove the drawing, and place no more."""
        node, self._node = self._node, None
        if node is None:
            return
        self._interaction.RemoveObserver(self._tag)
        if self._dragging is not None:
            self._dragging.stop()
            self._dragging = None
        if node.GetScene() is not None:
            self._scene.RemoveNode(node.GetDisplayNode())  # the scene would keep it
            self._scene.RemoveNode(node)
        if self._interaction.GetCurrentInteractionMode() == self._interaction.Place:
            self._interaction.SwitchToViewTransformMode()

    def _extend(self, place):
        """Go on with a stroke."""
        last = self._dropPreview() - 1
        if last < 0 or math.dist(place, self._node.GetNthControlPointPositionWorld(last)) > Scribble.radius_mm / 2:
            self._node.AddControlPointWorld(*place)
            self._changed()

    def _move(self, place):
        """Move the point to a place."""
        if self._dropPreview():
            self._node.SetNthControlPointPositionWorld(0, *place)
        else:
            self._node.AddControlPointWorld(*place)
        self._changed()

    def _dropPreview(self):
        """Remove the point under the mouse that Slicer shows meanwhile; returns how many points were drawn."""
        node, count = self._node, self._node.GetNumberOfControlPoints()
        if count and node.GetNthControlPointPositionStatus(count - 1) == node.PositionPreview:
            node.RemoveNthControlPoint(count - 1)
            count -= 1
        return count

    def _onMode(self, interaction, _event):
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            self._node.SetLocked(True)  # it is outlined as it is
            self._placed()

    def _prompt(self, node, structure):
        if node.IsA(BOX):
            bounds = [0.0] * 6
            node.GetRASBounds(bounds)
            corners = tuple(bounds[::2]), tuple(bounds[1::2])
            return Box(structure, self._positive, corners) if min(node.GetSize()) > 0 else None
        points = [
            tuple(node.GetNthControlPointPositionWorld(index))
            for index in range(node.GetNumberOfControlPoints())
            if node.GetNthControlPointPositionStatus(index) == node.PositionDefined  # not the one under the mouse
        ]
        if not points:
            return None
        if node.IsA(STROKE):
            return Scribble(structure, self._positive, tuple(points))
        return Point(structure, self._positive, points[-1])
