"""Scenes written by MRML itself come in as they are; those that would do harm do not."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.io import read_label_map, read_volume, write_label_map
from DeepSegLogic.io.headers import check_enclosed
from DeepSegLogic.io.slicer_scene import read_slicer_scene
from DeepSegLogic.util.errors import InputError

slicer = pytest.importorskip("slicer", reason="needs slicer-core")

SCENE = '<MRML><Volume id="v" name="CT" references="storage:s;"/><VolumeArchetypeStorage id="s" fileName="{}"/></MRML>'


@pytest.fixture
def scene():
    made = slicer.vtkMRMLScene()
    slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(made)
    made.RegisterNodeClass(slicer.vtkMRMLSegmentationNode())
    made.RegisterNodeClass(slicer.vtkMRMLSegmentationStorageNode())
    return made


def add(scene, kind, name, file):
    """A node with what a file holds."""
    node = scene.AddNewNodeByClass(kind, name)
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(file))
    assert storage.ReadData(node)
    return node


def packed(folder, path, inner="My scene/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            archive.write(file, inner + file.relative_to(folder).as_posix())
    return path


def saved(scene, tmp_path):
    (tmp_path / "scene").mkdir()
    assert scene.SaveSceneToSlicerDataBundleDirectory(str(tmp_path / "scene"))
    return packed(tmp_path / "scene", tmp_path / "scene.mrb")


def zipped(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def refused(path, why):
    with pytest.raises(InputError, match=why) as caught:
        read_slicer_scene(path)
    assert caught.value.remedy
    return caught.value


def small_nrrd(path, value=7):
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5) + value)
    sitk.WriteImage(image, str(path))
    return path


def test_volume_and_segmentation_come_back(scene, chest_ct, chest_segmentation, tmp_path):
    ct = add(scene, "vtkMRMLScalarVolumeNode", "Chest %20 höhe", chest_ct)
    ct.SetAttribute("DICOM.Modality", "CT")
    node = add(scene, "vtkMRMLSegmentationNode", "By hand", chest_segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    opened = read_slicer_scene(saved(scene, tmp_path), tmp_path)
    assert (opened.volume.name, opened.volume.modality, opened.volume.warnings) == ("Chest %20 höhe", "CT", [])
    np.testing.assert_array_equal(opened.volume.array, sitk.GetArrayFromImage(sitk.ReadImage(str(chest_ct))))
    np.testing.assert_allclose(opened.volume.ijk_to_ras, read_volume(chest_ct).ijk_to_ras, atol=1e-6)
    given = read_label_map(chest_segmentation)
    assert [s.title for s in opened.label_map.structures] == [s.title for s in given.structures]
    for structure in given.structures:
        assert opened.label_map.volume_ml(structure.name) == pytest.approx(given.volume_ml(structure.name))
    assert opened.provenance["model"]["id"] == "unknown"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scene", "scene.mrb"], "nothing is left"


def test_of_several_ours_is_taken_with_the_volume_that_it_was_drawn_on(scene, chest_ct, chest_segmentation, tmp_path):
    add(scene, "vtkMRMLScalarVolumeNode", "Other", small_nrrd(tmp_path / "other.nrrd"))
    ct = add(scene, "vtkMRMLScalarVolumeNode", "CT", chest_ct)
    for name in ("Ours", "Later"):
        node = add(scene, "vtkMRMLSegmentationNode", name, chest_segmentation)
        node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
        if name == "Ours":
            for index in range(node.GetSegmentation().GetNumberOfSegments()):
                node.GetSegmentation().GetNthSegment(index).SetTag("DeepSeg.model", "ct_demo")
    opened = read_slicer_scene(saved(scene, tmp_path))
    assert opened.volume.name == "CT"
    assert opened.provenance["model"]["id"] == "ct_demo"
    assert opened.volume.warnings == [
        "The scene has 2 volumes. This is CT.",
        "The scene has 2 segmentations. This is Ours.",
    ]


def test_what_the_tags_tell_comes_back_and_nonsense_does_not(scene, chest_ct, chest_segmentation, tmp_path):
    add(scene, "vtkMRMLScalarVolumeNode", "CT", chest_ct)
    node = add(scene, "vtkMRMLSegmentationNode", "Ours", chest_segmentation)
    told = [
        {"structure": "a", "confidence": "0.75", "boundary_margin": "0.5", "ignored": "volume far", "corrector": "net"},
        {"structure": "b", "confidence": "nan", "boundary_margin": "1e9", "ignored": ""},
        {"structure": "c", "confidence": "high"},
        {"confidence": "0.5", "ignored": "far"},
    ]
    for index, tags in enumerate(told):
        for name, value in tags.items():
            node.GetSegmentation().GetNthSegment(index).SetTag(f"DeepSeg.{name}", value)
    opened = read_slicer_scene(saved(scene, tmp_path))
    assert (opened.confidence, opened.boundary_margin) == ({"a": 0.75}, {"a": 0.5})
    assert opened.ignored == {("volume", "a"), ("far", "a")}
    assert opened.corrector == "net"


def test_what_the_run_told_comes_back(scene, chest_ct, chest_segmentation, tmp_path):
    from DeepSegLogic.io.segment_tags import RUN, text_of_run

    add(scene, "vtkMRMLScalarVolumeNode", "Chest", chest_ct)
    node = add(scene, "vtkMRMLSegmentationNode", "By a model", chest_segmentation)
    told = 'Unlike the training: 3 %; "ä" | b:c.'
    node.SetAttribute(
        RUN, text_of_run("venous", [told], {"settings": {"enhanced": {"task": "denoise"}}}, {"lung": "9 1.5 0.5"})
    )
    opened = read_slicer_scene(saved(scene, tmp_path), tmp_path)
    assert (opened.phase, opened.warnings, opened.as_run) == ("venous", [told], {"lung": "9 1.5 0.5"})
    assert opened.provenance["settings"]["enhanced"] == {"task": "denoise"}


@pytest.mark.parametrize("run", ["", "no JSON", "[]", '{"phase": [], "warnings": {"a": 1}, "enhanced": ["denoise"]}'])
def test_nonsense_about_the_run_is_left_out(run):
    from DeepSegLogic.io.segment_tags import stored_facts

    facts = stored_facts([], run)
    assert (facts.phase, facts.warnings) == ("", []) and "enhanced" not in facts.provenance["settings"]
    facts = stored_facts([], '{"phase": "late", "warnings": [1, "two"], "enhanced": {"a": 1, "b": "c"}}')
    assert (facts.phase, facts.warnings, facts.provenance["settings"]["enhanced"]) == ("", ["two"], {"b": "c"})


def test_a_segmentation_on_other_voxels_is_fitted(scene, chest_ct, chest_segmentation, tmp_path):
    image = sitk.ReadImage(str(chest_ct))
    finer = sitk.Resample(image[20:100, 30:110, 4:30], [80, 80, 52], sitk.Transform(), sitk.sitkLinear,
                          image[20:100, 30:110, 4:30].GetOrigin(), [3.1, 2.9, 5.0], image.GetDirection())  # fmt: skip
    sitk.WriteImage(finer, str(tmp_path / "finer.nrrd"))
    add(scene, "vtkMRMLScalarVolumeNode", "CT", tmp_path / "finer.nrrd")
    add(scene, "vtkMRMLSegmentationNode", "Organs", chest_segmentation)
    opened = read_slicer_scene(saved(scene, tmp_path))
    assert opened.label_map.array.shape == opened.volume.shape_kji == (52, 80, 80)
    assert any("another grid" in warning for warning in opened.volume.warnings)
    labels = sitk.GetImageFromArray(read_label_map(chest_segmentation).array)
    labels.CopyInformation(image)
    wanted = sitk.GetArrayFromImage(sitk.Resample(labels, finer, sitk.Transform(), sitk.sitkNearestNeighbor))
    assert (opened.label_map.array != wanted).mean() < 1e-3  # ties are rounded either way


def test_a_segmentation_cut_to_what_it_holds_loses_nothing(scene, chest_ct, chest_segmentation, tmp_path):
    ct = add(scene, "vtkMRMLScalarVolumeNode", "CT", chest_ct)
    node = add(scene, "vtkMRMLSegmentationNode", "Lungs", chest_segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segmentation = node.GetSegmentation()
    for name in [segmentation.GetNthSegmentID(i) for i in range(segmentation.GetNumberOfSegments())]:
        if "lung" not in segmentation.GetSegment(name).GetName():
            segmentation.RemoveSegment(name)
    node.GetStorageNode().SetCropToMinimumExtent(True)
    path = saved(scene, tmp_path)
    cut = sitk.ReadImage(str(next((tmp_path / "scene" / "Data").glob("*.seg.nrrd"))))
    opened, given = read_slicer_scene(path), read_label_map(chest_segmentation)
    assert cut.GetSize() != opened.volume.shape_ijk and opened.volume.warnings == []
    for name in ("left_lung", "right_lung"):
        np.testing.assert_array_equal(opened.label_map.mask(name), given.mask(name))


def test_segments_that_overlap_come_back_whole(scene, tmp_path):
    ct = add(scene, "vtkMRMLScalarVolumeNode", "CT", small_nrrd(tmp_path / "ct.nrrd"))
    whole = np.ones((3, 4, 5), np.uint8)
    part = np.zeros_like(whole)
    part[1, 1:3, 1:4] = 2
    matrix = read_volume(tmp_path / "ct.nrrd").ijk_to_ras
    layers = [LabelMap(a, matrix, [Structure(n, s, s)]) for n, s, a in ((1, "liver", whole), (2, "tumor", part))]
    both = LabelMap(np.maximum(whole, part), matrix, [s for m in layers for s in m.structures], layers=layers)
    write_label_map(both, tmp_path / "both.seg.nrrd")
    node = add(scene, "vtkMRMLSegmentationNode", "Overlapping", tmp_path / "both.seg.nrrd")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    opened = read_slicer_scene(saved(scene, tmp_path), tmp_path)
    np.testing.assert_array_equal(opened.label_map.mask("liver"), whole > 0)
    np.testing.assert_array_equal(opened.label_map.mask("tumor"), part > 0)


def test_a_volume_under_a_transform_is_refused(scene, chest_ct, tmp_path):
    ct = add(scene, "vtkMRMLScalarVolumeNode", "CT", chest_ct)
    ct.SetAndObserveTransformNodeID(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved").GetID())
    refused(saved(scene, tmp_path), "has CT under a transform")


def test_what_is_no_scene_is_told(tmp_path):
    (tmp_path / "broken.mrb").write_bytes(b"PK\x03\x04 and no more")
    refused(tmp_path / "broken.mrb", "complete zip file")
    refused(zipped(tmp_path / "a.mrb", ("Data/ct.nrrd", "x")), "no scene")
    refused(zipped(tmp_path / "b.mrb", ("s/s.mrml", "<MRML><Volume")), "damaged scene")
    refused(zipped(tmp_path / "c.mrb", ("s/s.mrml", "<MRML><View id='v'/></MRML>")), "no volume")
    refused(zipped(tmp_path / "d.mrb", ("s/s.mrml", "<MRML><Volume id='v' name='CT'/></MRML>")), "file of CT")
    refused(zipped(tmp_path / "e.mrb", ("s/s.mrml", SCENE.format("ct.nrrd")), ("s/ct.nrrd", "NRRD0004\n")), "ct.nrrd")


def test_names_in_the_archive_may_be_written_in_other_ways(tmp_path):
    """As some programs pack; the scene names its files as ever."""
    content = small_nrrd(tmp_path / "ct.nrrd").read_bytes()
    path = zipped(tmp_path / "x.mrb", ("./s/s.mrml", SCENE.format("Data/ct.nrrd")), ("./s//Data/ct.nrrd", content))
    assert read_slicer_scene(path).volume.shape_kji == (3, 4, 5)


@pytest.mark.parametrize("name", ["../evil.nrrd", "/tmp/evil.nrrd", "s/../../evil.nrrd"])
def test_an_archive_that_writes_outside_is_refused(tmp_path, name):
    small_nrrd(tmp_path / "ct.nrrd")
    members = [("s/s.mrml", SCENE.format("ct.nrrd")), ("s/ct.nrrd", (tmp_path / "ct.nrrd").read_bytes()), (name, "x")]
    refused(zipped(tmp_path / "x.mrb", *members), "outside")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.nrrd", "file:///etc/passwd", "http://127.0.0.1/a.nrrd"])
def test_a_scene_that_names_files_elsewhere_is_refused(tmp_path, name):
    small_nrrd(tmp_path / "secret.nrrd")
    (tmp_path / "in").mkdir()
    refused(zipped(tmp_path / "in" / "x.mrb", ("s/s.mrml", SCENE.format(name))), "does not contain the file of CT")


@pytest.mark.parametrize("field", ["data file: {}", "DataFile:\t{}", "data file: LIST\n{}", "data file: ../{}"])
def test_a_volume_that_leads_elsewhere_is_refused(tmp_path, field):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(120))
    lines = ["NRRD0004", "type: short", "dimension: 3", "sizes: 5 4 3", "endian: little", "encoding: raw"]
    header = "\n".join([*lines, field.format(secret)]) + "\n\n"
    path = zipped(tmp_path / "x.mrb", ("s/s.mrml", SCENE.format("ct.nrrd")), ("s/ct.nrrd", header))
    refused(path, "leads to other files")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("suffix", "begin"), [("nrrd", "NRRD0004\ndata file:"), ("mha", "ElementDataFile =")])
@pytest.mark.parametrize("name", [" " * 10**6 + "x", "x" * 10**6, "x\0y"])
def test_a_header_made_to_break_the_reader_is_refused(tmp_path, suffix, begin, name):
    path = tmp_path / f"ct.{suffix}"
    path.write_text(f"{begin}{name}\n\n", "utf-8")
    with pytest.raises(InputError, match="leads to other files"):
        check_enclosed(path)


def test_entities_of_a_scene_are_not_read(tmp_path):
    small_nrrd(tmp_path / "secret.nrrd")
    doctype = f'<!DOCTYPE m [<!ENTITY e SYSTEM "{Path(tmp_path / "secret.nrrd").as_uri()}">]>'
    laughs = '<!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "' + "&a;" * 100 + '">]>'
    for head, entity in ((doctype, "e"), (laughs, "b")):
        text = f'{head}<MRML>&{entity};<Volume id="v" name="CT"/></MRML>'
        refused(zipped(tmp_path / "x.mrb", ("s/s.mrml", text)), "does not contain the file of CT")
