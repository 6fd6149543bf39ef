"""The MRML scene that the browser shows: one volume, one segmentation."""

from __future__ import annotations

import slicer
import vtk
from DeepSegLib import bridge
from trame_slicer.core import SlicerApp
from vtk.util import numpy_support

from DeepSegLogic.labels import LabelMap
from DeepSegLogic.surfaces import SurfaceSet
from DeepSegLogic.volume import Volume

WINDOWS = {"Soft tissue": (400.0, 40.0), "Lung": (1500.0, -600.0), "Bone": (1800.0, 400.0)}
"""Width and centre in HU, as radiologists commonly set them."""


class Scene:
    """Shows volumes, results and surfaces in all views.

    Attributes:
        app: the Slicer application: MRML scene, views, segmentation editor.
        volume_node, segmentation_node: what is shown, or None.
    """

    def __init__(self):
        vtk.vtkObject.GlobalWarningDisplayOff()  # remarks on displays and events that are for programmers
        self.app = SlicerApp()
        self.volume_node = None
        self.segmentation_node = None

    def show_volume(self, volume: Volume, window: str | None) -> None:
        """Show a volume instead of what is there; without a window, one is found from its values."""
        if self.volume_node is not None:
            self.app.scene.RemoveNode(self.volume_node)
        self.volume_node = node = self.app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", volume.name)
        image = vtk.vtkImageData()
        image.SetDimensions(*volume.shape[::-1])
        image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(volume.array.ravel(), deep=True))
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(volume.ijk_to_ras.ravel())
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(matrix)
        node.CreateDefaultDisplayNodes()
        if window is not None:
            self.set_window(window)
        self.app.display_manager.show_volume_in_slice_background(node)
        self.app.display_manager.reset_views()

    def set_window(self, name: str) -> None:
        """Show the volume with one of :data:`WINDOWS`."""
        if self.volume_node is not None:
            self.volume_node.GetDisplayNode().AutoWindowLevelOff()
            self.volume_node.GetDisplayNode().SetWindowLevel(*WINDOWS[name])

    def show_result(self, label_map: LabelMap, model: str) -> None:
        """Show a label map of the volume as a segmentation."""
        self.clear_segmentation()
        self.segmentation_node = node = self.app.segmentation_editor.create_empty_segmentation_node()
        node.SetName("DeepSeg")
        bridge.segmentationFromLabelMap(label_map, node, self.volume_node, {"model": model})
        self.app.segmentation_editor.set_active_segmentation(node, self.volume_node)

    def show_surfaces(self, surfaces: SurfaceSet, look: bool) -> None:
        """Show surfaces in 3D; ``look``: turn the camera to them."""
        if self.segmentation_node is None:
            return
        bridge.surfacesToSegmentation(surfaces, self.segmentation_node)
        self.app.segmentation_editor.set_surface_representation_enabled(True)
        if look:
            for view in self.app.view_manager.get_threed_views():
                view.reset_view()

    def clear_segmentation(self) -> None:
        """Take the result away."""
        if self.segmentation_node is not None:
            self.app.segmentation_editor.clear()
            self.app.scene.RemoveNode(self.segmentation_node)
            self.segmentation_node = None

    def set_visible(self, names: set[str]) -> None:
        """Show these structures and no others."""
        if self.segmentation_node is None:
            return
        display = self.segmentation_node.GetDisplayNode()
        segmentation = self.segmentation_node.GetSegmentation()
        modifying = display.StartModify()
        for index in range(segmentation.GetNumberOfSegments()):
            name = segmentation.GetNthSegmentID(index)
            display.SetSegmentVisibility(name, name in names)
        display.EndModify(modifying)

    def set_opacity(self, slices: float, surfaces: float) -> None:
        """How opaque structures are, 0 to 1, in slices (their outline stays) and in 3D."""
        if self.segmentation_node is not None:
            self.segmentation_node.GetDisplayNode().SetOpacity2DFill(slices)
            self.segmentation_node.GetDisplayNode().SetOpacity3D(surfaces)

    def jump_to(self, name: str) -> None:
        """Centre all views on a structure."""
        centre = self.segmentation_node.GetSegmentCenterRAS(name)
        slicer.vtkMRMLSliceNode.JumpAllSlices(self.app.scene, *centre, slicer.vtkMRMLSliceNode.CenteredJumpSlice)

    def label_map(self, volume: Volume) -> LabelMap:
        """The segmentation as it is now, after corrections."""
        return bridge.labelMapFromSegmentation(self.segmentation_node, volume)
