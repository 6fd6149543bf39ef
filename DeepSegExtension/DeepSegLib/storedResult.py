"""A result as a segmentation node of MRML: made after a run, and read again from a scene that was saved."""

import json
from datetime import datetime

import vtk

from DeepSegLib import bridge, volumeNodes
from DeepSegLib.i18n import tr as _
from DeepSegLogic.io.segment_tags import NAMES, PLAN, PREFIX, RUN, stored_facts, text_of_run
from DeepSegLogic.util.errors import InputError

OF_THE_RUN = ("model", "version", "quality", "deepseg", "created")  # tags that all segments have
BELIEF = ("confidence", "boundary_margin")  # tags of the segments that were not corrected


def make(scene, volumeNode):
    """A new, empty node for the result of a volume, which may be gone (None)."""
    name = _("{} organs").format(volumeNode.GetName() if volumeNode else "CT")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    if volumeNode is not None:
        volumeNodes.putBeside(node, volumeNode)
    return node


def showInPlaceOf(node, last):
    """Show a new node as the last one, and hide that: two results over each other cannot be told apart."""
    display, before = node.GetDisplayNode(), last.GetDisplayNode()
    display.SetOpacity2DFill(before.GetOpacity2DFill())
    display.SetOpacity3D(before.GetOpacity3D())
    before.SetVisibility(False)


def fill(node, result, volumeNode):
    """Write a result into a node, with what is known of it as tags of the segments, and of its run as an attribute."""
    facts = result.provenance
    tags = {
        "model": facts["model"]["id"],
        "version": facts["model"]["version"],
        "quality": facts["settings"]["quality"],
        "deepseg": facts["versions"]["deepseg"],
        "created": facts.get("created") or datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    known = result.confidence, result.boundary_margin
    own = {s.name: _belief(s.name, *known) for s in result.label_map.structures}
    bridge.segmentationFromLabelMap(result.label_map, node, volumeNode, tags, own)
    noteRun(node, result, {})


def read(node, volumeNode):
    """The volume of a result, the result that a node holds of it, and what else :meth:`Outcome.show` takes of it.

    Args:
        volumeNode: None if it is gone.

    Raises:
        DeepSegError: the node has no segments, or the volume is gone or cannot be read.
    """
    from DeepSegLogic.segmentation import Result

    if volumeNode is None:
        raise InputError(
            _("The CT of {} is not in the scene, so this result cannot be corrected or exported.").format(
                node.GetName()
            ),
            _("Open a scene that has both, or segment the CT again."),
            code="input.scene",
        )
    volume = volumeNodes.volumeFromNode(volumeNode)
    labelMap = bridge.labelMapFromSegmentation(node, volume)
    facts = stored_facts([*map(_tags, _segments(node))], node.GetAttribute(RUN) or "")
    result = Result(
        labelMap,
        facts.confidence,
        facts.boundary_margin,
        facts.warnings,
        provenance=facts.provenance,
        phase=facts.phase,
    )
    return volume, result, {"ignored": facts.ignored, "as_run": facts.as_run}


def matchStructures(node, labelMap):
    """Add and remove segments so that there is one for each structure; returns the names of the new ones.

    No voxels change: those of a new segment that shares the image of the others are there once they are written.
    """
    segmentation, ids = node.GetSegmentation(), segmentIDs(node)
    wanted = {s.name: s for s in labelMap.structures}
    gone, new = [name for name in ids if name not in wanted], [name for name in wanted if name not in ids]
    first = segmentation.GetSegment(ids[0]) if ids else None
    isShared = segmentation.GetNumberOfLayers(bridge.BINARY_LABELMAP) == 1
    shared = first.GetRepresentation(bridge.BINARY_LABELMAP) if first is not None and isShared else None
    tags = {n: v for n, v in (_tags(first) if first is not None else {}).items() if n in OF_THE_RUN}
    withSurfaces = hasSurfaces(node)
    for name in new:
        segment = bridge.newSegment(wanted[name], tags)
        if shared is not None:
            segment.AddRepresentation(bridge.BINARY_LABELMAP, shared)
        if withSurfaces:
            segment.AddRepresentation(bridge.CLOSED_SURFACE, vtk.vtkPolyData())
        segmentation.AddSegment(segment, name)
    for name in gone:
        if isShared:
            segmentation.GetSegment(name).RemoveRepresentation(bridge.BINARY_LABELMAP)  # else its voxels are erased
        segmentation.RemoveSegment(name)
    return new


def noteRun(node, result, asRun):
    """Store with a node what its run told.

    Args:
        asRun: see :attr:`DeepSegLogic.session.Outcome.as_run`.
    """
    text = text_of_run(result.phase, result.warnings, result.provenance, asRun)
    if text != node.GetAttribute(RUN):
        node.SetAttribute(RUN, text)


def planOf(text, name):
    """The plan that is stored with a result, or None; anybody may have written it."""
    if not text:
        return None
    from DeepSegLogic.planning import parse_plan

    try:
        return parse_plan(text.encode(), name)
    except InputError:
        return None


def readPlan(node):
    """The plan that is stored with a result's node, or None."""
    return planOf(node.GetAttribute(PLAN), node.GetName())


def notePlan(node, planning):
    """Store the plan of a result with it."""
    text = json.dumps(planning.as_plan().as_json()) if planning.entries else None
    if text != node.GetAttribute(PLAN):
        node.SetAttribute(PLAN, text)


def volumeNodeOf(node):
    """The volume that a segmentation was made from, or None."""
    return node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())


