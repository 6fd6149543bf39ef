"""``deepseg what``, and the same line before a run and in a cohort."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic import LabelMap, Structure, Volume, read_volume, write_label_map, write_volume
from DeepSegLogic.cli import main
from DeepSegLogic.cohort.case import Settings, _elsewhere, segment_case
from DeepSegLogic.cohort.cases import Case
from DeepSegLogic.cohort.signals import Signals
from DeepSegLogic.models import find_model


def events(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_sentences_and_a_picture(chest_ct, tmp_path, capfd):
    assert main(["what", str(chest_ct), "--picture", str(tmp_path / "body.png")]) == 0
    told = capfd.readouterr()
    assert "chest, abdomen\n" in told.out and told.out.startswith("CT: Shows ") and "Research use only." in told.out
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "body.png"))).shape == (200, 90, 4)


def test_json_and_the_phase_by_structures(tmp_path, capfd):
    array = np.full((40, 60, 60), -1000, np.int16)
    array[:, 10:50, 10:50], labels = 50, np.zeros((40, 60, 60), np.uint8)
    labels[:, 20:25, 20:25] = 1
    array[labels == 1] = 300
    array[:, 30:34, 30:34], labels[:, 30:34, 30:34] = 90, 2
    matrix = np.diag([5.0, 5.0, 5.0, 1.0])
    structures = [Structure(1, "aorta"), Structure(2, "inferior_vena_cava")]
    write_volume(Volume(array, matrix), tmp_path / "ct.nrrd")
    write_label_map(LabelMap(labels, matrix, structures), tmp_path / "organs.seg.nrrd")
    arguments = ["what", str(tmp_path / "ct.nrrd"), "--labels", str(tmp_path / "organs.seg.nrrd"), "--json"]
    assert main(arguments) == 0
    result = events(capfd)[-1]
    assert result["event"] == "result" and result["phase_by_structures"] == "arterial"
    assert {"modality", "regions", "parts", "flips"} <= set(result)


def test_what_cannot_be_told(tmp_path, capfd):
    noise = np.random.default_rng(0).normal(0, 200, (30, 40, 40)).astype(np.int16)
    write_volume(Volume(noise, np.diag([5.0, 5, 5, 1])), tmp_path / "noise.nrrd")
    assert main(["what", str(tmp_path / "noise.nrrd")]) == 0
    assert "unknown region" in capfd.readouterr().out
    assert main(["what", str(tmp_path / "gone.nrrd")]) == 3


def test_a_cohort_skips_other_parts_of_the_body_on_request(chest_ct, tmp_path):
    settings = Settings(tmp_path / "out", "ct_demo", ["femur_left", "hip_right"], skip_elsewhere=True)
    outcome = segment_case(Case("chest", chest_ct), settings, Signals(tmp_path), 0)
    assert outcome.status == "skipped" and "chest" in outcome.sentences[0], outcome
    assert not (tmp_path / "out" / "chest").exists()
    volume, card = read_volume(chest_ct), find_model("ct_demo")
    assert _elsewhere(volume, card, ["liver"]) == "" and _elsewhere(volume, card, None) == ""


@pytest.mark.parametrize("command", ["estimate"])
def test_other_commands_tell_it_first(command, chest_ct, capfd):
    assert main([command, str(chest_ct), "--quality", "draft", "--device", "cpu"]) == 0
    assert "chest, abdomen\n" in capfd.readouterr().out
