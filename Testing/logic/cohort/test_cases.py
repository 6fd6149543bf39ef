"""Which volumes are found in folders, and how they are named."""

import shutil

import pytest
import SimpleITK as sitk

from DeepSegLogic.cohort import Case, find_cases
from DeepSegLogic.errors import InputError


@pytest.fixture
def make(tmp_path):
    def file(name):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        return path

    return file


def named(cases, root):
    return {case.name: case.source.relative_to(root).as_posix() for case in cases}


def test_a_tree_of_files(make, tmp_path):
    for name in ("s1/ct.nii.gz", "s1/ct.seg.nrrd", "s2/CT scan.NRRD", "s2/notes.txt", "s2/.hidden.nii", "b.mha"):
        make(name)
    make(".cache/old.nii.gz")
    root = tmp_path / "in"
    expected = {"b": "b.mha", "s1/ct": "s1/ct.nii.gz", "s2/CT scan": "s2/CT scan.NRRD"}
    assert named(find_cases([root]), root) == expected


def test_a_folder_of_slices_is_one_case(make, tmp_path):
    slice_ = sitk.Image(8, 8, sitk.sitkInt16)
    for number in range(3):
        sitk.WriteImage(slice_, str(make(f"patient/ct/{number}.dcm")))
    root = tmp_path / "in"
    assert named(find_cases([root]), root) == {"patient/ct": "patient/ct"}
    assert named(find_cases([root / "patient" / "ct"]), root) == {"ct": "patient/ct"}


def test_names_that_would_be_the_same_keep_their_suffix(make, tmp_path):
    for name in ("a.nii", "A.nii.gz", "b.nii"):
        make(name)
    assert [case.name for case in find_cases([tmp_path / "in"])] == ["A.nii.gz", "a.nii", "b"]
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(tmp_path / "in" / "b.nii", other)
    with pytest.raises(InputError, match=r"same name: b\.nii"):
        find_cases([tmp_path / "in", other])


def test_only_what_matches_and_not_the_results(make, tmp_path):
    for name in ("s1/ct.nii.gz", "s1/liver.nii.gz", "out/s1/ct/ct.nii.gz"):
        make(name)
    root = tmp_path / "in"
    assert named(find_cases([root], "*/ct.nii.gz", leave_out=root / "out"), root) == {"s1/ct": "s1/ct.nii.gz"}


def test_a_file_is_taken_as_it_is(make):
    path = make("odd.seg.nrrd")
    assert find_cases([path]) == [Case("odd.seg", path)]


@pytest.mark.parametrize(("match", "said"), [("", "no volumes"), ("*/ct.nii", r"match \*/ct\.nii")])
def test_nothing_there(tmp_path, match, said):
    with pytest.raises(InputError, match=said):
        find_cases([tmp_path], match)
    with pytest.raises(InputError, match="does not exist"):
        find_cases([tmp_path / "no"], match)
