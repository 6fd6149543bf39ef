"""Which volumes are found in folders, and how they are named."""

import shutil

import pytest
import SimpleITK as sitk
from pydicom.uid import UID

from DeepSegLogic.cohort import Case, find_cases
from DeepSegLogic.io import read_volume
from DeepSegLogic.models.provenance import identity
from DeepSegLogic.util.errors import InputError
from Testing.logic.io.test_cases import CASES
from Testing.logic.io.test_dicom import write_slice


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


@pytest.mark.parametrize("tag", ["PatientID", "PatientName", "StudyInstanceUID"])
def test_patients_in_one_flat_folder_are_told_apart(tmp_path, tag):
    """Also where an anonymiser removed what usually does; a slice without it belongs to its series."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, count in (("a", 5), ("b", 4)):
        for k in range(count):
            tags = {"SeriesInstanceUID": f"1.2.{count}"} | (
                {} if k == 2 and tag == "PatientID" else {tag: f"1.{count}"}
            )
            write_slice(folder / f"{name}{k}", k, 2.0 * k, **tags)
    assert named(find_cases([folder]), folder) == {"a0": "a0", "b0": "b0"}
    assert [read_volume(case.source).shape_kji[0] for case in find_cases([folder])] == [5, 4]


def test_the_index_of_a_cd_is_no_case(tmp_path):
    for k in range(6):
        folder = tmp_path / "CD" / f"DIR{k // 3}"
        folder.mkdir(parents=True, exist_ok=True)
        write_slice(folder / f"{k % 3}", k, 2.0 * k, SeriesInstanceUID="1.2.3")
    (tmp_path / "CD" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    cases = find_cases([tmp_path / "CD"])
    assert [read_volume(case.source).shape_kji[0] for case in cases] == [6]


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


def slices(folder, count, first=0, uid="1.2.840.10008.5.1.4.1.1.2", **tags):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(first, first + count):
        d = write_slice(folder / f"{tags.get('PatientID', 's')}_{k:03d}.dcm", k % 8, 2.5 * k, **tags)
        d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = UID(uid)
        d.save_as(folder / f"{tags.get('PatientID', 's')}_{k:03d}.dcm")


@pytest.mark.parametrize("part", ["66.4", "481.3", "88.33", "88.59", "11.1"])
def test_objects_beside_a_ct_are_no_cases(tmp_path, part):
    slices(tmp_path / "in" / "p" / "CT", 3, PatientID="P")
    slices(tmp_path / "in" / "p" / "other", 1, uid=f"1.2.840.10008.5.1.4.1.1.{part}", PatientID="P")
    assert [case.name for case in find_cases([tmp_path / "in"])] == ["p/CT"]


def test_two_patients_in_one_folder_are_two_cases(tmp_path):
    slices(tmp_path / "in" / "all", 5, PatientID="P1", SeriesInstanceUID="1.1")
    slices(tmp_path / "in" / "all", 4, PatientID="P2", SeriesInstanceUID="1.2")
    slices(tmp_path / "in" / "all", 2, 9, PatientID="P2", SeriesInstanceUID="1.3")
    cases = find_cases([tmp_path / "in"])
    assert [case.name for case in cases] == ["all/P1_000", "all/P2_000"]
    assert [read_volume(case.source).shape_kji[0] for case in cases] == [5, 4]


def test_folders_of_one_series_are_one_case(tmp_path):
    for k in range(3):
        slices(tmp_path / "cd" / "IMAGES" / f"DIR{k}", 3, 3 * k, PatientID="P1", SeriesInstanceUID="1.1")
    slices(tmp_path / "cd" / "other", 3, PatientID="P2", SeriesInstanceUID="1.4")
    cases = find_cases([tmp_path / "cd"])
    assert [case.name for case in cases] == ["IMAGES", "other"]
    assert read_volume(cases[0].source).shape_kji[0] == 9
    slices(tmp_path / "cd" / "IMAGES" / "DIR9", 3, PatientID="P3", SeriesInstanceUID="1.5")
    cases = find_cases([tmp_path / "cd"])
    assert [case.name for case in cases] == ["IMAGES/DIR0/P1_000", "IMAGES/DIR9", "other"]
    assert read_volume(cases[0].source).shape_kji[0] == 9


def test_the_cohorts_in_the_cases():
    if not CASES.is_dir():
        pytest.skip("needs the cases in ../shared/cases, which are not beside this checkout")
    tcia = find_cases([CASES / "60-cohort-tcia" / "in"])
    assert [case.name for case in tcia] == ["LUNG1-001/study/CT 000000", "LUNG1-002/study/CT 000000"]
    assert [read_volume(case.source).shape_kji for case in tcia] == [(12, 64, 64)] * 2
    flat = find_cases([CASES / "62-cohort-two-patients-flat" / "in"])
    assert [read_volume(case.source).shape_kji[0] for case in flat] == [12, 9]
    assert len(find_cases([CASES / "16b-split-folders" / "in"])) == 1


def test_a_case_given_by_a_slice_is_known_by_its_whole_series(tmp_path):
    slices(tmp_path / "in", 3, PatientID="P1", SeriesInstanceUID="1.1")
    first = tmp_path / "in" / "P1_000.dcm"
    before = identity(first)
    slices(tmp_path / "in", 1, 2, PatientID="P1", SeriesInstanceUID="1.1", SeriesDescription="changed")
    assert identity(first)["digest"] != before["digest"]
