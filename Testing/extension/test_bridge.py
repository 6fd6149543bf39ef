"""The MRML bridge on real MRML nodes (slicer-core)."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core")

import vtk  # noqa: E402
from DeepSegLib import bridge, volumeNodes  # noqa: E402
from vtk.util import numpy_support  # noqa: E402

from DeepSegLogic.data.label_map import LabelMap  # noqa: E402
from DeepSegLogic.data.terminology import structure_for  # noqa: E402
from DeepSegLogic.data.volume import Volume  # noqa: E402
from DeepSegLogic.refinement.layers import editable, show_layers  # noqa: E402
from DeepSegLogic.surfaces import make_surfaces  # noqa: E402
from DeepSegLogic.util.errors import InputError  # noqa: E402


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


def matrix(left_handed=False):
    rotation, _ = np.linalg.qr(np.eye(3) + 0.3 * np.random.default_rng(1).standard_normal((3, 3)))
    result = np.eye(4)
    result[:3, :3] = rotation @ np.diag([0.8, 0.9, 2.5])
    if (np.linalg.det(result[:3, :3]) < 0) != left_handed:
        result[:3, 0] *= -1
    result[:3, 3] = -12.5, 30, 400
    return result


def vtk_matrix(array):
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(array.ravel())
    return result


def volume_node(scene, array, ijk_to_ras, kind="vtkMRMLScalarVolumeNode"):
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(array.ravel(), deep=True))
    node = scene.AddNewNodeByClass(kind, "CT")
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras))
    return node


def label_map(ijk_to_ras):
    array = np.zeros((9, 12, 14), np.uint8)
    array[2:7, 3:8, 4:9] = 5
    array[7:8, 8:11, 1:4] = 2
    return LabelMap(array, ijk_to_ras, [structure_for("liver", 5), structure_for("kidney_right", 2)])


@pytest.mark.parametrize("left_handed", [False, True])
def test_volume_node_keeps_voxels_and_place(scene, left_handed):
    array = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
    volume = volumeNodes.volumeFromNode(volume_node(scene, array, matrix(left_handed)))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix(left_handed), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
def test_voxels_are_copied_once_and_follow_no_edit(scene, dtype):
    array = np.random.default_rng(0).integers(0, 200, (5, 6, 7)).astype(dtype)
    node = volume_node(scene, array, matrix())
    first = volumeNodes.volumeFromNode(node)
    assert volumeNodes.volumeFromNode(node, first).array is first.array
    voxels = numpy_support.vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    voxels[-1] += 1
    np.testing.assert_array_equal(first.array, array)
    second = volumeNodes.volumeFromNode(node, first)
    assert second.array.ravel()[-1] == array.ravel()[-1] + 1
    assert not np.may_share_memory(second.array, voxels) and not np.may_share_memory(second.array, first.array)
    shorter = Volume(first.array[:4], matrix())
    np.testing.assert_array_equal(volumeNodes.volumeFromNode(node, shorter).array, second.array)


def test_parent_transform_moves_the_volume(scene):
    array = np.zeros((5, 6, 7), np.int16)
    node = volume_node(scene, array, matrix())
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[:3, 3] = 10, 20, 30
    transform.SetMatrixTransformToParent(vtk_matrix(shift))
    node.SetAndObserveTransformNodeID(transform.GetID())
    np.testing.assert_allclose(volumeNodes.volumeFromNode(node).ijk_to_ras, shift @ matrix(), atol=1e-9)


def test_what_is_no_ct_is_refused(scene):
    with pytest.raises(InputError, match="no voxels"):
        volumeNodes.volumeFromNode(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16), np.eye(4), "vtkMRMLLabelMapVolumeNode")
    with pytest.raises(InputError, match="label map"):
        volumeNodes.volumeFromNode(node)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("under_transform", [False, True])
def test_label_map_becomes_segments_and_comes_back(scene, left_handed, under_transform):
    node = volume_node(scene, np.zeros((9, 12, 14), np.int16), matrix(left_handed))
    if under_transform:
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(vtk_matrix(matrix()))
        node.SetAndObserveTransformNodeID(transform.GetID())
    volume = volumeNodes.volumeFromNode(node)
    source = label_map(volume.ijk_to_ras)
    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(source, segmentation_node, node, {"model": "ct_demo"})
    segment = segmentation_node.GetSegmentation().GetSegment("kidney_right")
    assert segment.GetName() == "Right kidney"
    tag = vtk.reference("")
    assert segment.GetTag("TerminologyEntry", tag)
    assert "SCT^64033007^Kidney~SCT^24028007^Right" in str(tag)
    assert bridge.terminologyEntry(structure_for("kidney_cyst_left", 1)).endswith(
        "~SCT^64033007^Kidney~SCT^7771000^Left"
    )
    assert segment.GetTag("DeepSeg.model", tag)
    assert str(tag) == "ct_demo"
    back = bridge.labelMapFromSegmentation(segmentation_node, volume)
    np.testing.assert_array_equal(back.array > 0, source.array > 0)
    for structure in source.structures:
        np.testing.assert_array_equal(back.mask(structure.name), source.mask(structure.name))


@pytest.mark.parametrize(("kind", "value"), [(np.int16, 5), (np.int16, 300), (np.int32, 5)])
def test_labels_in_a_signed_type_come_back(scene, kind, value):
    """As Slicer keeps those above 255, and those of some files."""
    array = label_map(matrix()).array.astype(kind)
    array[array == 5] = value
    source = LabelMap(array, matrix(), [structure_for("liver", value), structure_for("kidney_right", 2)])
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(source, node)
    volume = Volume(np.zeros(array.shape, np.int16), matrix())
    back = bridge.labelMapFromSegmentation(node, volume, source.structures)
    np.testing.assert_array_equal(back.array, array)


def test_segments_are_where_slicer_says(scene):
    """Slicer's own centre of a segment is the centre of its voxels in RAS."""
    node = volume_node(scene, np.zeros((9, 12, 14), np.int16), matrix())
    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(label_map(matrix()), segmentation_node, node)
    expected = (matrix() @ [6, 5, 4, 1])[:3]
    np.testing.assert_allclose(segmentation_node.GetSegmentCenterRAS("liver"), expected, atol=1e-3)


