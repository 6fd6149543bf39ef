"""``deepseg segment`` as users and programs start it: a process of its own, on the real chest CT."""

import csv
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from subprocess import PIPE

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.cli import main
from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.itk import itk_name
from DeepSegLogic.io import read_label_map
from DeepSegLogic.review import review

OUTPUTS = [
    "measurements.csv",
    "preview.png",
    "probabilities.npz",
    "provenance.json",
    "segmentation.nii.gz",
    "segmentation.seg.nrrd",
    "surfaces",
]


def deepseg(*arguments, **options):
    command = [sys.executable, "-c", "from DeepSegLogic.cli import run; run()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, **options)


@pytest.fixture(scope="module")
def result(tmp_path_factory, chest_ct):
    """One run with everything, for several tests to look at."""
    folder = tmp_path_factory.mktemp("Ergebnis mit ä und Leerzeichen") / "out"
    done = deepseg("segment", chest_ct, "-o", folder, "--surfaces", "stl,glb", "--save-probabilities", "--json")
    assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_everything_promised_is_there(result):
    folder, _ = result
    assert sorted(p.name for p in folder.iterdir()) == OUTPUTS
    assert (folder / "surfaces" / "lung_left.stl").stat().st_size > 1000
    assert (folder / "surfaces" / "organs.glb").read_bytes()[:4] == b"glTF"


def test_both_label_maps_name_the_same_structures(result):
    plain, full = (read_label_map(result[0] / f"segmentation.{kind}") for kind in ("nii.gz", "seg.nrrd"))
    np.testing.assert_array_equal(plain.array, full.array)
    found = {s.value: s.name for s in plain.structures}
    assert found.items() <= {s.value: s.name for s in full.structures}.items() and "lung_left" in found.values()
    assert plain.warnings == []


def test_geometry_equals_the_inputs(result, chest_ct):
    folder, _ = result
    ours, theirs = sitk.ReadImage(itk_name(folder / "segmentation.nii.gz")), sitk.ReadImage(str(chest_ct))
    assert ours.GetSize() == theirs.GetSize()
    np.testing.assert_allclose(ours.GetOrigin(), theirs.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(ours.GetSpacing(), theirs.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(ours.GetDirection(), theirs.GetDirection(), atol=1e-6)


def test_measurements_equal_simpleitks(result, chest_ct):
    folder, _ = result
    labels = sitk.ReadImage(itk_name(folder / "segmentation.nii.gz"))
    image = sitk.ReadImage(str(chest_ct))
    image.CopyInformation(labels)
    statistics = sitk.LabelIntensityStatisticsImageFilter()
    statistics.Execute(sitk.Cast(labels, sitk.sitkUInt16), image)
    values = {
        n: i
        for i, n in enumerate(json.loads((folder / "provenance.json").read_text("utf-8"))["settings"]["structures"], 1)
    }
    rows = list(csv.DictReader((folder / "measurements.csv").read_text("utf-8").splitlines()))
    assert len(rows) == len(values)
    for row in rows:
        value = values[row["name"]]
        assert bool(row["confidence"]) == bool(row["boundary_margin"])
        assert int(row["voxels"]) == (statistics.GetNumberOfPixels(value) if statistics.HasLabel(value) else 0)
        if int(row["voxels"]):
            assert float(row["volume_ml"]) == pytest.approx(
                statistics.GetPhysicalSize(value) / 1000, abs=6e-4
            )  # rounded to µl
            assert float(row["mean_hu"]) == pytest.approx(statistics.GetMean(value), abs=0.06)
            count = int(row["voxels"])
            spread = statistics.GetStandardDeviation(value) * np.sqrt((count - 1) / count)  # ITK divides by n - 1
            assert float(row["sd_hu"]) == pytest.approx(spread, abs=0.06)


def test_events_tell_the_whole_run(result):
    _, events = result
    assert {e["event"] for e in events} <= {"progress", "warning", "result"}
    stages = list(dict.fromkeys(e["stage"] for e in events if e["event"] == "progress"))
    assert [s for s in stages if s in ("read", "preprocess", "inference", "write")] == [
        "read",
        "preprocess",
        "inference",
        "write",
    ]
    assert all(0 <= e["fraction"] <= 1 for e in events if e["event"] == "progress")
    assert events[-1]["event"] == "result"
    lung = next(s for s in events[-1]["structures"] if s["name"] == "lung_left")
    assert 1000 < lung["volume_ml"] < 6000
    assert 0 < lung["boundary_margin"] < lung["confidence"] <= 1


def test_places_to_check_are_told_as_in_the_review_list(result):
    folder, events = result
    labels = read_label_map(folder / "segmentation.seg.nrrd")
    told = [(f["structure"], f["reason"]) for f in events[-1]["findings"]]
    assert ("iliopsoas_right", "Left iliopsoas has no counterpart on the other side.") in told
    assert told == [(f.structure, f.reason) for f in review(labels)]  # none has low confidence or lies elsewhere


def test_the_plan_is_told_with_the_settings_used(result):
    folder, events = result
    plan = events[-1]["plan"]
    told = [re.search(r"window \d+ of (\d+)", e.get("message", "")) for e in events]
    assert {plan["windows"]} == {int(match[1]) for match in told if match}
    assert plan["device"] in plan["run"].lower() and plan["seconds"] > 0 and plan["ram_bytes"] > 0
    assert json.loads((folder / "provenance.json").read_text("utf-8"))["plan"] == plan


def test_provenance_names_model_settings_and_input(result, chest_ct):
    import hashlib

    facts = json.loads((result[0] / "provenance.json").read_text("utf-8"))
    assert facts["input"]["digest"] == f"sha256:{hashlib.sha256(chest_ct.read_bytes()).hexdigest()}"
    assert facts["model"]["id"] == "ct_demo"
    assert facts["model"]["digest"].startswith("sha256:")
    assert {"deepseg", "torch", "numpy"} <= set(facts["versions"])
    assert "Research use only" in facts["intended_use"]


def test_only_the_structures_asked_for(tmp_path, chest_ct, capfd):
    options = ["-s", "Left LUNG, vertebrae", "--surfaces", "", "--quality", "fast", "--quiet"]
    assert main(["segment", str(chest_ct), "-o", str(tmp_path), *options]) == 0
    assert capfd.readouterr().out == ""
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "segmentation.nii.gz")))
    assert len(np.unique(labels)) == 3
    assert not (tmp_path / "surfaces").exists()


