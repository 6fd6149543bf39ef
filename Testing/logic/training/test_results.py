"""Results in any format are cases: for training, adapting and calibrating."""

import shutil

import dicom_series
import numpy as np
import pydicom
import pytest

from DeepSegLogic import Result, read_label_map, read_volume
from DeepSegLogic.adaptation.result_folder import corrected_results
from DeepSegLogic.cli.remedies import WORDS
from DeepSegLogic.io import write_label_map, write_volume
from DeepSegLogic.io.patients import patient_of
from DeepSegLogic.io.result_files import LABEL_MAP_FILES
from DeepSegLogic.results.folder import write_outputs
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.reading import read_case
from DeepSegLogic.util.errors import InputError
from DeepSegLogic.util.progress import ignore_progress, never_cancel

LISTED = {"progress": ignore_progress, "cancel": never_cancel}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A CT series, and a result of it for each format of a label map, and for all of them."""
    folder = tmp_path_factory.mktemp("results")
    ct = dicom_series.write_series(folder / "ct")
    volume = read_volume(ct)
    found = dicom_series.organs(volume.ijk_to_ras)
    facts = {"settings": {"structures": [s.name for s in found.structures]}, "model": {"id": "ct_demo"}}
    for name in (*LABEL_MAP_FILES, "all"):
        labels = [*LABEL_MAP_FILES] if name == "all" else [name]
        result = Result(found, {}, provenance=facts)
        write_outputs(folder / name, volume, result, source=ct, formats=[], labels=labels, **LISTED)
    return folder


@pytest.mark.parametrize("name", LABEL_MAP_FILES)
def test_a_result_in_any_format_is_a_case_with_the_same_labels(made, name):
    expected = read_label_map(made / "seg.nrrd")
    [files] = find_cases(made / name)
    assert files.image == made / "ct" and files.labels == made / name / LABEL_MAP_FILES[name]
    case = read_case(files)
    assert case.looked_for == {s.name for s in expected.structures}
    for structure in expected.structures:
        ours = np.isin(case.labels, case.structures.get(structure.name, ()))
        theirs = expected.array == structure.value
        if name == "rtstruct":  # contours do not give all voxels back
            assert 2 * (ours & theirs).sum() >= 0.95 * (ours.sum() + theirs.sum())
        else:
            assert np.array_equal(ours, theirs), structure.name
    assert not check_cases([files]).errors


def test_the_format_that_keeps_most_is_read_and_the_others_tell_what_was_corrected(made, tmp_path):
    shutil.copytree(made / "ct", tmp_path / "ct")
    folder = shutil.copytree(made / "all", tmp_path / "all")
    [result] = corrected_results(tmp_path / "all", tmp_path / "ct")
    assert result.labels.name == "segmentation.seg.nrrd" and result.model == "ct_demo"
    now = read_label_map(result.labels)
    first = now.structures[0]
    now.array[tuple(np.argwhere(now.array == first.value)[0])] = 0
    write_label_map(now, result.labels)
    volume = read_volume(tmp_path / "ct")
    assert result.corrected(now, volume) == [first.name]
    (folder / "segmentation.nii.gz").unlink()
    assert result.corrected(now, volume) == [first.name], "by the DICOM SEG"
    for name in ("dcm-seg", "dcm-labelmap"):
        (folder / LABEL_MAP_FILES[name]).unlink()
    assert result.corrected(now, volume) == [s.name for s in now.structures], "contours do not tell"


def test_a_copy_that_was_corrected_counts(made, tmp_path):
    """Not the file beside it, in the format that keeps most, which nobody changed."""
    shutil.copytree(made / "ct", tmp_path / "ct")
    copy = shutil.copytree(made / "all", tmp_path / "all") / "segmentation.nii.gz"
    now = read_label_map(copy)
    first = now.structures[0]
    now.array[tuple(np.argwhere(now.array == first.value)[0])] = 0
    write_label_map(now, copy)
    volume = read_volume(tmp_path / "ct")
    for [result] in (corrected_results(tmp_path / "all", tmp_path / "ct"), corrected_results(tmp_path)):
        assert result.labels == copy and result.corrected(read_label_map(copy), volume) == [first.name]
    [files] = find_cases(tmp_path)
    assert files.labels == copy


def test_another_image_is_not_what_was_segmented(made, tmp_path):
    shutil.copytree(made / "dcm-seg", tmp_path / "dcm-seg")
    with pytest.raises(InputError, match="is not there"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="is not there") as refused:
        corrected_results(tmp_path)
    assert "--image" in refused.value.remedy_in(WORDS) and "CSV" not in refused.value.remedy
    shutil.copytree(made / "ct", tmp_path / "ct")
    next((tmp_path / "ct").iterdir()).unlink()
    with pytest.raises(InputError, match="its digest differs"):
        find_cases(tmp_path)


def test_labels_without_empty_margins_are_placed_on_the_image(tmp_path):
    volume = read_volume(dicom_series.write_series(tmp_path / "ct"))
    found = dicom_series.organs(volume.ijk_to_ras)
    low, high = (edge(np.argwhere(found.array), 0) for edge in (np.min, np.max))
    cut = found.array[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))].copy()
    matrix = found.ijk_to_ras.copy()
    matrix[:3, 3] = (matrix @ [*low[::-1], 1])[:3]
    found_cut = type(found)(cut, matrix, found.structures)
    (tmp_path / "pairs").mkdir()
    write_volume(volume, tmp_path / "pairs" / "a.nii.gz")
    write_label_map(found_cut, tmp_path / "pairs" / "a.seg.nrrd")
    [files] = find_cases(tmp_path / "pairs")
    assert np.array_equal(read_case(files).labels, found.array)


def test_the_patient_of_a_case_is_that_of_its_dicom_series_unless_a_table_says_otherwise(tmp_path):
    volume = read_volume(dicom_series.write_series(tmp_path / "first"))
    dicom_series.write_series(tmp_path / "again", PatientID=" P1 ", StudyDate="20250102")
    dicom_series.write_series(tmp_path / "other", PatientID="P2")
    for number, left_out in enumerate(("", None)):
        dicom_series.write_series(tmp_path / f"unknown{number}", PatientID=left_out)
    for number, folder in enumerate(sorted(path for path in tmp_path.iterdir())):  # else the same image twice
        for path in folder.iterdir():
            slice_ = pydicom.dcmread(path)
            slice_.RescaleIntercept = number - 1024
            slice_.save_as(path)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "first")
    write_label_map(dicom_series.organs(volume.ijk_to_ras), tmp_path / "organs.seg.nrrd")
    images = ["again/IM000", "first/IM000", "other/IM000", "unknown0/IM000", "unknown1/IM000"]

    def patients(*rows):
        (tmp_path / "cases.csv").write_text("\n".join(["image,label,patient", *rows]), "utf-8")
        report = check_cases(find_cases(tmp_path / "cases.csv"))
        assert not report.errors and "P1" not in repr(report) and "P2" not in repr(report)
        place = {facts.files.name: facts.files.image.parent.name for facts in report.cases}
        return sorted(sorted(place[name] for name in own) for own in report.patients)

    expected = [["again", "first"], ["other"], ["unknown0"], ["unknown1"]]
    assert patients(*(f"{image},organs.seg.nrrd," for image in images)) == expected
    named = zip(images, ("A", "B", "A", "B", ""), strict=True)
    expected = [["again", "other"], ["first", "unknown0"], ["unknown1"]]
    assert patients(*(f"{image},organs.seg.nrrd,{patient}" for image, patient in named)) == expected
    assert patient_of(tmp_path / "packed.zip") == patient_of(tmp_path / "first") != patient_of(tmp_path / "other")
