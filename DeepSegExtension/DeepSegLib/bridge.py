"""Between segmentation nodes of MRML and the logic layer's label maps and surfaces, without files.

Runs unchanged in the desktop application and on ``slicer-core``.
"""

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from DeepSegLib.i18n import tr as _
from DeepSegLib.volumeNodes import toNumpy, worldMatrix
from DeepSegLogic.data.boxes import box_of, matrix_of
from DeepSegLogic.data.label_map import LabelMap, Structure, label_dtype
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io.seg_nrrd import ANATOMIC_CONTEXT, CONTEXT
from DeepSegLogic.io.segment_tags import PREFIX
from DeepSegLogic.surfaces import SurfaceSet
from DeepSegLogic.surfaces.surface import polydata
from DeepSegLogic.util.errors import UsageError

ALGORITHM_TYPE, ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"  # for Slicer's DICOM SEG
UNKNOWN = "unknown"  # model of segments that DeepSeg did not make
BINARY_LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
CLOSED_SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def segmentationFromLabelMap(labelMap: LabelMap, segmentationNode, volumeNode=None, tags=None, ownTags=None) -> None:
    """Fill a segmentation node with one segment per structure, replacing what it holds.

    Args:
        volumeNode: becomes the reference geometry, and gives its parent transform.
        tags: facts kept on each segment, e.g. model and version.
        ownTags: facts kept on single segments, by structure.
    """
    segmentation = segmentationNode.GetSegmentation()
    segmentation.SetSourceRepresentationName(BINARY_LABELMAP)
    emptySegmentation(segmentationNode)
    matrix = labelMap.ijk_to_ras
    if volumeNode is not None:
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        matrix = np.linalg.inv(worldMatrix(volumeNode)) @ matrix
    shared = _orientedImage(labelMap.array, matrix)
    for structure in labelMap.structures:
        own = (ownTags or {}).get(structure.name, {})
        segment = newSegment(structure, {**(tags or {}), **own})
        segment.AddRepresentation(BINARY_LABELMAP, shared)
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
    toNode = np.linalg.inv(worldMatrix(segmentationNode)) @ labelMap.ijk_to_ras
    values = {s.name: s.value for s in labelMap.structures}
    if _writeBox(labelMap.array, values, box, segmentationNode, np.linalg.inv(toNode)):
        for name in names:
            segment = segmentationNode.GetSegmentation().GetSegment(name)
            if segment.HasTag(ALGORITHM_TYPE):
                segment.SetTag(ALGORITHM_TYPE, "SEMIAUTOMATIC")
            segmentationNode.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.RepresentationModified, name)
        return
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for name in names:
        mask = labelMap.array == values[name]
        box = box_of(mask) or (slice(0, 1),) * 3
        image = _orientedImage(np.ascontiguousarray(mask[box], np.uint8), matrix_of(box, toNode))
        logic.SetBinaryLabelmapToSegment(image, segmentationNode, name, logic.MODE_REPLACE)


def labelMapFromSegmentation(segmentationNode, volume: Volume, structures=()) -> LabelMap:
    """The segments on a volume's grid; where two overlap, the later one wins.

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
    array = np.zeros(volume.shape_kji, label_dtype(max(values.values())))
    for image, labels in _layers(segmentationNode, values):
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        _paste(array, labels, image, toGrid @ toNumpy(matrix))
    found = [_structure(segmentation.GetSegment(name), name, value) for name, value in values.items()]
    return LabelMap(array, volume.ijk_to_ras.copy(), sorted(found, key=lambda s: s.value))


def surfacesToSegmentation(surfaces: SurfaceSet, segmentationNode) -> None:
    """Make surfaces the closed surface representation of a segmentation, and show that in 3D.

    Structures without a surface get an empty one: Slicer wants the same representations in all segments.
    """
    toNode = vtk.vtkMatrix4x4()
    toNode.DeepCopy(np.linalg.inv(worldMatrix(segmentationNode)).ravel())
    made = {surface.structure.name: surface for surface in surfaces}
    segmentation = segmentationNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        surface = made.get(segmentation.GetNthSegmentID(index))
        mesh = _shaded(surface, toNode) if surface else vtk.vtkPolyData()
        segmentation.GetNthSegment(index).AddRepresentation(CLOSED_SURFACE, mesh)
    display = segmentationNode.GetDisplayNode()
    if display is not None:
        display.SetPreferredDisplayRepresentationName3D(CLOSED_SURFACE)
        display.SetVisibility3D(True)
    segmentationNode.Modified()


def terminologyEntry(structure: Structure) -> str:
    """A structure's codes as Slicer serialises them."""

    def code(entry):
        return f"{entry.scheme}^{entry.value}^{entry.meaning}" if entry else "^^"

    codes = "~".join(code(c) for c in (structure.category, structure.type, structure.modifier))
    return f"{CONTEXT}~{codes}~{ANATOMIC_CONTEXT}~^^~^^"


