"""What a user draws in a view to correct a structure, as a markups node of MRML."""

from DeepSegLogic.refine import Box, Point, Scribble

POINT, STROKE, BOX = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsROINode"
NAME = "DeepSeg correction"
GREEN, RED = (0.2, 0.8, 0.2), (0.9, 0.2, 0.2)


class Drawing:
    """One drawing in a node of its own, which is not saved with the scene.

    Slicer leaves its place mode when a drawing is complete: a point after a click, a box after two, a stroke after a
    right click.

    Args:
        finished: called when Slicer left the place mode. The views still handle that click: call :meth:`take` later.
    """

    def __init__(self, scene, finished):
        self._scene, self._finished = scene, finished
        self._node = self._positive = self._interaction = self._tag = None

    def start(self, kind, positive):
        """Let the user draw a :data:`POINT`, a :data:`STROKE` or a :data:`BOX`."""
        self.drop()
        self._positive = positive
        node = self._node = self._scene.AddNewNodeByClass(kind, NAME)
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSelectedColor(GREEN if positive else RED)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        if kind == STROKE:
            node.SetCurveTypeToLinear()
            display.SetCurveLineSizeMode(display.UseLineDiameter)
            display.SetLineDiameter(2 * Scribble.radius_mm)
        selection = self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        selection.SetReferenceActivePlaceNodeClassName(kind)
        selection.SetActivePlaceNodeID(node.GetID())
        interaction = self._interaction = self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        interaction.SwitchToSinglePlaceMode()
        self._tag = interaction.AddObserver(interaction.InteractionModeChangedEvent, self._onMode)

    def take(self, structure):
        """What was drawn so far, as a prompt for a structure; None if there is nothing. The drawing is removed."""
        node = self._node
        prompt = None if node is None or node.GetScene() is None else self._prompt(node, structure)
        self.drop()
        return prompt

    def drop(self):
        """Remove the drawing, and place no more."""
        node, self._node = self._node, None
        if node is None:
            return
        self._interaction.RemoveObserver(self._tag)
        if node.GetScene() is not None:
            self._scene.RemoveNode(node.GetDisplayNode())  # the scene would keep it
            self._scene.RemoveNode(node)
        if self._interaction.GetCurrentInteractionMode() == self._interaction.Place:
            self._interaction.SwitchToViewTransformMode()

    def _onMode(self, interaction, _event):
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            self._finished()

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
