"""Data sets in every layout, and each fault as a sentence."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.io import write_label_map, write_volume
from DeepSegLogic.io.patients import patient_key
from DeepSegLogic.training.checks import check_cases, look_at
from DeepSegLogic.training.dataset import CaseFiles, find_cases, modality_of
from DeepSegLogic.training.reading import read_case
from DeepSegLogic.util.digests import file_digest
from DeepSegLogic.util.errors import InputError

from .phantom import NAMES, case, label_map, write_raw


def write(folder, seed, image, labels, **options):
    folder.mkdir(parents=True, exist_ok=True)
    volume, array = case(seed, **options)
    write_volume(volume, folder / image)
    write_label_map(label_map(volume, array), folder / labels)


def test_nnunets_raw_layout(tmp_path):
    cases = find_cases(write_raw(tmp_path / "raw"))
    assert [c.name for c in cases] == ["c0", "c1", "c2"] and modality_of(tmp_path / "raw") == "CT"
    report = check_cases(cases, "CT")
    assert report.structures == ["liver", "spleen"] and not report.errors and not report.warnings
    volume, labels = case(1)
    read = read_case(cases[1])
    assert np.array_equal(read.volume.array, volume.array) and np.array_equal(read.labels, labels)
    assert report.cases[1].voxels == {"liver": (labels == 1).sum(), "spleen": (labels == 2).sum()}
    assert report.cases[1].shape == volume.shape_kji and report.cases[1].spacing == (4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    "names",
    [
        [("a.nii.gz", "a_seg.nii.gz"), ("b.nii.gz", "b.seg.nrrd")],
        [("a/ct.nii.gz", "a/labels.nii.gz"), ("b/ct.nrrd", "b/Segmentation.seg.nrrd")],
        [("images/a.nii.gz", "labels/a.nii.gz"), ("images/b.nii.gz", "labels/b.nii.gz")],
    ],
)
def test_pairs_of_files(tmp_path, names):
    for seed, (image, labels) in enumerate(names):
        (tmp_path / image).parent.mkdir(exist_ok=True)
        (tmp_path / labels).parent.mkdir(exist_ok=True)
        write(tmp_path, seed, image, labels)
    cases = find_cases(tmp_path)
    assert [c.name for c in cases] == ["a", "b"]
    report = check_cases(cases)
    assert report.structures == ["liver", "spleen"] and report.modality == "CT" and not report.errors


def test_results_say_what_was_looked_for_and_keep_their_image(tmp_path):
    write(tmp_path / "one", 0, "ct.nii.gz", "segmentation.seg.nrrd")
    shutil.move(tmp_path / "one" / "ct.nii.gz", tmp_path / "ct.nii.gz")
    facts = {"input": {"name": "ct.nii.gz", "digest": file_digest(tmp_path / "ct.nii.gz")}}
    facts["settings"] = {"structures": ["liver"]}
    (tmp_path / "one" / "provenance.json").write_text(json.dumps(facts), "utf-8")
    (found,) = find_cases(tmp_path)
    assert found.looked_for == {"liver"} and found.image == tmp_path / "ct.nii.gz"
    assert "spleen is labelled but not looked for" in " ".join(look_at(found).warnings)
    write_volume(case(5)[0], tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match="digest differs"):
        find_cases(tmp_path)
    (tmp_path / "ct.nii.gz").unlink()
    with pytest.raises(InputError, match="is not there"):
        find_cases(tmp_path)


def test_names_in_a_table_may_have_spaces(tmp_path):
    raw = write_raw(tmp_path, 1, {1: "left lung", 2: "spleen"}, shape=(16, 24, 24))
    for asked, names in (
        ("left lung;spleen", {"left lung", "spleen"}),
        ("left lung", {"left lung"}),
        ("liver spleen", {"liver", "spleen"}),
        ("liver | left lung", {"liver", "left lung"}),
    ):
        row = f"imagesTr/c0_0000.nii.gz,labelsTr/c0.nii.gz,{asked}"
        (raw / "cases.csv").write_text(f"image,label,looked_for\n{row}\n", "utf-8")
        assert find_cases(raw / "cases.csv")[0].looked_for == names


def test_a_table_says_what_was_looked_for(tmp_path):
    write(tmp_path, 0, "x.nii.gz", "x_l.nii.gz")
    write(tmp_path, 1, "y.nii.gz", "y_l.nii.gz")
    table = "image,label,looked_for\nx.nii.gz,x_l.nii.gz,liver\ny.nii.gz,y_l.nii.gz,\n"
    (tmp_path / "cases.csv").write_text(table, "utf-8-sig")  # as Excel writes it
    first, second = find_cases(tmp_path / "cases.csv")
    assert check_cases([first]).structures == ["liver"] and check_cases([first, second]).structures == [
        "liver",
        "spleen",
    ]
    assert read_case(first).looked_for == {"liver"} and read_case(second).looked_for == {"liver", "spleen"}
    (tmp_path / "cases.csv").write_text(table.replace("y_l", "z").replace("liver\n", "liver\n\n"), "utf-8")
    with pytest.raises(InputError, match=r"Line 4 .*z\.nii\.gz"):
        find_cases(tmp_path / "cases.csv")
    (tmp_path / "cases.csv").write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(InputError, match="no columns image and label"):
        find_cases(tmp_path / "cases.csv")


def write_scene(path, seed, segmentation="Segmentation"):
    """A scene with the files that 3D Slicer packs; test_slicer_scene.py reads those that MRML itself saved."""
    write(path.parent, seed, "CT.nrrd", "Organs.seg.nrrd")
    pack_scene(path, path.parent / "CT.nrrd", path.parent / "Organs.seg.nrrd", segmentation)


def pack_scene(path, image, segments, segmentation="Segmentation"):
    """Move an image and its segments into a scene."""
    nodes = [
        f'<Volume id="v" name="CT" references="storage:s;"/><VolumeArchetypeStorage id="s" fileName="{image.name}"/>',
        f'<{segmentation} id="g" name="Organs" references="storage:t;referenceImageGeometryRef:v;"/>',
        f'<SegmentationStorage id="t" fileName="{segments.name}"/>',
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scene/scene.mrml", f"<MRML>{''.join(nodes)}</MRML>")
        for file in (image, segments):
            archive.write(file, f"scene/{file.name}")
            file.unlink()


def test_scenes_are_cases_alone_among_other_files_and_in_a_table(tmp_path):
    write(tmp_path / "a", 0, "ct.nii.gz", "ct_seg.nii.gz")
    (tmp_path / "more").mkdir()
    write_scene(tmp_path / "more" / "b.mrb", 1)
    files, scene = find_cases(tmp_path)
    assert (files.name, scene.name, scene.is_scene, files.is_scene) == ("a", "more/b", True, False)
    report = check_cases([files, scene])
    assert report.structures == ["liver", "spleen"] and not report.errors
    volume, labels = case(1)
    read = read_case(scene)
    assert np.array_equal(read.volume.array, volume.array) and np.array_equal(read.labels, labels)
    assert read.names == NAMES and read.looked_for == {"liver", "spleen"}
    assert [c.image for c in find_cases(tmp_path / "more" / "b.mrb")] == [tmp_path / "more" / "b.mrb"]
    (tmp_path / "cases.csv").write_text("image,label,looked_for\nmore/b.mrb,,liver\n", "utf-8")
    (row,) = find_cases(tmp_path / "cases.csv")
    assert row.is_scene and read_case(row).looked_for == {"liver"}


def test_a_scene_that_cannot_be_trained_on_is_an_error_of_its_case(tmp_path):
    write_scene(tmp_path / "image_only.mrb", 1, "Model")
    (tmp_path / "no_zip.mrb").write_bytes(b"PK\3\4 nothing")
    first, second = (look_at(files).error for files in find_cases(tmp_path))
    assert first is not None and "has no segmentation" in str(first)
    assert second is not None and second.code == "input.archive"


def faults(folder, change):
    """The codes of errors and the text of warnings after ``change`` of a sound data set."""
    change(write_raw(folder / "raw"))
    report = check_cases(find_cases(folder / "raw"), modality_of(folder / "raw"))
    return [error.code for error in report.errors], " ".join([*map(str, report.errors), *report.warnings])


def image_with(change):
    def applied(raw):
        volume, _ = case(1)
        change(volume)
        write_volume(volume, raw / "imagesTr" / "c1_0000.nii.gz")

    return applied


def labels_with(change):
    def applied(raw):
        volume, labels = case(1)
        change(volume, labels)
        used = {int(v): NAMES.get(int(v), f"x{v}") for v in np.unique(labels) if v}
        write_label_map(label_map(volume, labels, used), raw / "labelsTr" / "c1.nii.gz")

    return applied


def shifted(volume):
    volume.ijk_to_ras[0, 3] += 3


def with_nan(raw, name="c1"):
    path = str(raw / "imagesTr" / f"{name}_0000.nii.gz")
    image = sitk.Cast(sitk.ReadImage(path), sitk.sitkFloat32)
    image[3, 3, 3] = float("nan")
    sitk.WriteImage(image, path)


def magnetic(volume):
    volume.array = np.abs(volume.array)


def coarse(volume, labels=None):
    volume.ijk_to_ras[2, 2] = 40.0


def one_voxel(volume, labels):
    labels[labels == 2] = 0
    labels[5, 5, 5] = 2


def same_as_first(volume):
    first, _ = case(0)
    volume.array[:] = first.array


def unknown_value(volume, labels):
    labels[0, 0, 0] = 7


def both_coarse(raw):
    image_with(coarse)(raw)
    labels_with(coarse)(raw)


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (image_with(shifted), "input.grid", "not on the grid"),
        (with_nan, "input.not_finite", "NaN"),
        (image_with(magnetic), "input.modality", "unlike others"),
        (image_with(same_as_first), "input.twice", "same image"),
        (labels_with(unknown_value), "input.labels", "the value 7"),
        (labels_with(one_voxel), None, "c1: spleen has only 1 labelled voxel:"),
        (labels_with(lambda v, a: a.fill(0)), None, "no labelled voxel"),
        (both_coarse, None, "slice distances range from 4 to 40 mm: check the headers of c0 and c1"),
    ],
)
def test_each_fault_is_a_sentence(tmp_path, change, code, sentence):
    codes, text = faults(tmp_path, change)
    assert codes == ([code] if code else []) and sentence in text


def test_a_table_in_a_folder_says_whose_the_cases_are(tmp_path):
    raw, table = write_raw(tmp_path / "raw", 4), tmp_path / "raw" / "patients.csv"
    assert {case.patient for case in find_cases(raw)} == {""}
    table.write_text("Case;Patient\nc0;MRN 7\n\nc2;MRN 8\nc3; MRN 7 \n", "utf-8-sig")  # as Excel writes it
    cases = find_cases(raw)
    assert [case.patient for case in cases] == [patient_key(own) for own in ("MRN 7", "", "MRN 8", "MRN 7")]
    assert check_cases(cases, "CT").patients == [["c0", "c3"], ["c1"], ["c2"]]
    pairs = tmp_path / "pairs"
    for place in ("images", "labels"):
        shutil.copytree(raw / f"{place}Tr", pairs / place)
    for image in (pairs / "images").iterdir():
        image.rename(image.with_name(image.name.replace("_0000", "")))
    shutil.copy(raw / "dataset.json", pairs)
    shutil.copy(table, pairs)
    assert [(case.name, case.patient) for case in find_cases(pairs)] == [(case.name, case.patient) for case in cases]
    for text, said in (
        ("case,patient\nc0,A\nc9,A\n", "Line 3 .*there is no case 'c9'"),
        ("case,patient\nc0,A\nc0,B\n", "gives the case c0 two patients"),
        ("case,sex\nc0,A\n", "no columns case and patient"),
    ):
        table.write_text(text, "utf-8")
        with pytest.raises(InputError, match=said):
            find_cases(raw)


def test_missing_partners_and_tables_are_told_before_a_voxel_is_read(tmp_path):
    raw = write_raw(tmp_path / "raw")
    (raw / "labelsTr" / "c1.nii.gz").rename(raw / "labelsTr" / "c9.nii.gz")
    with pytest.raises(InputError, match=r"1 case in .* without labels: c1"):
        find_cases(raw)
    (raw / "imagesTr" / "c1_0000.nii.gz").unlink()
    with pytest.raises(InputError, match="without an image: c9"):
        find_cases(raw)
    for labels in ('{"whole": [1, 2]}', '{"liver": "1"}', '{"liver": [[1]]}', '{"liver": -1}'):
        (raw / "dataset.json").write_text(f'{{"labels": {labels}}}', "utf-8")
        with pytest.raises(InputError, match="regions_class_order" if "whole" in labels else '"labels" must'):
            find_cases(raw)
    for labels in ('{"background": 0, "liver": 1, "spleen": 1}', '{"liver": 1, "spleen": 1}'):
        (raw / "dataset.json").write_text(f'{{"labels": {labels}}}', "utf-8")
        with pytest.raises(InputError, match="two names have the same value"):
            find_cases(raw)
    (raw / "dataset.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        find_cases(raw)
    (raw / "dataset.json").write_text('{"channel_names": {"0": "CT", "1": "PET"}, "labels": {}}', "utf-8")
    with pytest.raises(InputError, match=r"has the images 0000, but dataset\.json names 2 channels"):
        find_cases(raw)
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "absent", raw / "dataset.json"):
        with pytest.raises(InputError):
            find_cases(nothing)


def test_one_case_is_allowed_and_a_structure_that_nobody_has_is_left_out(tmp_path):
    cases = find_cases(write_raw(tmp_path / "raw", 1, {**NAMES, 3: "pancreas"}))
    report = check_cases(cases, "CT")
    assert report.structures == ["liver", "spleen"] and not report.errors
    assert (
        "There is one case" in report.warnings[-1]
        and "No case has a labelled voxel of pancreas: left" in report.warnings[0]
    )


def test_two_and_four_axes_are_refused(tmp_path):
    for shape in ((20, 20), (2, 9, 20, 20)):
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros(shape, np.int16), isVector=False), str(tmp_path / "a.nrrd"))
        error = look_at(CaseFiles("a", tmp_path / "a.nrrd", tmp_path / "a.nrrd")).error
        assert error is not None and error.code == "input.dimension"


def test_every_error_is_counted(tmp_path):
    raw = write_raw(tmp_path / "raw")
    for name in ("c0", "c1"):
        with_nan(raw, name)
    report = check_cases(find_cases(raw))
    assert not any("There is one case" in warning for warning in report.warnings), "one of three is left"
    with pytest.raises(InputError, match=r"There is 1 more error\.") as caught:
        report.raise_first()
    assert "c0: " in str(caught.value)
