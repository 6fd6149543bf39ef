"""The outline of what a prompt would change, before it is applied."""

import numpy as np
import slicer

from DeepSegLib import bridge
from DeepSegLogic.data.boxes import matrix_of
from DeepSegLogic.data.label_map import LabelMap, Structure

NAME = "DeepSegProposal"
GREEN, RED = (60, 220, 60), (240, 80, 60)


class Outline:
    """A segmentation node of its own, which is neither listed nor saved; it is in the scene only while it is shown."""

    def __init__(self, scene):
        self._scene, self._node = scene, None

    def show(self, proposed, reach, volumeNode):
        """Outline a :class:`DeepSegLogic.session.Proposed` at a reach."""
        found = proposed.proposal
        color = GREEN if proposed.prompt.positive else RED
        one = LabelMap(
            found.at(reach).astype(np.uint8),
            matrix_of(found.region, proposed.label_map.ijk_to_ras),
            [Structure(1, "proposal", NAME, color)],
        )
        if self._node is None or self._node.GetScene() is None:
            self._node = slicer.vtkMRMLSegmentationNode()
            self._node.SetName(NAME)
            self._node.SetSaveWithScene(False)
            self._scene.AddNode(self._node)
            self._node.SetHideFromEditors(True)  # not before: Slicer complains of a segmentation without an item
            self._node.CreateDefaultDisplayNodes()
            display = self._node.GetDisplayNode()
            display.SetSaveWithScene(False)
            display.SetVisibility2DFill(False)
            display.SetVisibility3D(False)
            display.SetSliceIntersectionThickness(3)
        bridge.segmentationFromLabelMap(one, self._node, volumeNode)

    def hide(self):
        """Remove it."""
        if self._node is not None and self._node.GetScene() is not None:
            display = self._node.GetDisplayNode()
            self._scene.RemoveNode(self._node)  # first: Slicer crashes when its segments go without a display node
            if display.GetScene() is not None:  # the subject hierarchy may have removed it, the scene alone does not
                self._scene.RemoveNode(display)
        self._node = None
