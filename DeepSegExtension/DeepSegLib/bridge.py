"""Between segmentation nodes of MRML and the logic layer's label maps and surfaces, without files.

Runs unchanged in the desktop application and on ``slicer-core``.
"""

from contextlib import contextmanager

import numpy as np
import slicer
import vtk

from DeepSegLib.i18n import tr as _
from DeepSegLib.segmentImages import BINARY_LABELMAP, imagesOf, paste, shiftOf, voxelsOf
from DeepSegLib.volumeNodes import fill, toNumpy, toVtk, worldMatrix
from DeepSegLogic.data.boxes import box_of, matrix_of
from DeepSegLogic.data.label_map import LabelMap, Structure, label_dtype, smallest_on_top
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io.seg_nrrd import ANATOMIC_CONTEXT, CONTEXT
from DeepSegLogic.io.segment_tags import PREFIX, UNKNOWN
from DeepSegLogic.surfaces import SurfaceSet
from DeepSegLogic.surfaces.surface import polydata
from DeepSegLogic.util.errors import UsageError

ALGORITHM_TYPE, ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"  # for Slicer's DICOM SEG
CLOSED_SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def segmentationFromLabelMap(labelMap: LabelMap, segmentationNode, volumeNode=None, tags=None, ownTags=None) -> None:
    """Fill a segmentation node with one segment per structure, replacing what it holds.

    Args:
        volumeNode: becomes the reference geometry, and gives its parent transform.
        tags: facts kept on each segment, e.g. model and version.
        ownTags: facts kept on single segments, by structure.
    """
    matrix = labelMap.ijk_to_ras
    if volumeNode is not None:
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        matrix = np.linalg.inv(worldMatrix(volumeNode)) @ matrix
    layers = labelMap.layers or [labelMap]
    images = [_orientedImage(layer.array, matrix) for layer in layers]  # each shared by the segments of a layer
    imageOf = {s.value: image for layer, image in zip(layers, images, strict=True) for s in layer.structures}
    segmentation = segmentationNode.GetSegmentation()
    with _atOnce(segmentationNode):
        segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
        emptySegmentation(segmentationNode)
        for structure in labelMap.structures:
            own = (ownTags or {}).get(structure.name, {})
            segment = newSegment(structure, {**(tags or {}), **own})
            segment.AddRepresentation(BINARY_LABELMAP, imageOf.get(structure.value, images[0]))
            segmentation.AddSegment(segment, structure.name)


def newSegment(structure: Structure, tags):
    """A segment of a structure, without voxels."""
    segment = slicer.vtkSegment()
    segment.SetName(structure.title or structure.name)
    segment.SetColor([c / 255 for c in structure.color])
    segment.SetLabelValue(structure.value)
    segment.SetTag("TerminologyEntry", terminologyEntry(structure))
    for name, value in {**tags, "structure": structure.name}.items():
        segment.SetTag(PREFIX + name, str(value))
    if tags.get("model", UNKNOWN) != UNKNOWN:
        segment.SetTag(ALGORITHM_TYPE, "AUTOMATIC")
        segment.SetTag(ALGORITHM_NAME, f"DeepSeg {tags['model']}")
    return segment


def emptySegmentation(segmentationNode) -> None:
    """Remove all segments, their images first: else Slicer erases each one from the image that they share."""
    segmentation = segmentationNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        segmentation.GetNthSegment(index).RemoveRepresentation(BINARY_LABELMAP)
    segmentation.RemoveAllSegments()


def updateSegments(labelMap: LabelMap, segmentationNode, names, box) -> None:
    """Write what changed in a label map into the segments; the other voxels stay.

    Args:
        names: of the structures that changed.
        box: (K, J, I) slices that hold all changes.
    """
    markCorrected(segmentationNode, names)
    for layer in labelMap.layers or [labelMap]:
        own = [s.name for s in layer.structures if s.name in names]
        if own:
            _updateLayer(layer, segmentationNode, own, box)