@pytest.mark.parametrize("left_handed", [False, True])
def test_segments_that_overlap_come_back_whole(scene, left_handed):
    """A segment of an image of its own, smaller and partly outside the volume, as the Segment Editor may leave it."""
    node = volume_node(scene, np.zeros((9, 12, 14), np.int16), matrix(left_handed))
    volume = volumeNodes.volumeFromNode(node)
    source = label_map(volume.ijk_to_ras)
    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(source, segmentation_node, node)
    own = slicer.vtkOrientedImageData()
    own.SetExtent(6, 15, 5, 7, 4, 5)  # I reaches to 15, the volume to 13
    own.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    own.GetPointData().GetScalars().Fill(1)
    own.SetImageToWorldMatrix(vtk_matrix(volume.ijk_to_ras))
    segment = slicer.vtkSegment()
    segment.AddRepresentation(bridge.BINARY_LABELMAP, own)
    segmentation_node.GetSegmentation().AddSegment(segment, "spleen")
    back = bridge.labelMapFromSegmentation(segmentation_node, volume)
    expected = np.zeros(volume.shape_kji, bool)
    expected[4:6, 5:8, 6:14] = True
    np.testing.assert_array_equal(back.mask("spleen"), expected)
    np.testing.assert_array_equal(back.mask("liver"), source.mask("liver"))
    np.testing.assert_array_equal(back.mask("kidney_right"), source.mask("kidney_right"))
    assert (back.mask("liver") & expected).any() and len(back.layers) == 2
    assert (back.array[expected] == back.structure("spleen").value).all()  # the smaller one is shown


