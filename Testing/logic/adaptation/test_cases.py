"""Corrected cases on disk: private, complete or not there, and refused with a reason."""

import json
import os
import stat
from dataclasses import replace

import dicom_series
import numpy as np
import pytest

from DeepSegLogic.adaptation import cases as module
from DeepSegLogic.adaptation.cases import CorrectedCases, collected_models
from DeepSegLogic.data.label_map import LabelMap, Structure, changed_structures
from DeepSegLogic.data.volume import Volume, volume_digest
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.util.errors import InputError, ModelError, OutputError, ResourceError, UsageError

from ..training import phantom
from .conftest import add_case


@pytest.fixture
def cases(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    return CorrectedCases("ct_demo", tmp_path / "corrections")


def test_what_is_collected_comes_back_until_it_is_removed(cases):
    volume, labels = phantom.case(1)
    case = cases.add(volume, phantom.label_map(volume, labels), ["Spleen"])
    assert cases.all() == [case] and case.structures == ("spleen",) and case.damage == ""
    assert case.digest == volume_digest(volume) and case.name == "case_1"
    assert np.array_equal(read_volume(case.files.image).array, volume.array)
    kept = read_label_map(case.files.labels)
    assert [s.name for s in kept.structures] == ["spleen"], "what nobody vouches for is not kept"
    assert np.array_equal(kept.array == kept.structure("spleen").value, labels == 2)
    assert collected_models(cases.folder.parent) == ["ct_demo"]
    cases.remove(case.digest[:12])
    assert not cases.all() and not list((cases.folder / "cases").iterdir())


def test_a_second_correction_of_an_image_replaces_the_first(cases):
    add_case(cases, 1)
    add_case(cases, 1, ["liver", "spleen"])
    assert [case.structures for case in cases.all()] == [("liver", "spleen")]


def test_the_patient_is_that_of_the_dicom_series_unless_somebody_says_otherwise(cases, tmp_path):
    def patient_of(folder, said="", **tags):
        volume = read_volume(dicom_series.write_series(tmp_path / folder, **tags))
        voxels = np.zeros(volume.array.shape, np.uint8)
        label_map = LabelMap(voxels, volume.ijk_to_ras, [Structure(1, "liver", "Liver")])
        case = cases.add(volume, label_map, patient=said)
        assert cases.all() == [case] and "MRN7" not in (case.folder / "case.json").read_text("utf-8")
        return case.files.patient

    ours = patient_of("first", PatientID="MRN7")
    assert ours == patient_of("again", PatientID=" MRN7 ") == patient_of("named", "MRN7") != ""
    assert patient_of("other", PatientID="P2") not in ("", ours)
    assert patient_of("corrected", "MRN7", PatientID="P2") == ours
    volume, labels = phantom.case(1)
    volume.source = str(tmp_path / "gone")
    assert cases.add(volume, phantom.label_map(volume, labels)).patient == ""
    facts = json.loads((case := cases.all()[-1]).folder.joinpath("case.json").read_text("utf-8"))
    del facts["patient"]  # collected by an earlier version of DeepSeg
    (case.folder / "case.json").write_text(json.dumps(facts), "utf-8")
    assert cases.all()[-1] == replace(case, size_bytes=cases.all()[-1].size_bytes) and not case.damage


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_nobody_else_may_read_them(cases):
    case = add_case(cases, 1)
    for folder in (cases.folder, cases.folder / "cases", case.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_bad_input_is_refused_and_nothing_is_written(cases, monkeypatch):
    volume, labels = phantom.case(1)
    good = phantom.label_map(volume, labels)
    moved = replace(good, ijk_to_ras=good.ijk_to_ras @ np.diag([1, 1, 1.5, 1]))
    for wrong, structures, error, word in (
        (moved, None, InputError, "grid"),
        (replace(good, array=labels[:-1]), None, InputError, "grid"),
        (good, ["pancreas"], UsageError, "pancreas"),
        (good, [], UsageError, "nothing to learn"),
    ):
        with pytest.raises(error, match=word):
            cases.add(volume, wrong, structures)
    broken = Volume(np.full(volume.array.shape, np.nan, np.float32), volume.ijk_to_ras)
    with pytest.raises(InputError):
        cases.add(broken, good)
    monkeypatch.setattr(module, "MOST_CASES", 1)
    add_case(cases, 1)
    add_case(cases, 1)
    with pytest.raises(UsageError, match="Remove some"):
        add_case(cases, 2)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ResourceError, match="full"):
        add_case(cases, 1)
    assert [case.name for case in cases.all()] == ["case_1"]
    for digest in ("", "00", "sha256:"):
        with pytest.raises(UsageError):
            cases.remove(digest)


def test_a_write_that_fails_leaves_the_case_as_it_was(cases, monkeypatch):
    before = add_case(cases, 1)

    def full(label_map, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("DeepSegLogic.io.write.write_label_map", full)
    with pytest.raises(OutputError, match="disk is full"):
        add_case(cases, 1, ["liver"])
    assert cases.all() == [before] and len(list((cases.folder / "cases").iterdir())) == 1


@pytest.mark.parametrize("file", ["image.nrrd", "labels.seg.nrrd", "case.json"])
def test_a_case_without_a_file_is_listed_named_and_removable(cases, file):
    (add_case(cases, 1).folder / file).unlink()
    case = cases.all()[0]
    assert file in case.damage
    with pytest.raises(InputError, match=f"{file} is missing"):
        cases.usable()
    cases.remove(case.digest)
    assert not cases.all()


def test_links_and_forged_facts_are_not_followed(cases, tmp_path):
    case = add_case(cases, 1)
    facts = json.loads((case.folder / "case.json").read_text("utf-8"))
    for wrong in ("[]", "{", json.dumps({**facts, "structures": [1]}), json.dumps({**facts, "structures": []})):
        (case.folder / "case.json").write_text(wrong, "utf-8")
        assert cases.all()[0].damage
    (case.folder / "case.json").write_text(json.dumps(facts), "utf-8")
    (case.folder / "image.nrrd").unlink()
    (case.folder / "image.nrrd").symlink_to("/etc/passwd")
    assert "link" in cases.all()[0].damage
    (cases.folder / "cases" / "elsewhere").symlink_to(tmp_path)
    assert len(cases.all()) == 1


def test_no_cases_and_models_that_cannot_learn_are_told(cases, tmp_path):
    with pytest.raises(InputError, match="no corrected cases") as caught:
        cases.usable()
    assert caught.value.action == "collect_case" and caught.value.details == {"model": "ct_demo"}
    with pytest.raises(ModelError, match="no model"):
        CorrectedCases("nothing_like_it", tmp_path)


def test_cases_of_a_deleted_model_can_still_be_removed(cases, tmp_path):
    add_case(cases, 1)
    cases.folder.rename(cases.folder.with_name("gone"))
    left = CorrectedCases("gone", tmp_path / "corrections")
    left.remove(left.all()[0].digest)
    assert not left.all()


def test_what_a_correction_changed():
    before = LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4), [Structure(v, n, n) for v, n in enumerate("abc", 1)])
    before.array[0], before.array[1], before.array[2] = 1, 2, 3
    after = replace(before, array=before.array.copy(), structures=[*before.structures, Structure(4, "d", "d")])
    assert changed_structures(before, before) == []
    assert changed_structures(before, after) == ["d"]
    after.array[0, 0] = 2
    assert changed_structures(before, after) == ["a", "b", "d"]