def _shaded(surface, toNode):
    """A mesh in the node's coordinates, with normals: flat triangles look like facets."""
    transform = vtk.vtkTransform()
    transform.SetMatrix(toNode)
    moved = vtk.vtkTransformPolyDataFilter()
    moved.SetInputData(polydata(surface.points, surface.triangles))
    moved.SetTransform(transform)
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(moved.GetOutputPort())
    normals.SplittingOff()
    normals.Update()
    return normals.GetOutput()


def _ownValues(segmentation, ids):
    """The label value of each segment; none if two have the same, as those in images of their own may."""
    values = {segmentID: segmentation.GetSegment(segmentID).GetLabelValue() for segmentID in ids}
    return values if len({*values.values()} - {0}) == len(values) else {}


def _layers(segmentationNode, values):
    """Images to paste in turn, each with {its label: ours}: the shared one, or one per segment where they overlap.

    Args:
        values: our label by segment.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfLayers(BINARY_LABELMAP) == 1:
        labels = {segmentation.GetSegment(name).GetLabelValue(): value for name, value in values.items()}
        yield segmentation.GetLayerDataObject(0, BINARY_LABELMAP), labels
        return
    for name, value in values.items():
        image = slicer.vtkOrientedImageData()
        segmentationNode.GetBinaryLabelmapRepresentation(name, image)
        yield image, {1: value}


def _paste(array, values, image, toGrid) -> None:
    """Copy an image's labels, translated by the dict ``values``, into the grid.

    Both have the same voxels, shifted by whole ones, as a rule; else each voxel goes to the nearest of the grid.
    """
    found = _voxels(image)
    if found is None:
        return
    if any(label != value for label, value in values.items()):
        table = np.zeros(max(values) + 1, array.dtype)
        table[list(values)] = list(values.values())
        found = table[np.where(found < len(table), found, 0)]
    low = _shift(image, toGrid)
    if low is not None:
        begin, end = np.maximum(low, 0), np.minimum(low + found.shape, array.shape)
        if (begin < end).all():
            target = array[tuple(map(slice, begin, end))]
            source = found[tuple(map(slice, begin - low, end - low))]
            for below, above in zip(target, source, strict=True):  # a slice at a time stays in the processor's cache
                np.copyto(below, above, "unsafe", where=above > 0)  # Slicer may keep labels in a signed type
        return
    kji = np.argwhere(found)
    ijk = np.rint((kji + np.array(image.GetExtent()[4::-2]))[:, ::-1] @ toGrid[:3, :3].T + toGrid[:3, 3]).astype(int)
    inside = ((ijk >= 0) & (ijk < array.shape[::-1])).all(1)
    i, j, k = ijk[inside].T
    array[k, j, i] = found[tuple(kji[inside].T)]


def _writeBox(array, values, box, segmentationNode, toGrid) -> bool:
    """Copy a box of a label map into the image that all segments share; whether there is one that fits.

    Slicer's own way, segment by segment, takes over a second on a CT of 512 slices.

    Args:
        values: label by segment.
        toGrid: from the node's coordinates to the label map's voxels.
    """
    segmentation = segmentationNode.GetSegmentation()
    same = all(segmentation.GetSegment(name).GetLabelValue() == value for name, value in values.items())
    if not same or segmentation.GetNumberOfLayers(BINARY_LABELMAP) != 1:
        return False
    image = segmentation.GetLayerDataObject(0, BINARY_LABELMAP)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    shared, low = _voxels(image), _shift(image, toGrid @ toNumpy(matrix))
    if shared is None or low is None:
        return False
    inner = tuple(slice(s.start - first, s.stop - first) for s, first in zip(box, low.tolist(), strict=True))
    if any(s.start < 0 or s.stop > size for s, size in zip(inner, shared.shape, strict=True)):
        return False
    if array[box].max() > np.iinfo(shared.dtype).max:
        return False
    shared[inner] = array[box]
    image.GetPointData().GetScalars().Modified()  # the image's own event would drop the surfaces of all segments
    return True


def _voxels(image):
    """An image's voxels, (K, J, I), not copied; None if it has none."""
    extent = image.GetExtent()
    shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
    if 0 in shape or image.GetPointData().GetScalars() is None:
        return None
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)


def _shift(image, toGrid):
    """(K, J, I) of an image's first voxel in a grid; None if the two do not have the same voxels."""
    first = np.array(image.GetExtent()[4::-2]) + toGrid[2::-1, 3]
    low = np.rint(first).astype(int)
    same = np.allclose(toGrid[:3, :3], np.eye(3), atol=1e-5) and np.allclose(first, low, atol=1e-3)
    return low if same else None


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
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(array.ravel(), deep=True))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(ijkToRas.ravel())
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image
