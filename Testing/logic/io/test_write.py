"""Label maps as files: what we write, 3D Slicer's own library reads as it was meant."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import vtk

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import read_label_map, write_label_map
from DeepSegLogic.util.atomic_write import atomic_folder, atomic_path, check_output_file, check_output_folder
from DeepSegLogic.util.errors import Cancelled, InputError, OutputError, UsageError


@pytest.fixture
def label_map():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(np.eye(3) + 0.3 * rng.standard_normal((3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([0.8, 0.9, 2.5])
    matrix[:3, 3] = -12.5, 30, 400
    array = np.zeros((9, 12, 14), np.uint8)
    array[2:6, 3:7, 4:9] = 5
    array[6:8, 8:11, 1:4] = 2
    array[1, 1, 1] = 200
    names = {5: "liver", 2: "kidney_right", 200: "my_own thing"}
    return LabelMap(array, matrix, [structure_for(n, v) for v, n in names.items()])


def test_segmentation_opens_in_slicer_as_it_was_meant(tmp_path, label_map):
    slicer = pytest.importorskip("slicer", reason="needs slicer-core")
    from vtk.util import numpy_support

    path = tmp_path / "größe und raum.seg.nrrd"
    write_label_map(label_map, path)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    for index, structure in enumerate(label_map.structures):
        segment = segmentation.GetNthSegment(index)
        assert segment.GetName() == structure.title
        np.testing.assert_allclose(segment.GetColor(), np.array(structure.color) / 255, atol=1e-3)
        tag = _tag(segment, "TerminologyEntry")
        assert f"{structure.type.scheme}^{structure.type.value}^{structure.type.meaning}" in tag
        if structure.modifier:
            assert f"^{structure.modifier.value}^{structure.modifier.meaning}" in tag
        image = slicer.vtkOrientedImageData()
        assert node.GetBinaryLabelmapRepresentation(segmentation.GetNthSegmentID(index), image)
        voxels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        extent = image.GetExtent()
        voxels = voxels.reshape(extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
        whole = np.zeros(label_map.array.shape, bool)
        box = tuple(slice(extent[2 * a], extent[2 * a + 1] + 1) for a in (2, 1, 0))
        whole[box] = voxels > 0
        np.testing.assert_array_equal(whole, label_map.array == structure.value)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        np.testing.assert_allclose(_numpy(matrix), label_map.ijk_to_ras, atol=1e-6)


def _numpy(matrix):
    return np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])


def _tag(segment, name):
    value = vtk.reference("")
    assert segment.GetTag(name, value)
    return str(value)


def test_segmentation_comes_back(tmp_path, label_map):
    write_label_map(label_map, tmp_path / "a.seg.nrrd")
    back = read_label_map(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(back.array, label_map.array)
    np.testing.assert_allclose(back.ijk_to_ras, label_map.ijk_to_ras, atol=1e-9)
    assert [(s.value, s.title, s.color, s.type) for s in back.structures] == [
        (s.value, s.title, s.color, s.type) for s in label_map.structures
    ]


def test_slicers_own_segmentation_is_read(chest_segmentation):
    label_map = read_label_map(chest_segmentation)
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(chest_segmentation)))
    np.testing.assert_array_equal(label_map.array, reference)
    names = {s.name: s for s in label_map.structures}
    assert names["left_lung"].laterality == "left"
    assert names["ribs"].type.value == "113197003"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_plain_image_keeps_voxels_and_place(tmp_path, label_map, suffix):
    write_label_map(label_map, tmp_path / f"a{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), label_map.array)
    lps = image.TransformContinuousIndexToPhysicalPoint((3.0, 4.0, 5.0))
    ras = label_map.ijk_to_ras @ [3, 4, 5, 1]
    np.testing.assert_allclose([-lps[0], -lps[1], lps[2]], ras[:3], atol=1e-4)


def test_overlapping_layers_are_flattened(tmp_path):
    import slicerio

    voxels = np.zeros((2, 6, 6, 6), np.uint8)
    voxels[0, 1:5, 1:5, 1:5] = 1
    voxels[1, 3:6, 3:6, 3:6] = 1
    segments = [{"id": n, "name": n, "labelValue": 1, "layer": i} for i, n in enumerate("ab")]
    for segment in segments:
        segment["terminology"] = {"contextName": "", "category": ["", "", ""], "type": ["", "", ""]}
    path = tmp_path / "layers.seg.nrrd"
    slicerio.write_segmentation(str(path), {"voxels": voxels, "ijkToLPS": np.eye(4), "segments": segments})
    label_map = read_label_map(path)
    assert (label_map.array == 2).sum() == 27
    assert (label_map.array == 1).sum() == 64 - 8


def test_a_segment_without_its_value_is_an_error(tmp_path, label_map):
    path = tmp_path / "a.seg.nrrd"
    write_label_map(label_map, path)
    path.write_bytes(path.read_bytes().replace(b"Segment0_LabelValue", b"Segment0_LabelValux"))
    with pytest.raises(InputError, match="cannot be read as a segmentation"):
        read_label_map(path)


def test_unknown_suffix_is_named(tmp_path, label_map):
    with pytest.raises(UsageError, match=r"a\.xyz"):
        write_label_map(label_map, tmp_path / "a.xyz")


def test_a_folder_that_cannot_be_made_is_named(tmp_path, label_map):
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        write_label_map(label_map, tmp_path / "file" / "a.nii.gz")
    assert (tmp_path / "file").read_text("utf-8") == "in the way"


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", "utf-8")
    with pytest.raises(RuntimeError, match="boom"), atomic_path(path) as temporary:
        temporary.write_text("half", "utf-8")
        raise RuntimeError("boom")
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old", "utf-8")
    with pytest.raises(OutputError, match="disk is full") as caught, atomic_path(path):
        raise OSError(28, "No space left on device")
    assert caught.value.code == "output.disk_full"
    assert path.read_text("utf-8") == "old"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".seg.nrrd"])
def test_half_a_file_is_no_file(tmp_path, suffix):
    """As on a full disk: no file may grow beyond 8 kB. ITK writes a part of a NIfTI and says nothing."""
    resource = pytest.importorskip("resource", reason="Windows knows no limit of file size")
    path = tmp_path / f"a{suffix}"
    path.write_text("old", "utf-8")
    noise = np.random.default_rng(0).integers(0, 2, (60, 60, 60)).astype(np.uint8)
    label_map = LabelMap(noise, np.eye(4), [structure_for("liver", 1)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written|no room"):
            write_label_map(label_map, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "results"
    (folder / "surfaces").mkdir(parents=True)
    (folder / "surfaces" / "old.stl").write_text("old", "utf-8")
    (folder / "mine.txt").write_text("the user's own", "utf-8")
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "surfaces").mkdir()
        raise RuntimeError
    assert [p.name for p in sorted(folder.rglob("*"))] == ["mine.txt", "surfaces", "old.stl"]
    with atomic_folder(folder) as temporary:
        (temporary / "surfaces").mkdir()
        (temporary / "surfaces" / "new.stl").write_text("new", "utf-8")
    assert [p.name for p in sorted(folder.rglob("*"))] == ["mine.txt", "surfaces", "new.stl"]


@pytest.mark.parametrize("write", [atomic_folder, lambda folder: atomic_path(folder / "labels.txt")])
@pytest.mark.parametrize("error", [RuntimeError, Cancelled, KeyboardInterrupt])
def test_folders_made_for_what_is_not_written_go_again(tmp_path, write, error):
    """Those that were there before stay, be they empty or not."""
    (tmp_path / "earlier").mkdir()
    for folder in ("earlier", "earlier/new", "new/er/est"):
        with pytest.raises(error), write(tmp_path / folder):
            raise error
    check_output_folder(tmp_path / "new" / "er")
    check_output_file(tmp_path / "earlier" / "new" / "labels.txt")
    assert [p.name for p in tmp_path.rglob("*")] == ["earlier"]


def test_a_folder_that_another_one_wrote_to_meanwhile_stays(tmp_path):
    with pytest.raises(Cancelled), atomic_folder(tmp_path / "new" / "out"):
        (tmp_path / "new" / "out" / "mine.txt").touch()
        raise Cancelled
    assert [p.name for p in (tmp_path / "new").rglob("*")] == ["out", "mine.txt"]


def test_programs_that_make_and_remove_the_same_folder_do_not_disturb_each_other(tmp_path):
    """As the tasks of an array job, which begin at the same moment."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check_output_folder, [tmp_path / "new" / "out"] * 400))
    assert {p.name for p in tmp_path.rglob("*")} <= {"new", "out"}, "whoever came second has not made them"


def test_a_move_that_fails_half_way_puts_all_back(tmp_path, monkeypatch):
    """As on Windows, where a file that another program has open cannot be replaced."""
    for name in ("a.txt", "b.txt", "surfaces/old.stl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old", "utf-8")
    replace = Path.replace

    def new_surfaces_refused(path, target):
        if target == tmp_path / "surfaces" and (path / "new.stl").exists():
            raise PermissionError(13, "open elsewhere")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", new_surfaces_refused)
    with pytest.raises(OutputError, match="open elsewhere"), atomic_folder(tmp_path) as temporary:
        (temporary / "surfaces").mkdir()
        for name in ("a.txt", "new.txt", "surfaces/new.stl"):
            (temporary / name).write_text("new", "utf-8")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.txt", "b.txt", "old.stl", "surfaces"]
    assert (tmp_path / "a.txt").read_text("utf-8") == "old"