def note(node, ignored, corrector):
    """Write into the segments what the user did to the result; a segment that says so already stays untouched.

    Args:
        ignored: kind and structure of the findings not to show again.
        corrector: id of the model that makes corrections; empty for the solver.
    """
    for segmentID in segmentIDs(node):
        segment = node.GetSegmentation().GetSegment(segmentID)
        kinds = sorted(kind for kind, structure in ignored if structure == segmentID)
        _setTags(segment, {"ignored": " ".join(kinds), "corrector": corrector})


def noteBelief(node, confidence, boundaryMargin):
    """Write into the segments how sure the run is of them, see :meth:`DeepSegLogic.session.Outcome.belief_in`."""
    for segmentID in segmentIDs(node):
        tags = dict.fromkeys(BELIEF, "") | _belief(segmentID, confidence, boundaryMargin)
        _setTags(node.GetSegmentation().GetSegment(segmentID), tags)


def hasSurfaces(node):
    """Whether a node has surfaces to show in 3D."""
    return node.GetSegmentation().ContainsRepresentation(bridge.CLOSED_SURFACE)


def showsSurfaces(node):
    """Whether a node shows surfaces in 3D: one that never had any is visible there, too, and shows nothing."""
    return hasSurfaces(node) and bool(node.GetDisplayNode().GetVisibility3D())


def voxelTime(node):
    """When the voxels of a segmentation last changed."""
    images = {segment.GetRepresentation(bridge.BINARY_LABELMAP) for segment in _segments(node)} - {None}
    return max([image.GetMTime() for image in images], default=0)


def lookOf(node):
    """How the scene shows a result, to compare: opacity, 3D, and name, color and visibility of each segment."""
    display = node.GetDisplayNode()
    named = zip(segmentIDs(node), _segments(node), strict=True)
    segments = tuple((i, s.GetName(), s.GetColor(), display.GetSegmentVisibility(i)) for i, s in named)
    return display.GetOpacity2DFill(), display.GetVisibility3D(), segments


def segmentIDs(node):
    """Of all segments, in their order."""
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]


def _segments(node):
    return map(node.GetSegmentation().GetSegment, segmentIDs(node))


def _belief(name, *known):
    """The tags :data:`BELIEF` of a structure, as far as they are known by its name."""
    return {fact: f"{of[name]:.4f}" for fact, of in zip(BELIEF, known, strict=True) if name in of}


def _setTags(segment, tags):
    """Set DeepSeg's tags of a segment; without one, it is empty. What it has already is not touched."""
    before = _tags(segment)
    for name, value in tags.items():
        if value != before.get(name, ""):
            segment.SetTag(PREFIX + name, value)


def _tags(segment):
    """DeepSeg's tags of a segment, by name without their prefix."""
    value = vtk.reference("")
    return {name: str(value) for name in NAMES if segment.GetTag(PREFIX + name, value)}