@pytest.mark.parametrize("label", [9, 1])
def test_a_change_in_one_layer_leaves_the_other_segments(scene, label):
    """A tumour in the liver, whose image has a label of its own or, as in 3D Slicer, 1 like all images."""
    node = volume_node(scene, np.zeros((9, 12, 14), np.int16), matrix())
    volume = volumeNodes.volumeFromNode(node)
    flat, added = label_map(volume.ijk_to_ras), structure_for("tumor", 9)
    tumor = np.zeros_like(flat.array)
    tumor[4, 5, 5:8] = 9
    layers = [flat, LabelMap(tumor, flat.ijk_to_ras, [added])]
    source = LabelMap(np.where(tumor > 0, tumor, flat.array), flat.ijk_to_ras, [*flat.structures, added], [], layers)
    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(source, segmentation_node, node)
    segmentation = segmentation_node.GetSegmentation()
    assert segmentation.GetNumberOfLayers(bridge.BINARY_LABELMAP) == 2
    segment = segmentation.GetSegment("tumor")
    shared = numpy_support.vtk_to_numpy(segment.GetRepresentation(bridge.BINARY_LABELMAP).GetPointData().GetScalars())
    shared[shared == 9] = label
    segment.SetLabelValue(label)
    back = bridge.labelMapFromSegmentation(segmentation_node, volume, source.structures)
    assert {s.value: s for s in back.structures} == {s.value: s for s in source.structures}
    for structure in source.structures:
        np.testing.assert_array_equal(back.mask(structure.name), source.mask(structure.name), structure.name)

    changed = editable(back)
    box = (slice(4, 5), slice(4, 6), slice(4, 8))
    changed.layer_of(changed.structure("tumor")).array[box] = 9
    show_layers(changed)
    bridge.updateSegments(changed, segmentation_node, ["tumor"], box)
    again = bridge.labelMapFromSegmentation(segmentation_node, volume, source.structures)
    np.testing.assert_array_equal(again.mask("tumor"), changed.mask("tumor"))
    assert again.mask("tumor").sum() == 8
    for structure in flat.structures:
        np.testing.assert_array_equal(again.mask(structure.name), source.mask(structure.name), structure.name)


def test_the_modality_is_read_where_slicers_dicom_import_puts_it(scene):
    """In the subject hierarchy, not on the node."""
    node = volume_node(scene, np.zeros((3, 4, 5), np.int16), np.eye(4))
    assert volumeNodes.volumeFromNode(node).modality is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert volumeNodes.volumeFromNode(node).modality is None
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    hierarchy.SetItemAttribute(item, name, "MR")
    volume = volumeNodes.volumeFromNode(node)
    assert volume.modality == "MR"
    assert volumeNodes.volumeFromNode(volumeNodes.volumeToNode(volume, scene, node)).modality == "MR"
    assert volumeNodes.volumeFromNode(volumeNodes.straightened(node)).modality == "MR"


def test_a_result_is_put_into_the_volumes_study(scene):
    volume = volume_node(scene, np.zeros((3, 4, 5), np.int16), np.eye(4))
    result = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    volumeNodes.putBeside(result, volume)  # without a hierarchy, nothing
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.CreateItem(study, volume)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), result)
    volumeNodes.putBeside(result, volume)
    assert hierarchy.GetItemParent(item) == study


