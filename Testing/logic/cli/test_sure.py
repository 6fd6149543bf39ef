"""``deepseg explain``, ``disagree`` and ``calibrate`` with the bundled model on a small part of the real chest CT."""

import csv
import json
import shutil

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, Volume, read_label_map, read_volume, write_label_map, write_volume
from DeepSegLogic.cli import main
from DeepSegLogic.models import ModelCard
from DeepSegLogic.models.find import find_model


@pytest.fixture(scope="module")
def chest(chest_ct, tmp_path_factory):
    """The chest in voxels of 6 × 6 × 10 mm."""
    ct = read_volume(chest_ct)
    matrix = ct.ijk_to_ras @ np.diag([2.0, 2.0, 1.0, 1.0])
    path = tmp_path_factory.mktemp("chest") / "ct.nrrd"
    write_volume(Volume(np.ascontiguousarray(ct.array[8:28, ::2, ::2]), matrix, modality="CT"), path)
    return path


def event(capfd):
    return json.loads(capfd.readouterr().out.splitlines()[-1])


def test_a_map_is_written_where_the_volume_is(chest, tmp_path, capfd):
    out, ct = tmp_path / "why.nii.gz", read_volume(chest)
    middle = (ct.ijk_to_ras @ [*(np.array(ct.shape_ijk) // 2), 1])[:3]
    at = ",".join(f"{x:.1f}" for x in middle)
    options = ["--structure", "Left lung", "--at", at, "-o", str(out), "--device", "cpu", "--json"]
    assert main(["explain", str(chest), *options]) == 0
    told, found = event(capfd), read_volume(out)
    assert told["structure"] == "lung_left" and told["method"] == "gradcam" and 0 <= told["probability"] <= 1
    assert told["at"] == pytest.approx(middle, abs=0.1) and told["largest"] is None
    assert found.shape_kji == ct.shape_kji and found.array.max() > 200
    np.testing.assert_allclose(found.ijk_to_ras, ct.ijk_to_ras, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--structure", "lung_left", "--at", "1,2"], "--at 1,2 is not a place"),
        (["--structure", "lung_left", "--at", "9999,0,0"], "lies outside of"),
        (["--structure", "brain", "--at", "0,0,0"], "no structure named 'brain'"),
        (["--structure", "lung_left", "--method", "magic"], "no method magic"),
        (["--structure", "lung_left", "-o", "map.txt"], "suffix of a known format"),
    ],
)
def test_what_cannot_be_explained_is_told_and_nothing_written(chest, tmp_path, monkeypatch, capfd, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(chest), "-o", "map.nii.gz", "--device", "cpu", *options]) in (2, 3)
    assert words in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_variants_are_compared_and_put_to_the_vote(chest, tmp_path, capfd):
    out = tmp_path / "out"
    options = ["-o", str(out), "-s", "lung_left,lung_right", "--quality", "draft", "--device", "cpu"]
    assert main(["disagree", str(chest), *options, "--take", "lung_left=1", "--json"]) == 0
    told = event(capfd)
    assert sorted(p.name for p in out.iterdir()) == sorted(told["files"])
    assert told["opinions"] == [f"ct_demo {n}" for n in range(1, 7)]
    rows = list(csv.DictReader((out / "disagreement.csv").read_text("utf-8-sig").splitlines()))
    assert {row["name"] for row in rows} == {"lung_left", "lung_right"}
    found = {row["name"]: row for row in told["structures"]}
    assert 0.8 < found["lung_left"]["dice"] < 1
    voted = read_label_map(out / "voted.seg.nrrd")
    assert voted.volume_ml("lung_left") == pytest.approx(found["lung_left"]["volumes_ml"][0], rel=1e-3)
    # Of three labels, the most frequent one has at least two of the six opinions.
    assert 0 < read_volume(out / "disagreement.nii.gz").array.max() <= 255 * 4 / 6


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--with", "dropout"], 4, "ct_demo has no dropout"),
        (["--with", "folds"], 4, "single network"),
        (["--take", "liver"], 2, "does not name a structure and an opinion"),
        (["--take", "liver=²"], 2, "does not name a structure and an opinion"),
        (["--with", "no_such_model"], 4, "no_such_model"),
    ],
)
def test_what_cannot_be_compared_is_told(chest, tmp_path, capfd, options, code, words):
    assert main(["disagree", str(chest), "-o", str(tmp_path / "out"), "--device", "cpu", *options]) == code
    assert words in capfd.readouterr().err


def test_models_without_a_common_structure_do_not_run(chest, copied_model, tmp_path, capfd):
    path = copied_model / "card.json"
    card = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(card | {"structures": [f"other_{n}" for n in card["structures"]]}), "utf-8")
    assert main(["disagree", str(chest), "-o", str(tmp_path / "out"), "--with", str(copied_model)]) == 2
    assert "no structure in common" in capfd.readouterr().err


@pytest.fixture
def copied_model(tmp_path):
    folder = tmp_path / "ct_demo"
    shutil.copytree(find_model("ct_demo").folder, folder)
    return folder


def test_a_card_is_calibrated(chest, copied_model, tmp_path, capfd):
    ct, data = read_volume(chest), tmp_path / "data"
    labels = (ct.array < -600) & (ct.array > -950)
    lungs = LabelMap(labels.astype(np.uint8), ct.ijk_to_ras, [Structure(1, "lung_left", "Left lung")])
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    shutil.copy(chest, data / "images" / "a.nrrd")
    write_label_map(lungs, data / "labels" / "a.seg.nrrd")
    options = ["--held-out", str(data), "--trained-on", str(data), "--device", "cpu", "--json"]
    assert main(["calibrate", str(copied_model), *options]) == 0
    told, card = event(capfd), ModelCard.read(copied_model)
    assert told["temperature"] == card.temperature > 1  # half of the "left" lung is the right one
    assert card.training_statistics == told["training_statistics"]
    assert card.training_statistics["layer"] == "encoder.stages.3" and card.training_statistics["limit"] > 0
    assert told["cases"][0]["before"] > 0.1 and told["cases"][0]["after"] is None
    assert main(["calibrate", str(copied_model)]) == 2
    assert "no data set" in capfd.readouterr().err
