"""``deepseg stress`` with the bundled model on a part of the real chest CT."""

import csv
import json

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Volume, read_label_map, read_volume, write_label_map, write_volume
from DeepSegLogic.cli import main
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.evaluation.perturbations import PERTURBATIONS


@pytest.fixture
def case(chest_ct, chest_segmentation, tmp_path):
    """The chest in voxels of 6 × 6 × 10 mm, with the lungs named as the model names them."""
    ct, organs = read_volume(chest_ct), read_label_map(chest_segmentation)
    coarse = (slice(None), slice(None, None, 2), slice(None, None, 2))
    matrix = ct.ijk_to_ras @ np.diag([2.0, 2.0, 1.0, 1.0])
    write_volume(Volume(np.ascontiguousarray(ct.array[coarse]), matrix), tmp_path / "ct.nrrd")
    names = {organs.structure(f"{side}_lung").value: f"lung_{side}" for side in ("left", "right")}
    array = np.where(np.isin(organs.array, list(names)), organs.array, 0)[coarse]
    lungs = LabelMap(np.ascontiguousarray(array), matrix, [structure_for(n, v) for v, n in names.items()])
    write_label_map(lungs, tmp_path / "lungs.seg.nrrd")
    return tmp_path / "ct.nrrd", tmp_path / "lungs.seg.nrrd"


def test_the_drop_of_the_bundled_model(case, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.evaluation.stress.PERTURBATIONS", PERTURBATIONS[:1])
    options = ["-s", "lung_left,lung_right", "--quality", "draft", "--device", "cpu", "--json"]
    assert main(["stress", *map(str, case), "-o", str(tmp_path / "stress.csv"), *options]) == 0
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    rows = {(row["perturbation"], row["level"]): row for row in event["perturbations"]}
    assert len(rows) == 3
    assert rows["Noise", 20]["dice"] > 0.8 and abs(rows["Noise", 20]["drop"]) < 0.1
    table = list(csv.DictReader((tmp_path / "stress.csv").read_text("utf-8").splitlines()))
    assert {row["structure"] for row in table} == {"lung_left", "lung_right"} and len(table) == 6
