"""``deepseg enhance`` and ``--enhance``: files out, the check told, the CT untouched."""

import json

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, read_volume, write_label_map, write_volume
from DeepSegLogic.cli import main

pytest.importorskip("skimage")


@pytest.fixture
def ct(body, tmp_path):
    path = tmp_path / "ct.nii.gz"
    write_volume(body, path)
    labels = LabelMap((body.array > 30).astype(np.uint8), body.ijk_to_ras, [Structure(1, "liver", "Liver")])
    write_label_map(labels, tmp_path / "labels.nii.gz")
    return path


def result_of(capsys):
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return next(event for event in events if event["event"] == "result")


def test_thin_slices_and_the_check_are_written(ct, idle, tmp_path, capsys, body):
    before = ct.read_bytes()
    options = ["--task", "slices", "--checkpoint", str(idle["slices"]), "--labels", str(tmp_path / "labels.nii.gz")]
    out, difference = tmp_path / "thin.nrrd", tmp_path / "difference.nrrd"
    code = main(["enhance", str(ct), "-o", str(out), "--difference", str(difference), *options, "--json"])
    told = result_of(capsys)
    assert code == 0 and ct.read_bytes() == before
    assert read_volume(out).spacing_ijk == pytest.approx([2, 2, 2], abs=1e-3)
    assert read_volume(difference).shape_kji == body.shape_kji
    assert list(told["drift_hu"]) == ["liver"] and abs(told["drift_hu"]["liver"]) < 5
    assert told["how"]["network"] == "slices.pth" and len(told["noise_hu"]) == 2


def test_drift_and_lost_structures_are_warned_of(ct, tmp_path, monkeypatch, capsys, body):
    from dataclasses import replace

    from DeepSegLogic.enhance import enhancement

    def without_organ(volume, task, **_options):
        array = np.where(volume.array > 20, 0, volume.array).astype(np.int16)
        return enhancement.Enhanced(replace(volume, array=array), task)

    monkeypatch.setattr(enhancement, "enhance_volume", without_organ)
    labels = str(tmp_path / "labels.nii.gz")
    assert main(["enhance", str(ct), "-o", str(tmp_path / "o.nrrd"), "--labels", labels]) == 0
    printed = capsys.readouterr()
    assert "mean HU of 1 structure by" in printed.err and "removed structure" in printed.err
    assert "Keep the CT" in printed.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "ct.nii.gz"], "must stay as it is"),
        (["-o", "out.png"], "suffix of a known format"),
        (["-o", "out.nrrd", "--task", "sharpen"], "no way to enhance"),
        (["-o", "out.nrrd", "--difference", "ct.nii.gz"], "must stay as it is"),
        (["-o", "out.nrrd", "--difference", "./out.nrrd"], "named twice"),
    ],
)
def test_bad_usage_is_refused_before_the_work(ct, monkeypatch, capsys, options, words):
    monkeypatch.chdir(ct.parent)
    before = ct.read_bytes()
    assert main(["enhance", "ct.nii.gz", *options]) == 2
    assert words in capsys.readouterr().err
    assert ct.read_bytes() == before


def test_a_server_does_not_enhance(ct, tmp_path, capsys):
    code = main(["segment", str(ct), "-o", str(tmp_path / "r"), "--enhance", "denoise", "--server", "http://localhost"])
    assert code == 2 and "A server does not enhance" in capsys.readouterr().err


def test_segment_enhance_writes_what_the_model_saw_beside_the_result(chest_ct, tmp_path, capsys):
    out = tmp_path / "result"
    options = ["--structures", "lung_left", "--quality", "draft", "--format", "nii.gz", "--surfaces", ""]
    code = main(
        ["segment", str(chest_ct), "-o", str(out), "--enhance", "slices", "--device", "cpu", *options, "--quiet"]
    )
    assert code == 0, capsys.readouterr().err
    ct, seen = read_volume(chest_ct), read_volume(out / "enhanced.nii.gz")
    assert seen.shape_kji == (3 * (ct.shape_kji[0] - 1) + 1, *ct.shape_kji[1:])
    facts = json.loads((out / "provenance.json").read_text("utf-8"))
    assert facts["settings"]["enhanced"]["task"] == "slices" and "enhanced.nii.gz" in facts["files"]
    from DeepSegLogic import read_label_map

    labels = read_label_map(out / "segmentation.nii.gz")
    assert labels.array.shape == ct.shape_kji and labels.volume_ml("lung_left") > 1000