@pytest.fixture
def bad(tmp_path, chest_ct, capfd):
    """Runs the command in this process and checks that an error looks like one."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "segmentation.nii.gz").write_text("an earlier result", "utf-8")

    def run(*arguments, code, said):
        arguments = [str(a) for a in arguments]
        if "-o" not in arguments:
            arguments += ["-o", str(out)]
        assert main(["segment", *arguments]) == code
        text = capfd.readouterr().err
        assert said in text
        assert "Traceback" not in text
        assert [p.name for p in out.iterdir()] == ["segmentation.nii.gz"]
        assert (out / "segmentation.nii.gz").read_text("utf-8") == "an earlier result"
        return text

    return run


def test_unknown_structure_suggests_the_nearest(bad, chest_ct):
    assert "lung_left" in bad(chest_ct, "-s", "left_lung", code=2, said="no structure named 'left_lung'")
    assert "aorta" not in bad(chest_ct, "-s", "portal_vein", code=2, said="no structure").split("Known")[0]
    assert "kidney_left" in bad(chest_ct, "-s", "kidney", code=2, said="Did you mean")


def test_settings_that_do_not_exist(bad, chest_ct):
    bad(chest_ct, "--quality", "superb", code=2, said="fast, standard, best")
    bad(chest_ct, "--device", "tpu", code=2, said="not a device")
    bad(chest_ct, "--surfaces", "dwg", code=2, said="Unknown surface format 'dwg'")
    bad(chest_ct, "--model", "nowhere", code=4, said="no model 'nowhere'")


def test_inputs_that_are_no_ct(bad, tmp_path):
    bad(tmp_path / "nothing.nii.gz", code=3, said="no file")
    (tmp_path / "text.nii.gz").write_text("hello", "utf-8")
    bad(tmp_path / "text.nii.gz", code=3, said="not a NIfTI")


def test_an_mr_is_refused_with_the_reason_and_taken_when_told(bad, shared_data, tmp_path, capfd):
    mr = shared_data / "abdomen_mr" / "mr.nii.gz"
    assert "--force" in bad(mr, code=3, said="has no air")
    options = ["--force", "-s", "liver", "--surfaces", "", "--quality", "fast"]
    assert main(["segment", str(mr), "-o", str(tmp_path / "forced"), *options]) == 0
    assert "Warning: It has no air" in capfd.readouterr().err


def test_a_segmentation_is_sent_to_surfaces(bad, chest_ct, chest_segmentation, tmp_path):
    assert "deepseg surfaces" in bad(chest_segmentation, code=3, said="is a segmentation, not a CT")
    labels = shutil.copy(chest_segmentation, tmp_path / "labels.nrrd")
    assert "deepseg surfaces" in bad(labels, code=3, said="is a segmentation, not a CT")


def test_an_estimate_says_what_is_odd(shared_data, chest_ct, tmp_path, capfd):
    assert main(["estimate", str(shared_data / "abdomen_mr" / "mr.nii.gz"), "--json"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [e["event"] for e in events] == ["warning", "estimate"]
    assert "no air" in events[0]["message"] and "--force" in events[0]["message"]
    image = sitk.ReadImage(str(chest_ct))
    image.SetSpacing([s / 1000 for s in image.GetSpacing()])
    sitk.WriteImage(image, str(tmp_path / "metres.nrrd"))
    assert main(["estimate", str(tmp_path / "metres.nrrd")]) == 3
    assert "another unit than mm" in capfd.readouterr().err


def test_inputs_that_may_not_be_read(bad, chest_ct, tmp_path, monkeypatch, capfd):
    """Also for one who may read all, as in a container."""
    closed = str(shutil.copy(chest_ct, tmp_path / "closed.nrrd"))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, *rest, **more: str(path) != closed and access(path, *rest, **more))
    bad(closed, code=3, said="Check its permissions")
    for arguments in (["surfaces", closed, "-o", tmp_path], ["estimate", closed]):
        assert main(list(map(str, arguments))) == 3
        assert "Check its permissions" in capfd.readouterr().err


def test_a_name_that_looks_like_markup(tmp_path, chest_ct, capfd):
    source = shutil.copy(chest_ct, tmp_path / "CT [red] [x].nrrd")
    options = ["-s", "lung_left", "--surfaces", "", "--quality", "fast"]
    assert main(["segment", str(source), "-o", str(tmp_path / "[bold]"), *options]) == 0
    assert "CT [red] [x].nrrd" in capfd.readouterr().err
    assert (tmp_path / "[bold]" / "segmentation.seg.nrrd").exists()


def test_output_that_cannot_be_written(bad, chest_ct, tmp_path):
    (tmp_path / "file").write_text("in the way", "utf-8")
    bad(chest_ct, "-o", tmp_path / "file", code=5, said="is a file, not a folder")
    bad(chest_ct, "-o", "/proc/deepseg", code=5, said="cannot be written")


WAITS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background of a shell
from DeepSegLogic.cli import console, run
told = console.Console.event
def event(self, name, **facts):
    told(self, name, **facts)
    if facts.get("stage") == "inference":
        sys.stdin.read()
console.Console.event = event
run()
"""
"""The command; once the network runs, it goes on when its standard input is closed."""


