"""Which prediction is compared with which reference."""

import pytest

from DeepSegLogic import InputError
from DeepSegLogic.evaluation.cases import find_pairs


def made(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(*sides, **options):
    pairs = find_pairs(*sides, **options)
    root = sides[0].parent if sides[0].is_file() else sides[0]
    other = sides[1].parent if sides[1].is_file() else sides[1]
    named = {
        p.name: (p.prediction.relative_to(root).as_posix(), p.reference.relative_to(other).as_posix())
        for p in pairs.pairs
    }
    return named, pairs.only_prediction, pairs.only_reference


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "predictions", tmp_path / "references"


def test_two_files_are_a_case_whatever_their_names(folders):
    a, b = made(folders[0], "a.seg.nrrd") / "a.seg.nrrd", made(folders[1], "truth.nii.gz") / "truth.nii.gz"
    assert found(a, b) == ({"a": ("a.seg.nrrd", "truth.nii.gz")}, [], [])


def test_a_folder_of_results_is_one_case(folders):
    made(folders[0], "segmentation.seg.nrrd", "segmentation.nii.gz", "uncertainty.nii.gz")
    reference = made(folders[1], "labels.nii.gz") / "labels.nii.gz"
    assert found(folders[0], reference)[0] == {"predictions": ("segmentation.seg.nrrd", "labels.nii.gz")}


def test_folders_are_matched_by_name(folders):
    made(folders[0], "one.nii.gz", "sub/two.seg.nrrd", "three.nii", "notes.txt", ".hidden.nii.gz")
    made(folders[1], "one.seg.nrrd", "sub/two.nii.gz", "four.nrrd")
    named, only_prediction, only_reference = found(*folders)
    assert named == {"one": ("one.nii.gz", "one.seg.nrrd"), "sub/two": ("sub/two.seg.nrrd", "sub/two.nii.gz")}
    assert (only_prediction, only_reference) == (["three"], ["four"])


def test_a_cohort_is_matched_with_a_folder_per_case(folders):
    made(folders[0], *(f"{n}/ct/segmentation.{kind}" for n in ("s1", "s2") for kind in ("seg.nrrd", "nii.gz")))
    made(folders[1], "s1/labels.nii.gz", "s1/ct.nii.gz", "s2/labels.nii.gz", "s2/ct.nii.gz")
    named, *rest = found(*folders, match="*/labels.nii.gz")
    assert named == {n: (f"{n}/ct/segmentation.seg.nrrd", f"{n}/labels.nii.gz") for n in ("s1", "s2")}
    assert rest == [[], []]


def test_nnunets_channel_is_no_part_of_the_name(folders):
    made(folders[0], "case_7_0000/segmentation.seg.nrrd", "case_8_0000/segmentation.seg.nrrd")
    made(folders[1], "case_7.nii.gz", "case_8.nii.gz")
    assert set(found(*folders)[0]) == {"case_7", "case_8"}


def test_two_candidates_are_no_match(folders):
    """Never a guess: either scan of the folder could be meant."""
    made(folders[0], "s1/a.nii.gz", "s1/b.nii.gz", "x.nii.gz")
    made(folders[1], "s1/labels.nii.gz", "x.nii.gz")
    assert found(*folders) == ({"x": ("x.nii.gz", "x.nii.gz")}, ["s1/a", "s1/b"], ["s1/labels"])


def test_different_cases_are_never_paired(folders):
    """What is left over when the others have found each other is no match."""
    made(folders[0], "case_0001.nii.gz", "case_0002.nii.gz", "s1/liver.nii.gz", "s1/spleen.nii.gz")
    made(folders[1], "case_0002.nii.gz", "case_0003.nii.gz", "s1/liver.nii.gz", "s1/kidney.nii.gz")
    named, *rest = found(*folders)
    assert set(named) == {"case_0002", "s1/liver"}
    assert rest == [["case_0001", "s1/spleen"], ["case_0003", "s1/kidney"]]


@pytest.mark.parametrize("case", ["no names", "no files", "no folder"])
def test_what_cannot_be_matched_is_an_error(folders, case):
    made(folders[0], "a.nii.gz")
    if case == "no names":
        made(folders[1], "b.nii.gz", "c.nii.gz")
    elif case == "no files":
        made(folders[1], "readme.txt")
    with pytest.raises(InputError) as error:
        find_pairs(*folders)
    assert error.value.remedy and str(folders[1]) in error.value.message
