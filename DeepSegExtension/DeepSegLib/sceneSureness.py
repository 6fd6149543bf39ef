"""Explanations of a result and second opinions on it, in a scene: a map over the volume, and what is taken over."""

import slicer

from DeepSegLib.volumeNodes import setVoxels

COLORS = "vtkMRMLColorTableNodeWarm1"
OPACITY = 0.5


class SceneSureness:
    """What ``Session.sureness`` found, on a :class:`DeepSegLib.sceneSession.SceneSession`.

    The map is a volume node in the foreground of all slice views, in the scene only while it is shown; it is not saved.
    """

    def __init__(self, sceneSession):
        self._work, self._scene, self._node = sceneSession, sceneSession.scene, None
        self.sureness = sceneSession.session.sureness
        self.visible, self._shown = True, None
        self.sureness.changed.connect(self.show)

    def explain(self, structure, method):
        """Start to explain a structure of the result as it is now.

        Raises:
            UsageError: that is not possible now.
        """
        self.sureness.explain(structure, method, self._work.labelMap())

    def ask(self, other):
        """Start to get a second opinion on the result as it is now.

        Raises:
            UsageError: that is not possible now.
        """
        self.sureness.ask(other, self._work.labelMap())

    def take(self, structure):
        """Make a structure what the second opinion has; returns the step, or None if nothing changed.

        Raises:
            UsageError: there is no second opinion, or it does not know the structure.
        """
        return self._work.corrections.edit(
            lambda correction: correction.take(self.sureness.taken(correction.label_map, structure))
        )

    def jumpTo(self, structure):
        """Centre the views where the opinions on a structure differ most."""
        row = next((row for row in self.sureness.rows if row.name == structure), None)
        if row is not None and row.at is not None:
            self._work.jumpToPoint(row.at)

    def setVisible(self, on):
        """Whether the map is shown over the volume."""
        self.visible = on
        self.show(self.sureness)

    def show(self, sureness):
        """Show the map, if there is one; the same one is not shown again."""
        wanted = sureness.overlay if self.visible else None
        if wanted is self._shown:
            return
        self._hide()
        self._shown = wanted
        if wanted is not None:
            self._node = self._nodeOf(*wanted)
            self._putInFront(self._node)

    def _hide(self):
        if self._node is not None and self._node.GetScene() is not None:
            self._putInFront(None)
            self._scene.RemoveNode(self._node.GetDisplayNode())  # the scene would keep it
            self._scene.RemoveNode(self._node)
        self._node = None

    def _nodeOf(self, array, ijkToRas, name):
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(name)
        node.SetSaveWithScene(False)
        setVoxels(node, array, ijkToRas)
        self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetAndObserveColorNodeID(COLORS)
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0, 255)
        display.SetThreshold(16, 255)  # where next to nothing is, the volume shows
        display.ApplyThresholdOn()
        return node

    def _putInFront(self, node):
        for number in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
            composite = self._scene.GetNthNodeByClass(number, "vtkMRMLSliceCompositeNode")
            composite.SetForegroundVolumeID(node.GetID() if node is not None else None)
            composite.SetForegroundOpacity(OPACITY if node is not None else 0.0)
