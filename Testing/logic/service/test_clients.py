"""`deepseg refine`, `surfaces` and `cohort` with `--server`, on a real server: what they write, and what travels."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from DeepSegLogic import LabelMap, ModelError, Structure, Volume, read_label_map, read_volume, refine, write_label_map
from DeepSegLogic.cli import main
from DeepSegLogic.cli.demo import demo_ct
from DeepSegLogic.cohort import Settings, find_cases
from DeepSegLogic.cohort.case import segment_case
from DeepSegLogic.cohort.signals import signals_in
from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import smallest_on_top
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import write_volume
from DeepSegLogic.refinement import read_prompts
from DeepSegLogic.remote.known import KnownServers
from DeepSegLogic.remote.worker import RemoteWorker
from DeepSegLogic.service.requests import Labelled
from DeepSegLogic.worker.handlers import refined

BONE = Structure(1, "bone", "Bone")
ORGAN = replace(structure_for("kidney_left", 2), name="organ")
TUMOR = replace(structure_for("tumor", 3), region=structure_for("liver", 1).type)


@pytest.fixture(autouse=True)
def saved(command, own_home, monkeypatch):
    KnownServers().save(command.url, command.fingerprint)
    monkeypatch.setenv("DEEPSEG_TOKEN", command.token)


@pytest.fixture(scope="module")
def part():
    """A part of a real CT."""
    whole = read_volume(demo_ct())
    return Volume(np.ascontiguousarray(whole.array[8:28, 24:104, 16:112]), whole.ijk_to_ras, "part")


@pytest.fixture
def files(tmp_path, part):
    """A CT, label maps without and with overlaps, and prompts, of which the second lies on what is locked."""
    k, j, i = np.ogrid[:20, :80, :96]
    ball = lambda radius: ((k - 10) * 3) ** 2 + (j - 40) ** 2 + (i - 48) ** 2 < radius**2  # noqa: E731
    bone, organ, tumor = (part.array > 250) * np.uint8(1), ball(20) * np.uint8(2), ball(8) * np.uint8(3)
    organ[:, :, 56:] = 0  # a missing part
    layers = [(np.where(organ, 0, bone).astype(np.uint8) | organ, [BONE, ORGAN]), (tumor, [TUMOR])]
    maps = [LabelMap(array, part.ijk_to_ras, structures) for array, structures in layers]
    both = LabelMap(smallest_on_top([m.array for m in maps]), part.ijk_to_ras, [BONE, ORGAN, TUMOR], [], maps)
    write_volume(part, tmp_path / "ct.nii.gz")
    write_label_map(maps[0], tmp_path / "plain.seg.nrrd")
    write_label_map(both, tmp_path / "overlapping.seg.nrrd")
    missing, on_bone = (60, 40, 10), np.argwhere(maps[0].array == BONE.value)[0][::-1]
    places = ijk_to_ras_points(np.array([missing, on_bone]), part.ijk_to_ras).tolist()
    prompts = [{"structure": "organ", "type": "point", "ras": place} for place in places]
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": prompts, "locked": ["bone"]}), "utf-8")
    return tmp_path


def uploaded(command):
    with KnownServers().connect(command.url).connection.opened("GET", "/metrics") as response:
        lines = response.text.splitlines()
    return float(next(line for line in lines if line.startswith("deepseg_uploaded_bytes_total")).split()[1])


def labelled(path):
    return replace(read_label_map(path), warnings=[])  # which name the file


def told(capsys):
    """Warnings and result of a command with `--json`."""
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [{**event, "output": ""} for event in events if event["event"] != "progress"]


def test_all_that_a_structure_has_can_travel():
    assert {f.name for f in fields(Structure)} == set(Labelled.model_fields)


@pytest.mark.parametrize("labels", ["plain", "overlapping"])
def test_a_correction_is_that_of_this_machine_and_travels_once(command, files, capsys, labels):
    paths = ["-i", str(files / "ct.nii.gz"), "-p", str(files / "prompts.json"), "--reach", "0.5", "--json"]
    correct = ["refine", str(files / f"{labels}.seg.nrrd"), *paths]
    assert main([*correct, "-o", str(files / "here.seg.nrrd")]) == 0
    words = told(capsys)
    assert any("Prompt 2 has no effect: it lies on bone" in told.get("message", "") for told in words)
    assert words[-1]["changes_ml"]["organ"][0] > 0 and words[-1]["changed_box"]
    assert main([*correct, "-o", str(files / "there.seg.nrrd"), "--server", command.url]) == 0
    assert told(capsys) == words
    before, here, there = (labelled(files / f"{name}.seg.nrrd") for name in (labels, "here", "there"))
    assert here == there and len(here.layers) == len(before.layers) and (here.array != before.array).any()
    sent = uploaded(command)
    assert main([*correct, "-o", str(files / "again.seg.nrrd"), "--server", command.url]) == 0
    assert uploaded(command) == sent and labelled(files / "again.seg.nrrd") == here


@pytest.mark.parametrize("labels", ["plain", "overlapping"])
def test_surfaces_are_those_of_this_machine_and_travel_once(command, files, capsys, labels):
    make = ["surfaces", str(files / f"{labels}.seg.nrrd"), "-f", "ply", "--printable", "--json"]
    assert main([*make, "-o", str(files / "here")]) == 0
    words = told(capsys)
    assert main([*make, "-o", str(files / "there"), "--server", command.url]) == 0
    assert told(capsys) == words
    names = sorted(path.name for path in (files / "here").iterdir())
    assert len(names) == (3 if labels == "plain" else 4)
    for name in names:
        assert (files / "here" / name).read_bytes() == (files / "there" / name).read_bytes(), name
    sent = uploaded(command)
    assert main([*make, "-o", str(files / "again"), "--server", command.url]) == 0 and uploaded(command) == sent


def test_a_session_gets_what_its_own_worker_answers(command, files, part):
    labels = labelled(files / "overlapping.seg.nrrd")
    wanted = read_prompts(files / "prompts.json")
    request = {"label_map": labels, "volume": part, "prompts": wanted.prompts, "locked": wanted.locked, "model": None}
    with RemoteWorker(KnownServers().connect(command.url)) as worker:
        answer = worker.call("refine", **request, device="auto")
    done = refine(labels, wanted.prompts, volume=part, locked=wanted.locked)
    assert answer == refined(done) and answer["skipped"].keys() == {"2"} and answer["box"]


def test_what_is_refused_in_the_words_of_the_command_line(command, files, monkeypatch, capsys):
    paths = ["-i", str(files / "ct.nii.gz"), "-p", str(files / "prompts.json"), "-o", str(files / "out.seg.nrrd")]
    correct = ["refine", str(files / "plain.seg.nrrd"), *paths, "--server", command.url]
    make = ["surfaces", str(files / "plain.seg.nrrd"), "-o", str(files / "out"), "--server", command.url]
    many = ["cohort", str(files), "-o", str(files / "out"), "--server", command.url]
    sent = uploaded(command)
    for arguments, code, words in (
        ([*correct, "--device", "cpu"], 2, "Leave out --device"),
        ([*correct, "--probabilities", "p.npz"], 2, "Leave out --probabilities"),
        ([*correct, "--model", "no_such"], ModelError.exit_code, "It has: ct_demo"),
        ([*many, "--model", "no_such"], ModelError.exit_code, "It has: ct_demo"),
        ([*many, "--workers", "2"], 2, "Leave out --engine, --scheduler and --workers"),
        ([*many, "--device", "cpu"], 2, "Leave out --device"),
        ([*many, "-s", "lever"], 2, "Did you mean liver"),
        ([*many, "--server", "https://localhost:1"], 2, "deepseg servers add"),
    ):
        assert main(arguments) == code, arguments
        assert words in capsys.readouterr().err
    assert uploaded(command) == sent
    assert main([*make, "-s", "orgen"]) == 2 and "Did you mean organ?" in capsys.readouterr().err
    assert main([*correct, "--model", "ct_demo"]) == ModelError.exit_code
    assert "takes no prompts" in capsys.readouterr().err
    monkeypatch.setenv("DEEPSEG_TOKEN", "wrong")
    for arguments in (correct, make, many):
        assert main(arguments) == 2 and "Set it in DEEPSEG_TOKEN" in capsys.readouterr().err
    assert not (files / "out.seg.nrrd").exists() and not list((files / "out").glob("*"))


def test_a_cohort_is_that_of_this_machine(command, files, part, capsys):
    """The same voxels; this machine and the server keep each other's cases; the second run uploads nothing."""
    for name in ("a", "patient 2/b"):
        (files / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_volume(part, files / "in" / f"{name}.nii.gz")
    whole = (files / "in" / "a.nii.gz").read_bytes()
    (files / "in" / "broken.nii.gz").write_bytes(whole[: len(whole) // 2])
    names = ["lung_left", "lung_right"]
    asked = ["cohort", str(files / "in"), "-s", ",".join(names), "--quality", "draft", "--surfaces", "", "--json"]
    cases = {case.name: case for case in find_cases([files / "in"])}
    settings = Settings(files / "here", "ct_demo", names, quality="draft")

    def there():
        assert main([*asked, "-o", str(files / "there"), "--server", command.url]) == 1  # one is broken
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return {e["case"]: e["status"] for e in events if e["event"] == "case"}, events

    (ended, events), sent = there(), uploaded(command)
    assert ended == {"a": "done", "patient 2/b": "done", "broken": "failed"}
    assert events[-1]["cases"] == {"done": 2, "failed": 1}
    (files / "here").mkdir()
    with signals_in(files / "here") as signals:
        assert segment_case(cases["a"], settings, signals, 0).status == "done"
    with signals_in(files / "there") as signals:
        other = Settings(files / "there", "ct_demo", names, quality="draft")
        assert segment_case(cases["a"], other, signals, 0).status == "kept"
    expected = read_label_map(files / "here" / "a" / "segmentation.seg.nrrd")
    assert expected.array.any()
    for name in ("a", "patient 2/b"):
        assert read_label_map(files / "there" / name / "segmentation.seg.nrrd") == expected
    for name in ("segmentation.nii.gz", "measurements.csv"):
        assert (files / "here" / "a" / name).read_bytes() == (files / "there" / "a" / name).read_bytes()
    (files / "there" / "patient 2" / "b" / "segmentation.nii.gz").unlink()
    assert there()[0] == {"a": "kept", "patient 2/b": "done", "broken": "failed"} and uploaded(command) == sent
