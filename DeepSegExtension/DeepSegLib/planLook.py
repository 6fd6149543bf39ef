"""How the scene shows a plan: presets of opacity, views, a clipping plane, pictures. The tables are the logic's."""

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DeepSegLib.planNodes import KEY, MODEL
from DeepSegLogic.planning.looks import PRESETS, VIEWS, look_of
from DeepSegLogic.session.planned import framed

ROOM = 1.1  # around what a view shows
NO_OVERRIDE = (-1.0, -1.0, -1.0)  # the segment's own color counts


class PlanLook:
    """Applies presets and views of :mod:`DeepSegLogic.planning.looks` to a result's display nodes and cameras.

    Args:
        sceneSession: with the result.
    """

    def __init__(self, sceneSession):
        self._work = sceneSession

    def apply(self, preset):
        """Show all structures, and margins, as a preset says."""
        work = self._work
        node, planning = work.resultNode, work.session.outcome.planning
        if node is None or work.correction is None:
            return
        resections = [p.numbers for p in planning.entries if p.kind == "resections"] if planning is not None else []
        removed = {part["name"] for numbers in resections for part in numbers["parts"] if part["removed"]}
        display = node.GetDisplayNode()
        display.Modified()  # Slicer's table of segments takes in new ones now; later it writes an old opacity back
        modifying = display.StartModify()
        display.SetOpacity3D(1.0)
        for structure in work.correction.label_map.structures:
            look = look_of(structure, preset, removed)
            display.SetSegmentVisibility3D(structure.name, look.opacity > 0)
            display.SetSegmentOpacity3D(structure.name, look.opacity)
            changed = look.color != structure.color
            color = [c / 255 for c in look.color] if changed else NO_OVERRIDE
            display.SetSegmentOverrideColor(structure.name, *color)
        display.EndModify(modifying)
        for index in range(work.scene.GetNumberOfNodesByClass(MODEL)):
            model = work.scene.GetNthNodeByClass(index, MODEL)
            if (model.GetAttribute(KEY) or "").startswith("margins "):
                model.GetDisplayNode().SetOpacity(PRESETS[preset].margin)

    def look(self, view):
        """Turn the cameras of all 3D views to what the plan is about, from one of :data:`VIEWS`."""
        planning = self._work.session.outcome.planning
        points = framed(planning.entries, planning.label_map) if planning is not None else ()
        if not len(points):
            return
        shown = VIEWS[view]
        middle = (points.min(0) + points.max(0)) / 2
        towards = np.array(shown.towards, float) / np.linalg.norm(shown.towards)
        up = np.array(shown.up, float) / np.linalg.norm(shown.up)
        seen = (points - middle) @ np.stack([np.cross(up, towards), up, towards], 1)  # right, up, near
        half = np.abs(seen[:, :2]).max(1) * ROOM  # of a square that the view shows, if it is not narrower than tall
        for index in range(self._work.scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
            camera = self._work.scene.GetNthNodeByClass(index, "vtkMRMLCameraNode")
            away = float((half / np.tan(np.radians(camera.GetViewAngle() / 2)) + seen[:, 2]).max())
            camera.SetFocalPoint(*middle)
            camera.SetPosition(*(middle + away * towards))
            camera.SetViewUp(*shown.up)
            camera.SetParallelScale(float(half.max()))
            camera.ResetClippingRange()

    def clip(self, on):
        """Hide what lies above the axial slice in 3D, or show all."""
        node, scene = self._work.resultNode, self._work.scene
        if node is None:
            return
        display = node.GetDisplayNode()
        clip = display.GetClipNode()
        if on and clip is None:
            clip = scene.AddNewNodeByClass("vtkMRMLClipNode", "Axial slice")
            clip.AddAndObserveClippingNodeID(_axial(scene).GetID())
            clip.SetNthClippingNodeState(0, clip.ClipNegativeSpace)
            display.SetAndObserveClipNodeID(clip.GetID())
            display.SetClippingCapSurface(True)
        display.SetClipping(on)

    def setScaleBar(self, on):
        """Show a scale bar in 3D, for which the projection becomes parallel."""
        for index in range(self._work.scene.GetNumberOfNodesByClass("vtkMRMLViewNode")):
            view = self._work.scene.GetNthNodeByClass(index, "vtkMRMLViewNode")
            view.SetRenderMode(view.Orthographic if on else view.Perspective)
            view.SetRulerType(view.RulerTypeThin if on else view.RulerTypeNone)


def pictureOf(window):
    """What a render window shows, as PNG."""
    grab, writer = vtk.vtkWindowToImageFilter(), vtk.vtkPNGWriter()
    grab.SetInput(window)
    grab.SetInputBufferTypeToRGB()
    grab.ReadFrontBufferOff()
    writer.SetInputConnection(grab.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    return vtk_to_numpy(writer.GetResult()).tobytes()


def _axial(scene):
    """The node of the axial slice view."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")
    slices = [scene.GetNthNodeByClass(index, "vtkMRMLSliceNode") for index in range(count)]
    return next(node for node in slices if node.GetName() == "Red" or node.GetLayoutName() == "Red")