def _updateLayer(layer: LabelMap, segmentationNode, names, box) -> None:
    """As :func:`updateSegments`, for structures that do not overlap."""
    toNode = np.linalg.inv(worldMatrix(segmentationNode)) @ layer.ijk_to_ras
    if _writeBox(layer, box, segmentationNode, np.linalg.inv(toNode)):
        for name in names:
            segmentationNode.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.RepresentationModified, name)
        return
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for name in names:
        mask = layer.mask(name)
        held = box_of(mask) or (slice(0, 1),) * 3
        image = _orientedImage(np.ascontiguousarray(mask[held], np.uint8), matrix_of(held, toNode))
        logic.SetBinaryLabelmapToSegment(image, segmentationNode, name, logic.MODE_REPLACE)


def markCorrected(segmentationNode, names) -> None:
    """Note in segments that somebody changed what an algorithm made, for DICOM."""
    for segment in map(segmentationNode.GetSegmentation().GetSegment, names):
        if segment is not None and segment.HasTag(ALGORITHM_TYPE):
            segment.SetTag(ALGORITHM_TYPE, "SEMIAUTOMATIC")


def isCorrected(segmentationNode) -> bool:
    """Whether :func:`markCorrected` was called for a segment, perhaps before the scene was saved."""
    segmentation, kind = segmentationNode.GetSegmentation(), vtk.reference("")
    segments = map(segmentation.GetNthSegment, range(segmentation.GetNumberOfSegments()))
    return any(segment.GetTag(ALGORITHM_TYPE, kind) and str(kind) == "SEMIAUTOMATIC" for segment in segments)


def labelMapFromSegmentation(segmentationNode, volume: Volume, structures=()) -> LabelMap:
    """The segments on a volume's grid; in layers where they overlap.

    Args:
        structures: those whose label values are to be kept; other segments get the next free ones. Without any, the
            segments' own values are kept if they differ.

    Raises:
        UsageError: the segmentation has no segments.
    """
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
    if not ids:
        raise UsageError(_("The segmentation has no segments."), _("Segment a volume first."), code="usage.empty")
    known = {s.name: s.value for s in structures} or _ownValues(segmentation, ids)
    free = iter(sorted(set(range(1, len(ids) + len(known) + 1)) - set(known.values())))
    values = {segmentID: known.get(segmentID) or next(free) for segmentID in ids}
    toGrid = np.linalg.inv(volume.ijk_to_ras) @ worldMatrix(segmentationNode)
    arrays, layerOf = [np.zeros(volume.shape_kji, label_dtype(max(values.values())))], {}
    for image, labels in imagesOf(segmentation, values):
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        number = paste(arrays, labels, image, toGrid @ toNumpy(matrix), empty=not layerOf)
        layerOf.update(dict.fromkeys(labels.values(), number))
    found = [_structure(segmentation.GetSegment(name), name, value) for name, value in values.items()]
    found = sorted(found, key=lambda s: s.value)
    matrix, layers = volume.ijk_to_ras.copy(), []
    if len(arrays) > 1:
        own = [[s for s in found if layerOf.get(s.value) == number] for number in range(len(arrays))]
        layers = [LabelMap(array, matrix, structures) for array, structures in zip(arrays, own, strict=True)]
        arrays = [smallest_on_top(arrays)]
    return LabelMap(arrays[0], matrix, found, layers=layers)


def surfacesToSegmentation(surfaces: SurfaceSet, segmentationNode) -> None:
    """Make surfaces the closed surface representation of a segmentation, and show that in 3D.

    Structures without a surface get an empty one: Slicer wants the same representations in all segments.
    """
    toNode = toVtk(np.linalg.inv(worldMatrix(segmentationNode)))
    made = {surface.structure.name: surface for surface in surfaces}
    segmentation, display = segmentationNode.GetSegmentation(), segmentationNode.GetDisplayNode()
    with _atOnce(*filter(None, (segmentationNode, display))):
        for index in range(segmentation.GetNumberOfSegments()):
            surface = made.get(segmentation.GetNthSegmentID(index))
            mesh = _shaded(surface, toNode) if surface else vtk.vtkPolyData()
            segmentation.GetNthSegment(index).AddRepresentation(CLOSED_SURFACE, mesh)
        if display is not None:
            display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
            display.SetVisibility3D(True)
        segmentationNode.Modified()


