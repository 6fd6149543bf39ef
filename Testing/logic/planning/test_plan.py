"""The plan file: read, refused, computed, written, and marked stale."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from DeepSegLogic import DeepSegError, InputError, LabelMap, UsageError, read_label_map, write_label_map
from DeepSegLogic.cli import main
from DeepSegLogic.data.boxes import box_of, matrix_of
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import write_volume
from DeepSegLogic.io.result_files import provenance_of
from DeepSegLogic.planning import Organ, Plan, Plane, distance, evaluate_plan, read_plan, write_evaluated
from DeepSegLogic.results.folder import what_is_wrong, write_outputs
from DeepSegLogic.segmentation import Result
from DeepSegLogic.util.progress import ignore_progress, never_cancel

from .scenes import ball, cylinder, scene

SPHERE = {"type": "ellipsoid", "center": [22, 22, 22], "radii": [5, 5, 5]}
HEAD = {"format": "deepseg.plan", "version": 1, "units": "mm"}


@pytest.fixture(scope="module")
def organs():
    shapes = {"liver": ball((0, 0, 0), 18), "vein": cylinder(4, 25), "tumor": ball((10, 0, 0), 4)}
    return scene(np.diag([1.0, 1.0, 1.5, 1.0]), shapes, 22)[0]


@pytest.fixture
def plan():
    marks = {"right": [[25, 22, 14]], "left": [[19, 22, 14]]}
    return {
        **HEAD,
        "title": "Right hemihepatectomy",
        "distances": [{"one": "tumor", "other": "vein"}],
        "contacts": [{"one": "vein", "other": "liver"}],
        "encasements": [{"tumor": "tumor", "vessel": "vein", "within_mm": 4}],
        "diameters": [{"structure": "tumor"}],
        "distance_maps": [{"one": "tumor", "other": "vein"}],
        "vessels": [{"structure": "vein"}],
        "margins": [{"structure": "tumor", "mm": 3, "keep": ["vein"]}],
        "resections": [
            {"organ": "liver", "cuts": [{"type": "plane", "origin": [22, 22, 22], "normal": [1, 0, 0.2]}]},
            {"organ": "vein", "cuts": [{"type": "territories", "marks": marks}], "removed": [2]},
        ],
        "approaches": [{"entry": [42, 22, 22], "target": [32, 22, 22], "spare": ["vein"]}],
    }


def saved(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_a_plan_gives_the_numbers_of_the_single_calls(organs, plan, tmp_path):
    done = evaluate_plan(read_plan(saved(tmp_path, plan)), organs)
    numbers = done.plan.numbers
    assert numbers["distances"][0]["distance_mm"] == distance(organs, "tumor", "vein").distance_mm
    cut = Organ(organs, "liver").cut([Plane((22, 22, 22), (1, 0, 0.2))])
    assert numbers["resections"][0]["remnant_ml"] == cut.remnant_ml
    assert numbers["approaches"][0]["crossed"][-1]["structure"] == "tumor"
    names = {s.name for s in done.label_map.structures}
    assert names == {"tumor", "tumor_margin_3_mm", *(f"{o}_part_{n}" for o in ("liver", "vein") for n in (1, 2))}
    for number, part in enumerate(cut.parts, start=1):
        assert np.count_nonzero(done.label_map.mask(f"liver_part_{number}")) == part.voxels
    assert done.label_map.volume_ml("tumor_margin_3_mm") == pytest.approx(numbers["margins"][0]["ml"])
    assert done.notes == ("Vein is cut by the border of the volume.",)


def test_what_is_written_is_read_back_the_same(organs, plan, tmp_path):
    done = evaluate_plan(read_plan(saved(tmp_path, plan)), organs)
    write_evaluated(done, tmp_path / "out", ["stl"])
    again = read_plan(tmp_path / "out" / "plan.json")
    assert again == done.plan
    assert again.checked(organs) == again
    assert (tmp_path / "out" / "distance_map_1.vtp").exists()
    parts = read_label_map(tmp_path / "out" / "parts.seg.nrrd")
    for structure in done.label_map.structures:
        np.testing.assert_array_equal(parts.mask(structure.name), done.label_map.mask(structure.name))
    with (tmp_path / "out" / "numbers.csv").open(encoding="utf-8") as file:
        rows = {(r["kind"], r["subject"], r["quantity"]): r["value"] for r in csv.DictReader(file)}
    remnant = rows["resections", "liver", "remnant_percent"]
    assert float(remnant) == pytest.approx(again.numbers["resections"][0]["remnant_percent"], abs=1e-4)
    assert ("vessels", "vein", "median_mm") in rows
    assert ("resections", "liver, liver_part_1", "ml") in rows and ("distances", "tumor, vein", "distance_mm") in rows
    meshes = {p.stem: trimesh.load(p) for p in (tmp_path / "out" / "plan_surfaces").glob("*.stl")}
    assert len(meshes) == 6 and all(mesh.is_watertight for mesh in meshes.values())


def test_numbers_of_another_segmentation_are_stale(organs, plan, tmp_path):
    done = evaluate_plan(read_plan(saved(tmp_path, plan)), organs).plan
    corrected = LabelMap(organs.array.copy(), organs.ijk_to_ras, organs.structures)
    assert not done.checked(corrected).numbers["stale"]
    corrected.array[14, 22, 22] = 3
    assert done.checked(corrected).numbers["stale"]
    moved = LabelMap(organs.array, organs.ijk_to_ras @ np.diag([1, 1, 1.01, 1]), organs.structures)
    assert done.checked(moved).numbers["stale"]
    assert not evaluate_plan(done.checked(corrected), corrected).plan.numbers["stale"]


def test_the_digest_does_not_depend_on_the_file_format(organs, plan, tmp_path):
    done = evaluate_plan(Plan({"diameters": [{"structure": "tumor"}]}), organs).plan
    for name in ("organs.seg.nrrd", "organs.nii.gz"):
        write_label_map(organs, tmp_path / name)
        assert not done.checked(read_label_map(tmp_path / name)).numbers["stale"], name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "it is not JSON"),
        ("[]", "not a plan"),
        ({**HEAD, "units": "cm"}, "is in 'cm', not in mm"),
        ({**HEAD, "version": 2}, "version 2 of the format"),
        ({**HEAD, "bogus": 1}, "bogus"),
        ({**HEAD, "distances": [{"one": "a"}]}, "distances 1: it has no other"),
        ({**HEAD, "margins": [{"structure": "a", "mm": float("nan")}]}, "margins 1: a number is not finite"),
        ({**HEAD, "margins": [{"structure": "a", "mm": 10**400}]}, "margins 1"),
        ({**HEAD, "resections": [{"organ": "a", "cuts": [{"type": "plane", "points": [[1, 2, 3]]}]}]}, "resections 1"),
        ({**HEAD, "diameters": [{"structure": "a"}] * 101}, "diameters"),
        ({**HEAD, "numbers": {"digest": "md5", "stale": False}}, "numbers digest"),
        ("[" * 100_000, "not a plan"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        read_plan(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"distances": [{"one": "tumor", "other": "spleen"}]}, r"Plan, distances 1: There is no structure named 'spl"),
        (
            {"resections": [{"organ": "liver", "cuts": [{"type": "plane", "points": [[0, 0, 0]] * 3}]}]},
            "Plan, resections 1: The three points of the plane lie on a line",
        ),
        (
            {"resections": [{"organ": n, "cuts": [SPHERE]} for n in ("liver", "1")]},
            "Plan, resections 2: Liver is divided twice",
        ),
    ],
)
def test_an_entry_that_cannot_be_computed_is_named(organs, entries, said):
    with pytest.raises(UsageError, match=said):
        evaluate_plan(Plan(entries), organs)


def test_the_command_writes_all_and_warns_of_stale_numbers(organs, plan, tmp_path, capfd):
    write_label_map(organs, tmp_path / "organs.seg.nrrd")
    command = ["plan", str(tmp_path / "organs.seg.nrrd"), "-o", str(tmp_path / "out"), "--plan"]
    assert main([*command, str(saved(tmp_path, plan))]) == 0
    printed = capfd.readouterr()
    assert "part 1, removed: " in printed.out and "; remnant: " in printed.out and "stale" not in printed.err
    stale = json.loads((tmp_path / "out" / "plan.json").read_text("utf-8"))
    stale["numbers"]["digest"] = "sha256:" + "0" * 64
    assert main([*command, str(saved(tmp_path, stale)), "--json", "--surfaces", "glb"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert any(e["event"] == "warning" and "stale" in e["message"] for e in events)
    assert events[-1]["numbers"]["stale"] is False
    assert (tmp_path / "out" / "plan_surfaces" / "organs.glb").exists()


def test_a_plan_and_a_segmentation_share_a_folder(organs, plan, tmp_path):
    volume = Volume(organs.array.astype(np.int16), organs.ijk_to_ras, "ct", "CT")
    quiet = {"formats": ["stl", "glb"], "progress": ignore_progress, "cancel": never_cancel}

    def files():
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    write_outputs(tmp_path, volume, Result(organs, {}), source=None, **quiet)
    segmented = files()
    write_evaluated(evaluate_plan(Plan(plan), organs), tmp_path, ["stl", "glb"])
    assert segmented.items() <= (both := files()).items()
    assert what_is_wrong(tmp_path, provenance_of(tmp_path)) == ""
    write_outputs(tmp_path, volume, Result(organs, {}), source=None, **quiet)
    assert {p: both[p] for p in both.keys() - segmented.keys()}.items() <= files().items()


def test_with_the_ct_margins_that_a_label_map_leaves_out_cut_nothing(organs, tmp_path, capfd):
    box = box_of(organs.array > 0)
    cut_out = replace(organs, array=organs.array[box].copy(), ijk_to_ras=matrix_of(box, organs.ijk_to_ras))
    write_label_map(cut_out, tmp_path / "organs.seg.nrrd")
    write_volume(Volume(organs.array.astype(np.int16), organs.ijk_to_ras, "ct", "CT"), tmp_path / "ct.nii.gz")
    asked = {"margins": [{"structure": "liver", "mm": 3}], "distances": [{"one": "tumor", "other": "vein"}]}
    whole = evaluate_plan(Plan(asked), organs)
    command = ["plan", str(tmp_path / "organs.seg.nrrd"), "-o", str(tmp_path / "out"), "--surfaces", "", "--json"]
    command += ["--plan", str(saved(tmp_path, {**HEAD, **asked}))]
    for image in ([], ["--image", str(tmp_path / "ct.nii.gz")]):
        assert main([*command, *image]) == 0
        (found,) = json.loads(capfd.readouterr().out.splitlines()[-1])["numbers"]["margins"]
        (expected,) = whole.plan.numbers["margins"]
        assert (found["ml"] == pytest.approx(expected["ml"]) and found["cut"] == expected["cut"]) == bool(image)
    assert not expected["cut"]


def test_files_of_an_earlier_plan_go_unless_somebody_changed_them(organs, tmp_path):
    def names():
        return {path.name for path in tmp_path.iterdir()}

    def drawn(folder):
        (folder / "pictures").mkdir()
        (folder / "pictures" / "front.png").write_bytes(b"x")

    always = {"plan.json", "numbers.csv", "parts.seg.nrrd", "plan.provenance.json"}
    maps = {"distance_maps": [{"one": "tumor", "other": "vein"}] * 3}
    write_evaluated(evaluate_plan(Plan(maps), organs), tmp_path, ["stl"], also=drawn)
    (tmp_path / "distance_map_2.vtp").write_text("mine", "utf-8")
    (tmp_path / "of_mine.txt").write_text("mine", "utf-8")
    assert names() == {*always, *(f"distance_map_{n}.vtp" for n in "123"), "plan_surfaces", "pictures", "of_mine.txt"}
    write_evaluated(evaluate_plan(Plan({}), organs), tmp_path, [])
    assert names() == {*always, "distance_map_2.vtp", "of_mine.txt"}


def test_a_plan_that_fails_writes_nothing(organs, tmp_path):
    def fails(_folder):
        raise DeepSegError("no pictures")

    for formats, also in ((["bogus"], None), ([], fails)):
        with pytest.raises(DeepSegError):
            write_evaluated(evaluate_plan(Plan({}), organs), tmp_path / "out", formats, also=also)
        assert not (tmp_path / "out" / "plan.json").exists()
