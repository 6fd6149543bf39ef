"""``deepseg measure``: numbers of the planning room, in sentences and as JSON."""

import json
import re

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, Volume, write_label_map, write_volume
from DeepSegLogic.cli import main


@pytest.fixture
def segmentation(tmp_path):
    """Two boxes 8 mm apart, on a volume whose border cuts the vein."""
    array = np.zeros((30, 20, 40), np.uint8)
    array[8:20, 4:16, 6:16], array[4:, 4:16, 24:34] = 1, 2
    structures = [Structure(1, "liver_tumor", "Liver tumor"), Structure(2, "portal_vein", "Portal vein")]
    write_label_map(LabelMap(array, np.eye(4), structures), tmp_path / "organs.seg.nrrd")
    return str(tmp_path / "organs.seg.nrrd")


def test_a_distance_by_names_titles_or_values(segmentation, capfd):
    for pair in ("liver_tumor,portal_vein", "Liver tumor, Portal vein", "1,2"):
        assert main(["measure", segmentation, "--distance", pair, "--json"]) == 0
        events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert events[0]["event"] == "warning" and "Portal vein is cut" in events[0]["message"]
        result = events[-1]
        assert (result["event"], result["measure"]) == ("result", "distance")
        assert result["distance_mm"] == pytest.approx(8, abs=0.5)
        (a, *_), (b, *_) = result["points_ras"]
        assert b - a == pytest.approx(result["distance_mm"], abs=1e-3)
        assert result["notes"] == ["Portal vein is cut by the border of the volume."]


def test_sentences_for_people(segmentation, capfd):
    arguments = ["--distance", "1,2", "--contact", "1,2", "--encasement", "1,2", "--within-mm", "9", "--diameters", "1"]
    arguments += ["--vessel", "2"]
    assert main(["measure", segmentation, *arguments]) == 0
    text = capfd.readouterr().out
    assert "Liver tumor to Portal vein: 8." in text or "Liver tumor to Portal vein: 7." in text
    assert "within 9 mm of Portal vein" in text and "encases" in text
    assert re.search(r"Liver tumor: longest diameter \S+ mm, across it \S+ mm\.", text)
    least, most = map(
        float, re.search(r"Portal vein: diameter (\S+) to (\S+) mm, median \S+ mm, along ", text).groups()
    )
    assert 9.8 <= least <= most <= 10.1  # a box, 10 mm wide


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--distance", "1"], 2, "does not name two structures"),
        (["--distance", "1,spleen"], 2, "no structure named 'spleen'"),
        (["--contact", "1,2", "--within-mm", "-1"], 2, "--within-mm"),
    ],
)
def test_what_cannot_be_measured_is_refused(segmentation, capfd, arguments, code, said):
    assert main(["measure", segmentation, *arguments]) == code
    assert said in capfd.readouterr().err


def test_without_options_volumes_are_measured(segmentation, tmp_path, capfd):
    assert main(["measure", segmentation]) == 0
    told = capfd.readouterr().out
    assert re.search(r"Liver tumor *│ *1\.4 ", told) and re.search(r"Portal vein *│ *≥ 3\.1 ", told)
    assert "Mean HU" not in told and "≥: cut by" in told
    hu = np.arange(30 * 20 * 40, dtype=np.int16).reshape(30, 20, 40)
    write_volume(Volume(hu, np.eye(4)), tmp_path / "ct.nii.gz")
    assert main(["measure", segmentation, "--image", str(tmp_path / "ct.nii.gz"), "--json"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    tumor, vein = result["structures"]
    assert result["measure"] == "volumes" and (tumor["name"], tumor["volume_ml"]) == ("liver_tumor", 1.44)
    assert tumor["mean_hu"] == pytest.approx(hu[8:20, 4:16, 6:16].mean()) and vein["cut"] and not tumor["cut"]


def test_what_lies_outside_the_ct_is_told(segmentation, tmp_path, capfd):
    """Else the vein would just be missing."""
    hu = np.arange(30 * 20 * 40, dtype=np.int16).reshape(30, 20, 40)
    for columns, told in ((20, ["A part of the segmentation lies outside the CT. It is left out."]), (40, [])):
        write_volume(Volume(hu[:, :, :columns], np.eye(4)), tmp_path / "ct.nii.gz")
        assert main(["measure", segmentation, "--image", str(tmp_path / "ct.nii.gz"), "--json"]) == 0
        events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert [event["message"] for event in events if event["event"] == "warning"] == told
        assert [one["voxels"] > 0 for one in events[-1]["structures"]] == [True, not told]


def test_features_and_body_composition(tmp_path, capsys):
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 30, 30), np.uint8)
    labels[:, 5:25, 5:25] = 1
    hu = rng.integers(-250, 250, labels.shape).astype(np.int16)
    grid = np.diag([2.0, 2.0, 3.0, 1.0])
    write_label_map(LabelMap(labels, grid, [Structure(1, "muscle", "Muscle")]), tmp_path / "s.seg.nrrd")
    write_volume(Volume(hu, grid), tmp_path / "ct.nii.gz")
    line = ["measure", str(tmp_path / "s.seg.nrrd"), "--features", "--body-composition"]
    assert main(line) == 2 and "Give --image" in capsys.readouterr().err
    assert main([*line, "--image", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out")]) == 0
    muscle = (labels == 1) & (hu >= -29) & (hu <= 150)
    assert f"muscle, whole scan: ≥ {muscle.sum() * 0.012:.1f} ml, {hu[muscle].mean():.0f} HU" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["body_composition.csv", "features.csv"]
    write_volume(Volume(hu[:, :, ::2].copy(), np.diag([4.0, 2.0, 3.0, 1.0])), tmp_path / "other.nii.gz")
    assert main([*line, "--image", str(tmp_path / "other.nii.gz"), "-o", str(tmp_path / "out")]) == 3