def test_what_a_reader_said_is_kept_with_the_node(scene):
    node = volume_node(scene, np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    assert volumeNodes.volumeFromNode(node).warnings == []
    node.SetAttribute(volumeNodes.WARNINGS, "One slice is missing.\nIt was filled.")
    assert volumeNodes.volumeFromNode(node).warnings == ["One slice is missing.", "It was filled."]


@pytest.mark.parametrize("left_handed", [False, True])
def test_surfaces_are_shaded_by_normals_that_point_outward(scene, left_handed):
    k, j, i = np.indices((15, 30, 30)) - np.array([7, 15, 15])[:, None, None, None]
    ball = ((k * 2.5) ** 2 + (j * 0.9) ** 2 + (i * 0.8) ** 2 < 10.0**2).astype(np.uint8)
    ball[0, 0, :2] = 2, 3
    structures = [structure_for(name, value) for value, name in enumerate(("liver", "spleen", "stomach"), start=1)]
    labels = LabelMap(ball, matrix(left_handed), structures)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    kinds = slicer.vtkSegmentation
    told = {kinds.SegmentAdded: 0, kinds.SegmentModified: 0}  # what views and widgets follow, for each segment at once
    for kind in told:
        node.AddObserver(kind, lambda *_, kind=kind: told.update({kind: told[kind] + 1}))
    bridge.segmentationFromLabelMap(labels, node)
    assert told == {kinds.SegmentAdded: 1, kinds.SegmentModified: 0}
    bridge.surfacesToSegmentation(make_surfaces(labels), node)
    assert told == {kinds.SegmentAdded: 1, kinds.SegmentModified: 1} and not node.GetDisableModifiedEvent()
    mesh = node.GetSegmentation().GetSegment("liver").GetRepresentation(bridge.CLOSED_SURFACE)
    arrays = mesh.GetPoints().GetData(), mesh.GetPointData().GetNormals()
    points, normals = map(numpy_support.vtk_to_numpy, arrays)
    outward = points - labels.ijk_to_ras[:3] @ [15, 15, 7, 1]
    cosines = (normals * outward).sum(1) / np.linalg.norm(outward, axis=1)
    assert len(points) > 500 and cosines.min() > 0.7


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("images", ["shared", "cropped", "own"])
def test_what_changed_is_written_into_the_segments(scene, left_handed, images):
    """As Slicer exports it: with one image for all segments, one that ends where they end, and one for each."""
    node = volume_node(scene, np.zeros((9, 12, 14), np.int16), matrix(left_handed))
    source = label_map(volumeNodes.volumeFromNode(node).ijk_to_ras)
    segmentation_node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(source, segmentation_node, node)
    segmentation = segmentation_node.GetSegmentation()
    if images == "cropped":
        image = segmentation.GetLayerDataObject(0, bridge.BINARY_LABELMAP)
        found = np.argwhere(source.array)
        (k0, j0, i0), (k1, j1, i1) = found.min(0), found.max(0)
        image.Crop([int(n) for n in (i0, i1, j0, j1, k0, k1)])
    elif images == "own":
        segmentation.SeparateSegmentLabelmap("liver")
    surface = vtk.vtkPolyData()
    segmentation.GetSegment("liver").AddRepresentation(bridge.CLOSED_SURFACE, surface)
    before = segmentation.GetSegment("liver").GetRepresentation(bridge.BINARY_LABELMAP).GetMTime()
    liver, kidney = (s.value for s in source.structures)
    changed = source.array.copy()
    inside, beyond = np.s_[4:6, 5:7, 5:7], np.s_[0:2, 0:3, 0:2]
    changed[inside], changed[beyond] = kidney, liver
    after = LabelMap(changed, source.ijk_to_ras, source.structures)
    for box in (inside, beyond):
        bridge.updateSegments(after, segmentation_node, ["liver", "kidney_right"], box)
    assert segmentation.GetSegment("liver").GetRepresentation(bridge.BINARY_LABELMAP).GetMTime() > before
    assert segmentation.GetSegment("liver").GetRepresentation(bridge.CLOSED_SURFACE) is not None
    for structure in source.structures:
        shown = slicer.vtkOrientedImageData()
        segmentation_node.GetBinaryLabelmapRepresentation(structure.name, shown)
        reference = slicer.vtkOrientedImageData()
        reference.SetDimensions(14, 12, 9)
        reference.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        reference.SetImageToWorldMatrix(vtk_matrix(source.ijk_to_ras))
        whole = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(shown, reference, whole)
        array = numpy_support.vtk_to_numpy(whole.GetPointData().GetScalars()).reshape(9, 12, 14)
        np.testing.assert_array_equal(array > 0, changed == structure.value)
