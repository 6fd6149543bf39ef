"""Between volume nodes of MRML and the logic layer's volumes, without files."""

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from DeepSegLib.i18n import tr as _
from DeepSegLogic.data.volume import Volume, compact
from DeepSegLogic.util.errors import InputError

MODALITY = "DICOM.Modality"  # attribute of a volume's node, or, from the DICOM import, of its subject hierarchy item
SOURCE = "DeepSeg.Source"  # attribute of a volume's node: Volume.source; never saved
WARNINGS = "DeepSeg.Warnings"  # attribute of a volume's node: warnings of its reader, one sentence a line


def volumeFromNode(node, known=None) -> Volume:
    """The scalar volume of a ``vtkMRMLScalarVolumeNode``, where its parent transforms put it.

    Args:
        known: a volume whose voxels are used if they are the same, as copying takes longer than comparing.

    Raises:
        InputError: no image data, several components, a label map, or a non-linear transform.
    """
    image = node.GetImageData() if node is not None else None
    if image is None or image.GetPointData().GetScalars() is None:
        raise InputError(_("The volume has no voxels."), _("Load a CT, or choose another volume."), code="input.empty")
    name = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(_("{} is a label map.").format(name), _("Choose the CT itself."), code="input.scalar")
    scalars = image.GetPointData().GetScalars()
    if scalars.GetNumberOfComponents() != 1:
        raise InputError(
            _("{} has several values per voxel.").format(name), _("Choose a scalar volume."), code="input.scalar"
        )
    array = numpy_support.vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    ijkToRas = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijkToRas)
    warnings = (node.GetAttribute(WARNINGS) or "").splitlines()
    return Volume(
        _own(array, None if known is None else known.array),
        worldMatrix(node) @ toNumpy(ijkToRas),
        name,
        modalityOf(node),
        warnings,
        sourceOf(node),
    )


def _own(array, known):
    """Voxels as a :class:`Volume` holds them, not in the memory of the node; the known ones if they are the same."""
    found = compact(array)
    alike = known is not None and (known.dtype, known.shape) == (found.dtype, found.shape)
    if alike and all(map(np.array_equal, known, found)):  # slice by slice: no copy, and the first difference ends it
        return known
    return found.copy() if np.may_share_memory(found, array) else found


def modalityOf(node):
    """What the DICOM import, or we, noted for a volume node, e.g. ``"CT"``; None if nothing."""
    hierarchy, item = _hierarchyItem(node)
    return node.GetAttribute(MODALITY) or (hierarchy.GetItemAttribute(item, MODALITY) if item else None) or None


def sourceOf(node) -> str:
    """The DICOM series that a volume was loaded from, as in :attr:`Volume.source`."""
    instances = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    found = database.fileForInstance(instances[0]) if instances and database is not None else ""
    return found or node.GetAttribute(SOURCE) or ""


def putBeside(node, volumeNode):
    """Move a node to a volume's study in the subject hierarchy, where Slicer's DICOM export looks for both."""
    hierarchy, item = _hierarchyItem(node)
    _, volumeItem = _hierarchyItem(volumeNode)
    if item and volumeItem:
        hierarchy.SetItemParent(item, hierarchy.GetItemParent(volumeItem))


def _hierarchyItem(node):
    """The subject hierarchy and a node's item in it; None and 0 if there is none."""
    hierarchy = node.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    return hierarchy, hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0


def volumeToNode(volume: Volume, scene, like):
    """A new scalar volume node, shown as another one is.

    Args:
        like: gives window and level.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(volume.name))
    setVoxels(node, volume.array, volume.ijk_to_ras)
    node.SetAttribute(MODALITY, volume.modality)
    node.CreateDefaultDisplayNodes()
    if like.GetDisplayNode() is not None:
        node.GetDisplayNode().CopyContent(like.GetDisplayNode())
    return node


def setVoxels(node, array: np.ndarray, ijkToRas: np.ndarray) -> None:
    """Give a volume node voxels (K, J, I) and their place."""
    image = vtk.vtkImageData()
    fill(image, array)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(toVtk(ijkToRas))


def fill(image, array: np.ndarray) -> None:
    """Give image data of VTK voxels (K, J, I)."""
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(array.ravel(), deep=True))


def easier(node, way):
    """A new volume node that is easier to segment, see :class:`DeepSegLogic.session.WayOut`; the given one stays."""
    return straightened(node) if isBent(node) else volumeToNode(way.apply(volumeFromNode(node)), node.GetScene(), node)


def isBent(node) -> bool:
    """Whether a node has a non-linear transform, as Slicer makes one for unevenly spaced slices."""
    transform = node.GetParentTransformNode()
    return transform is not None and not transform.IsTransformToWorldLinear()


def straightened(node):
    """A new volume node: a copy of one that :func:`isBent`, resampled to an even grid where the transform put it."""
    copy = slicer.vtkSlicerVolumesLogic.CloneVolume(node.GetScene(), node, _("{} resampled").format(node.GetName()))
    copy.SetAttribute(MODALITY, modalityOf(node))
    copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    copy.HardenTransform()
    return copy


def worldMatrix(node) -> np.ndarray:
    """From a node's own coordinates to the world's."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if isBent(node):
        raise InputError(
            _("{} has a non-linear transform.").format(node.GetName()),
            _("Resample it, or remove the transform."),
            code="input.geometry",
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return toNumpy(matrix)


def toNumpy(matrix) -> np.ndarray:
    """A ``vtkMatrix4x4`` as a 4×4 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def toVtk(matrix: np.ndarray):
    """A 4×4 array as a ``vtkMatrix4x4``."""
    made = vtk.vtkMatrix4x4()
    made.DeepCopy(matrix.ravel())
    return made