@contextmanager
def _atOnce(*nodes):
    """Nodes tell their changes at the end; else views and widgets follow each segment, which takes much longer."""
    told = [(node, node.StartModify()) for node in nodes]
    try:
        yield
    finally:
        for node, before in told:
            node.EndModify(before)


def terminologyEntry(structure: Structure) -> str:
    """A structure's codes as Slicer serialises them."""

    def code(entry):
        return f"{entry.scheme}^{entry.value}^{entry.meaning}" if entry else "^^"

    codes = "~".join(code(c) for c in (structure.category, structure.type, structure.modifier))
    return f"{CONTEXT}~{codes}~{ANATOMIC_CONTEXT}~{code(structure.region)}~{code(structure.region_modifier)}"


def _shaded(surface, toNode):
    """A mesh in the node's coordinates, with normals: flat triangles look like facets."""
    transform = vtk.vtkTransform()
    transform.SetMatrix(toNode)
    moved = vtk.vtkTransformFilter()
    moved.SetInputData(polydata(surface.points, surface.triangles))
    moved.SetTransform(transform)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(moved.GetOutputPort())
    normals.SplittingOff()
    normals.ConsistencyOff()  # all triangles face outward already; looking after that takes most of the time
    normals.Update()
    return normals.GetOutput()


def _ownValues(segmentation, ids):
    """The label value of each segment; none if two have the same, as those in images of their own may."""
    values = {segmentID: segmentation.GetSegment(segmentID).GetLabelValue() for segmentID in ids}
    return values if len({*values.values()} - {0}) == len(values) else {}


def _writeBox(layer, box, segmentationNode, toGrid) -> bool:
    """Copy a box of a label map into the image that its segments, and no other, share; whether there is one that fits.

    Slicer's own way, segment by segment, takes over a second on a CT of 512 slices.

    Args:
        toGrid: from the node's coordinates to the label map's voxels.
    """
    segmentation = segmentationNode.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]
    names = {s.value: s.name for s in layer.structures}
    images = imagesOf(segmentation, dict(zip(ids, ids, strict=True)))
    image = next((image for image, labels in images if labels == names), None)
    if image is None:
        return False
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    shared, low = voxelsOf(image), shiftOf(image, toGrid @ toNumpy(matrix))
    if shared is None or low is None:
        return False
    inner = tuple(slice(s.start - first, s.stop - first) for s, first in zip(box, low.tolist(), strict=True))
    if any(s.start < 0 or s.stop > size for s, size in zip(inner, shared.shape, strict=True)):
        return False
    if layer.array[box].max() > np.iinfo(shared.dtype).max:
        return False
    shared[inner] = layer.array[box]
    image.GetPointData().GetScalars().Modified()  # the image's own event would drop the surfaces of all segments
    return True


def _structure(segment, segmentID: str, value: int) -> Structure:
    from dataclasses import replace

    from DeepSegLogic.data.terminology import structure_for

    name = vtk.reference("")
    known = segment.GetTag(PREFIX + "structure", name)
    structure = structure_for(str(name) if known else segmentID, value)
    color = tuple(round(255 * c) for c in segment.GetColor())
    return replace(structure, title=segment.GetName() or structure.title, color=color)


def _orientedImage(array: np.ndarray, ijkToRas: np.ndarray):
    image = slicer.vtkOrientedImageData()
    fill(image, array)
    image.SetGeometryFromImageToWorldMatrix(toVtk(ijkToRas))
    return image
