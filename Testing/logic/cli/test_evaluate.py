"""``deepseg evaluate`` on the real chest CT's segmentation."""

import csv
import json

import numpy as np
import pytest

from DeepSegLogic import LabelMap, read_label_map, write_label_map
from DeepSegLogic.cli import main


@pytest.fixture(scope="module")
def folders(chest_segmentation, tmp_path_factory):
    """Three cases; the predictions are moved by 0, 1 and 2 voxels of 3 mm."""
    folder = tmp_path_factory.mktemp("evaluate")
    truth = read_label_map(chest_segmentation)
    lungs = [s for s in truth.structures if "lung" in s.name]
    array = np.where(np.isin(truth.array, [s.value for s in lungs]), truth.array, 0)
    for n in range(3):
        moved = np.ascontiguousarray(np.roll(array, n, 2))
        write_label_map(LabelMap(moved, truth.ijk_to_ras, lungs), folder / "predictions" / f"case_{n}.nii.gz")
        write_label_map(LabelMap(array, truth.ijk_to_ras, lungs), folder / "references" / f"case_{n}.seg.nrrd")
    write_label_map(LabelMap(array, truth.ijk_to_ras, lungs), folder / "references" / "case_9.seg.nrrd")
    (folder / "groups.csv").write_text("case,scanner\ncase_0,A\ncase_1,A\ncase_2,B\n", "utf-8")
    return folder


def test_people_get_a_table_and_a_report(folders, tmp_path, capfd):
    out = tmp_path / "out"
    sides = [str(folders / side) for side in ("predictions", "references")]
    assert main(["evaluate", *sides, "-o", str(out), "--groups", str(folders / "groups.csv")]) == 0
    printed = capfd.readouterr()
    assert "left lung" in printed.out and "All" in printed.out and "Largest gap" in printed.out
    assert "Cases only in the reference: case_9." in printed.err
    assert sorted(p.name for p in out.iterdir()) == ["metrics.csv", "report.html", "summary.json"]
    rows = list(csv.DictReader((out / "metrics.csv").read_text("utf-8").splitlines()))
    dice = {(row["case"], row["structure"]): float(row["dice"]) for row in rows}
    assert dice["case_0", "left lung"] == 1 > dice["case_1", "left lung"] > dice["case_2", "left lung"]
    assert "<svg" in (out / "report.html").read_text("utf-8")


def test_a_table_in_a_file_or_pipe_is_not_cut(folders, monkeypatch, capfd):
    """As narrow as the terminal may be that the program was started in."""
    sides = [str(folders / side) for side in ("predictions", "references")]
    printed = []
    for width in ("300", "40"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(["evaluate", *sides]) == 0
        printed.append(capfd.readouterr().out)
    assert "Surface" in printed[0] and printed[0] == printed[1]


def test_programs_get_an_event(folders, capfd):
    case = [str(folders / "predictions" / "case_1.nii.gz"), str(folders / "references" / "case_1.seg.nrrd")]
    assert main(["evaluate", *case, "-s", "left_lung", "--tolerance-mm", "2", "--json"]) == 0
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert event["event"] == "result" and event["files"] == []
    assert event["thresholds"]["tolerance_mm"] == 2
    assert list(event["means"]) == ["left_lung", "all structures"]
    assert 0.9 < event["means"]["left_lung"]["dice"]["mean"] < 1


def test_a_failed_case_is_told_at_the_end(folders, tmp_path, capfd):
    for side in ("predictions", "references"):
        (tmp_path / side).mkdir()
        for file in (folders / side).glob("case_[01].*"):
            (tmp_path / side / file.name).write_bytes(file.read_bytes())
    (tmp_path / "predictions" / "case_1.nii.gz").write_bytes(b"no image")
    assert main(["evaluate", str(tmp_path / "predictions"), str(tmp_path / "references")]) == 1
    printed = capfd.readouterr()
    assert "case_1 was not compared" in printed.err and "left lung" in printed.out


def test_other_grids_are_an_input_error(folders, chest_segmentation, tmp_path, capfd):
    whole = read_label_map(chest_segmentation)
    other = tmp_path / "other.nii.gz"
    write_label_map(LabelMap(whole.array, whole.ijk_to_ras @ np.diag([1, 1, 1.1, 1]), whole.structures), other)
    assert main(["evaluate", str(other), str(chest_segmentation), "-o", str(tmp_path / "out")]) == 3
    assert "not on the grid" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