@pytest.mark.skipif(os.name == "nt", reason="needs a console to press Ctrl-C in")
def test_ctrl_c_leaves_nothing_half_written(tmp_path, chest_ct):
    out = tmp_path / "out"
    out.mkdir()
    (out / "segmentation.nii.gz").write_text("an earlier result", "utf-8")
    command = [sys.executable, "-c", WAITS, "segment", str(chest_ct), "-o", str(out), "--json"]
    process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, encoding="utf-8")
    for line in process.stdout:
        if '"inference"' in line:
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)  # closes its standard input
    assert process.returncode == 130
    assert json.loads(rest.splitlines()[-1])["code"] == "cancelled"
    assert "Traceback" not in errors
    assert [p.name for p in out.iterdir()] == ["segmentation.nii.gz"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("provenance.json", "{"), ("provenance.json", "{}"), ("measurements.csv", "structure,name,voxels\nLung,lung,5\n")],
)
def test_a_report_of_a_damaged_folder(result, tmp_path, capfd, name, content):
    folder = shutil.copytree(result[0], tmp_path / "copy")
    (folder / name).write_text(content, "utf-8")
    assert main(["report", str(folder), "-o", str(tmp_path / "report.html")]) == 3
    assert "is damaged" in capfd.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_nothing_of_the_patient_leaves_the_header(chest_ct, tmp_path):
    """Names, numbers and dates of a DICOM header are in no file of the results, nor in the report."""
    image = sitk.ReadImage(str(chest_ct))
    folder = tmp_path / "series"
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(image.GetDepth()):
        piece = sitk.Cast(image[:, :, k], sitk.sitkInt16)
        position = image.TransformIndexToPhysicalPoint((0, 0, k))
        tags = {
            "0010|0010": "Secret^Name",
            "0010|0020": "SECRET-ID",
            "0010|0030": "19011231",
            "0008|0050": "SECRET-ACC",
        }
        tags |= {"0008|0060": "CT", "0020|000e": "1.2.3", "0020|0032": "\\".join(map(str, position))}
        tags |= {"0020|0037": "1\\0\\0\\0\\1\\0", "0028|0030": "3\\3"}
        for tag, value in tags.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k}.dcm"))
        writer.Execute(piece)
    out = tmp_path / "out"
    arguments = ["-o", out, "--quality", "fast", "--surfaces", "stl,glb,3mf", "-s", "lung_left", "--save-probabilities"]
    assert main(["segment", *map(str, [folder, *arguments])]) == 0
    assert main(["report", str(out), "-o", str(out / "report.html")]) == 0
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        content = path.read_bytes()
        content += gzip.decompress(content) if path.suffix == ".gz" else b""
        assert not [word for word in (b"Secret", b"SECRET", b"19011231") if word in content], path


def test_the_probabilities_belong_to_the_volume(result, chest_ct, tmp_path):
    folder, _ = result
    labels = read_label_map(folder / "segmentation.seg.nrrd")
    inside = np.argwhere(labels.mask("lung_left"))[0]
    click = {"structure": "lung_left", "type": "point", "positive": False}
    click["ras"] = ijk_to_ras_points([inside[::-1]], labels.ijk_to_ras)[0].tolist()
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": [click]}), "utf-8")
    paths = ["-i", chest_ct, "-p", tmp_path / "prompts.json", "-o", tmp_path / "fixed.seg.nrrd"]
    options = ["--probabilities", folder / "probabilities.npz"]
    assert main(["refine", *map(str, [folder / "segmentation.seg.nrrd", *paths, *options])]) == 0
    assert read_label_map(tmp_path / "fixed.seg.nrrd").array[tuple(inside)] == 0
