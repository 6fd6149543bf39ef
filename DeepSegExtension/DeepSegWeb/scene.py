"""The MRML scene that the browser shows: one volume, one segmentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import vtk
from DeepSegLib import bridge, volumeNodes
from DeepSegLib.planLook import PlanLook
from DeepSegLib.sceneSession import SceneSession
from trame_slicer.core import SlicerApp

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.data.volume_checks import is_in_hu
from DeepSegLogic.session import Signal
from DeepSegLogic.util.errors import OutputError

from .attention import Attention

WINDOWS = {"Soft tissue": (400.0, 40.0), "Lung": (1500.0, -600.0), "Bone": (1800.0, 400.0), "Brain": (80.0, 40.0)}
"""Window and level in HU, as radiologists commonly set them."""
AUTO = "Auto"
"""The name of the window and level that Slicer finds from the grey values, beside those of :data:`WINDOWS`."""
RENDERINGS = {"Bones": "CT-Bones", "Chest": "CT-Chest-Contrast-Enhanced", "Lung": "CT-Lung", "Muscle": "CT-Muscle"}
"""Slicer's presets of volume rendering."""


class PageScene:
    """How the scene looks. What is in it, and corrections, are :class:`~DeepSegLib.sceneSession.SceneSession`'s.

    Attributes:
        app: the Slicer application: MRML scene, views, segmentation editor.
        work: the session on the scene.
        attention: which views are drawn at once.
        in_hu: whether the grey values of the volume are HU.
        window_changed: carries :attr:`window`.
    """

    def __init__(self):
        vtk.vtkObject.GlobalWarningDisplayOff()  # remarks on displays and events that are for programmers
        self.app = SlicerApp()
        self.work = SceneSession(self.app.scene)
        self.attention = Attention()
        self.work.corrections.outlining = self.attention.following
        self.window_changed: Signal[tuple[float, float]] = Signal()
        self.in_hu = False
        self._kept_window = next(iter(WINDOWS.values()))  # for the next CT
        self._auto_window: tuple[float, float] | None = None  # of the volume, once it was asked for
        self._enhanced = None  # node of the volume that the model saw instead of the CT
        self.app.segmentation_editor.set_surface_representation_enabled(True)  # else it would remove ours

    @property
    def unit(self) -> str:
        """What follows a grey value of the volume."""
        return " HU" if self.in_hu else ""

    def show_volume(self, volume: Volume) -> None:
        """Make a volume the input, instead of the one before and its result."""
        self.clear_result()
        if self.work.volumeNode is not None:
            self.app.scene.RemoveNode(self.work.volumeNode)
        node = self._node_of(volume)
        display = self.app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
        display.AutoWindowLevelOff()  # takes seconds of a large CT, which has a window of its own
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        node.SetAndObserveDisplayNodeID(display.GetID())
        self.work.setVolumeNode(node)
        self.in_hu, self._auto_window = is_in_hu(volume), None
        if self.in_hu:
            self.set_window(*self._kept_window)
        else:  # it may be anything
            self.choose_window(AUTO)
        self.app.display_manager.show_volume_in_slice_background(node)
        self.app.display_manager.reset_views()

    def set_channel(self, name: str, volume: Volume | None) -> None:
        """Make a volume the image of a further channel of the model, instead of the one before; it is not shown."""
        before = self.work.channelNode(name)
        node = self._node_of(volume) if volume is not None else None
        if node is not None:
            node.SetSaveWithScene(False)  # a scene that is exported has one volume and its result
        self.work.setChannelNode(name, node)
        if before is not None:
            self.app.scene.RemoveNode(before)

    def _node_of(self, volume: Volume):
        """A new volume node without a display."""
        name = re.sub(r"""[&<>"']""", "_", volume.name)  # MRML writes these into file names as they are: broken XML
        node = self.app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        volumeNodes.setVoxels(node, volume.array, volume.ijk_to_ras)
        if volume.modality:
            node.SetAttribute("DICOM.Modality", volume.modality)
        node.SetAttribute(volumeNodes.WARNINGS, "\n".join(volume.warnings))
        node.SetAttribute(volumeNodes.SOURCE, volume.source)
        return node

    @property
    def window(self) -> tuple[float, float] | None:
        """Window and level of the slices; None without a volume."""
        node = self.work.volumeNode
        return None if node is None else (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel())

    @property
    def window_name(self) -> str:
        """Which of :data:`WINDOWS`, or :data:`AUTO`, the slices have; empty: none."""
        known = {**WINDOWS, AUTO: self._auto_window or (0.0, 0.0)}
        return next((name for name, window in known.items() if np.allclose(self.window, window)), "")

    def choose_window(self, name: str) -> None:
        """Take a window and level by its name: one of :data:`WINDOWS`, or :data:`AUTO`."""
        if self.work.volumeNode is None:
            return
        if name == AUTO and self._auto_window is None:
            self.work.volumeNode.GetDisplayNode().AutoWindowLevelOn()  # finds them at once
            self._auto_window = self.window
        self.set_window(*(self._auto_window if name == AUTO else WINDOWS[name]))

    def set_window(self, width: float, level: float) -> None:
        """Set window and level of the slices. Those in HU stay for the next CT."""
        if self.work.volumeNode is None:
            return
        for node in filter(None, (self.work.volumeNode, self._enhanced)):
            node.GetDisplayNode().AutoWindowLevelOff()
            node.GetDisplayNode().SetWindowLevel(width, level)
        if self.in_hu:
            self._kept_window = width, level
        self.window_changed.emit(self.window)

    def handle_at(self, view: str, place: Sequence[float]) -> bool:
        """Whether a handle of a plan is at a place in a view; Slicer learns that the mouse is there, and nowhere else.

        What the page tells here overtakes what trame tells of the mouse, and of a finger there is nothing before it
        touches the view.

        Args:
            view: its singleton tag.
            place: from (0, 0) at the view's lower left corner to (1, 1).
        """
        for shown in self.app.view_manager.get_views():
            interactor = shown.interactor()
            if shown.get_singleton_tag() != view:
                interactor.InvokeEvent(vtk.vtkCommand.LeaveEvent)
            elif np.isfinite(place).all():
                interactor.SetEventPosition(*np.multiply(place, shown.render_window().GetSize()).astype(int).tolist())
                interactor.InvokeEvent(vtk.vtkCommand.MouseMoveEvent)
        kind, scene = "vtkMRMLMarkupsDisplayNode", self.app.scene
        displays = (scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind)))
        return any(display.GetActiveComponentType() != display.ComponentNone for display in displays)

    def set_rendering(self, name: str) -> None:
        """Show the volume in 3D with one of :data:`RENDERINGS`; empty: not at all."""
        node, rendering = self.work.volumeNode, self.app.volume_rendering
        if node is None or (not name and not rendering.has_vr_display_node(node)):
            return
        display = rendering.create_display_node(node, RENDERINGS.get(name, ""))
        if name:
            rendering.apply_preset(display, RENDERINGS[name])
        display.SetVisibility(bool(name))

    def edit_result(self) -> None:
        """Let the editor work on a new result; the one before goes."""
        editor, new = self.app.segmentation_editor, self.work.resultNode
        editor.clear()
        while (before := self.app.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")) is not new:
            self._remove(before)  # a list of nodes, as GetNodesByClass gives it, would never let go of them
        bridge.surfacesToSegmentation([], new)  # ours come later; the editor would make its own meanwhile
        editor.set_active_segmentation(new, self.work.volumeNode)
        self._keep_enhanced(self.work.enhancedNode)

    def show_enhanced(self, on: bool) -> None:
        """Show the enhanced volume in the slices in place of the CT."""
        node = self._enhanced if on and self._enhanced is not None else self.work.volumeNode
        if node is not None:
            self.app.display_manager.show_volume_in_slice_background(node)

    def _keep_enhanced(self, node) -> None:
        """Keep the enhanced volume of the result, and drop that of the one before."""
        if self._enhanced is not None and self._enhanced is not node:
            self.show_enhanced(False)
            self.app.scene.RemoveNode(self._enhanced)
        self._enhanced = node
        if node is not None:
            node.SetSaveWithScene(False)  # a scene that is exported has one volume and its result

    def clear_result(self) -> None:
        """Take the result away."""
        self._keep_enhanced(None)
        if self.work.resultNode is not None:
            self.app.segmentation_editor.clear()
            self._remove(self.work.resultNode)

    def _remove(self, segmentation) -> None:
        """Remove it from the scene and from memory."""
        self.app.scene.RemoveNode(segmentation)
        segmentation.RemoveAllObservers()  # the editor's would keep it

    def look_at_surfaces(self) -> None:
        """Turn the cameras to what is shown in 3D, or to what a plan is about: its planes are larger."""
        planning = self.work.session.outcome.planning
        if planning is not None and planning.entries:
            PlanLook(self.work).look("front")
            self.redraw()
            return
        for view in self.app.view_manager.get_threed_views():
            view.reset_view()

    def redraw(self) -> None:
        """Draw the 3D view again; markups do not tell it that they changed."""
        for view in self.app.view_manager.get_threed_views():
            view.schedule_render()

    def set_visible(self, names: set[str]) -> None:
        """Show these structures and no others."""
        if self.work.resultNode is None:
            return
        display = self.work.resultNode.GetDisplayNode()
        segmentation = self.work.resultNode.GetSegmentation()
        modifying = display.StartModify()
        for index in range(segmentation.GetNumberOfSegments()):
            name = segmentation.GetNthSegmentID(index)
            display.SetSegmentVisibility(name, name in names)
        display.EndModify(modifying)

    def set_look(self, fill: float, outline: float, solid: float) -> None:
        """How opaque structures are in slices and in 3D, 0 to 1, and how wide their outline is, in px."""
        if self.work.resultNode is not None:
            display = self.work.resultNode.GetDisplayNode()
            display.SetOpacity2DFill(fill)
            display.SetVisibility2DOutline(outline > 0)
            display.SetSliceIntersectionThickness(int(outline))
            display.SetOpacity3D(solid)

    def save(self, folder: Path) -> None:
        """Write all of it into a folder that, zipped, is an ``.mrb``; 3D Slicer opens it.

        Raises:
            OutputError: it cannot be written.
        """
        folder.mkdir()
        self.work.noteState()
        source = volumeNodes.sourceOf(self.work.volumeNode)
        self.work.volumeNode.RemoveAttribute(volumeNodes.SOURCE)  # where the server keeps its files is not for others
        for node in (self.work.volumeNode, self.work.resultNode):
            node.AddDefaultStorageNode()
            node.GetStorageNode().SetUseCompression(False)  # takes minutes, and the archive is compressed anyway
        saved = self.app.scene.SaveSceneToSlicerDataBundleDirectory(str(folder))
        self.work.volumeNode.SetAttribute(volumeNodes.SOURCE, source)
        if not saved:
            raise OutputError("The scene cannot be written.", "Make room on the disk.", code="output.not_writable")
