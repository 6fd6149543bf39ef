"""Results that are good are never called damaged, whatever structures are called; nor is half a result called whole."""

import base64
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from html import unescape

import numpy as np
import pytest
import trimesh

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.probabilities import TopProbabilities
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_label_map, write_label_map, write_volume
from DeepSegLogic.io.probabilities import write_probabilities
from DeepSegLogic.models import ModelCard
from DeepSegLogic.models.import_export import export_model
from DeepSegLogic.results.folder import export_result, what_is_wrong, write_outputs
from DeepSegLogic.results.preview import write_preview
from DeepSegLogic.results.report import write_report
from DeepSegLogic.review.measurements import measure, write_measurements
from DeepSegLogic.segmentation import Result
from DeepSegLogic.surfaces import FORMATS, write_surfaces
from DeepSegLogic.util.atomic_write import atomic_path
from DeepSegLogic.util.errors import InputError, OutputError
from DeepSegLogic.util.progress import ignore_progress, never_cancel
from DeepSegLogic.util.tables import read_table, write_table

NAMES = [
    *("Kidney Right", "kidney right", "KIDNEY RIGHT", "kidney_right", "leber-äöü肝", "a/b\\c", "../../up"),
    *('say "hi"', "<b>bold</b><script>alert(1)</script>", "x" * 280, "=1+1", "-2+3", "@SUM(A1)", "'=quoted", "con"),
    *("$name ${name}", "a|b:c%20;d", "é", "e\u0301", "line\u2028separator", "50%", "label 3"),
]
MARKED = re.compile(r"\s*[=+\-@\t\r\n]")


def blocks(structures):
    """One block of voxels for each, and their volume."""
    array = np.zeros((10, 9 * (len(structures) // 8 + 1), 50), np.uint8)
    for number, structure in enumerate(structures):
        row, column = divmod(number, 8)
        array[2:8, 2 + 9 * row : 8 + 9 * row, 2 + 6 * column : 6 + 6 * column] = structure.value
    return LabelMap(array, np.eye(4), list(structures)), Volume(np.full(array.shape, -50, np.int16), np.eye(4))


def written(folder, label_map, volume, formats=(), **options):
    shares = {s.name: 0.5 for s in label_map.structures}
    result = Result(label_map, shares, shares, provenance={"model": {"id": "some model"}})
    options |= {"progress": ignore_progress, "cancel": never_cancel}
    return write_outputs(folder, volume, result, source=None, formats=list(formats), **options)


def rows_of(page):
    """Names and titles as the report shows them."""
    boxes = re.findall(r'<input type="checkbox" checked value="([^"]*)" aria-label="Show ([^"]*)">', page)
    return [(unescape(name), unescape(title)) for name, title in boxes]


def nodes_of(glb: bytes):
    length = int.from_bytes(glb[12:16], "little")
    return {node["name"] for node in json.loads(glb[20 : 20 + length])["nodes"] if "mesh" in node}


@pytest.mark.parametrize("titles", ["made of the names", "of their own"])
def test_one_name_for_a_structure_in_all_files(tmp_path, titles):
    structures = [structure_for(name, value) for value, name in enumerate(NAMES, 1)]
    if titles == "of their own":
        structures = [Structure(s.value, s.name, f"Organ {s.value}", s.color) for s in structures]
    label_map, volume = blocks(structures)
    written(tmp_path / "out", label_map, volume, FORMATS)
    assert [s.name for s in read_label_map(tmp_path / "out" / "segmentation.seg.nrrd").structures] == NAMES
    assert [s.title for s in read_label_map(tmp_path / "out" / "segmentation.seg.nrrd").structures] == [
        s.title for s in structures
    ]
    header, cells = read_table(tmp_path / "out" / "measurements.csv")
    assert [row[header.index("name")] for row in cells] == NAMES
    surfaces = tmp_path / "out" / "surfaces"
    assert list(json.loads((surfaces / "surfaces.json").read_text("utf-8"))) == NAMES
    for kind in ("stl", "ply", "obj", "vtp"):
        files = [p.name for p in surfaces.glob(f"*.{kind}")]
        assert len({name.casefold() for name in files}) == len(NAMES)
        assert all(len(name.encode()) < 255 and name[0] not in ".-" for name in files)
    assert nodes_of((surfaces / "organs.glb").read_bytes()) == set(NAMES)
    expected = [(s.name, s.title) for s in structures]
    for glb in ("that is there", "made for it"):
        write_report(tmp_path / "out", tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text("utf-8")
        assert rows_of(page) == expected, glb
        assert "<script>alert" not in page and "<b>bold" not in page
        (surfaces / "organs.glb").unlink(missing_ok=True)
    for facts in (None, {"model": {"id": "some model"}}):
        export_result(tmp_path / "export", label_map, volume, ["html", "csv", "glb", "seg.nrrd"], provenance=facts)
        assert rows_of((tmp_path / "export" / "report.html").read_text("utf-8")) == expected
    assert [p.name for p in tmp_path.rglob(".*")] == []


def test_results_of_earlier_versions_have_a_report(tmp_path):
    """Their segmentations keep titles only."""
    label_map, volume = blocks([structure_for("Kidney Right", 1), structure_for("liver", 2)])
    written(tmp_path, label_map, volume)
    path = tmp_path / "segmentation.seg.nrrd"
    header, gap, voxels = path.read_bytes().partition(b"\n\n")
    path.write_bytes(re.sub(rb"DeepSeg\.[a-z]+:[^|]*\|", b"", header) + gap + voxels)
    assert read_label_map(path).structures[0].name == "kidney_right"
    write_report(tmp_path, tmp_path / "report.html")
    assert [name for name, _ in rows_of((tmp_path / "report.html").read_text("utf-8"))] == ["Kidney Right", "liver"]


def test_a_structure_renamed_in_slicer_has_its_new_name(tmp_path):
    label_map, _ = blocks([structure_for("liver", 1)])
    write_label_map(label_map, tmp_path / "a.seg.nrrd")
    text = (tmp_path / "a.seg.nrrd").read_bytes()
    (tmp_path / "a.seg.nrrd").write_bytes(text.replace(b"Segment0_Name:=Liver", "Segment0_Name:=Größe".encode()))
    (structure,) = read_label_map(tmp_path / "a.seg.nrrd").structures
    assert (structure.name, structure.title) == ("größe", "Größe")


def test_voxels_that_are_no_numbers_do_not_spoil_the_report(tmp_path):
    label_map, volume = blocks([structure_for("liver", 1)])
    volume.array = np.full(volume.array.shape, np.nan, np.float32)
    export_result(tmp_path, label_map, volume, ["html"])
    assert rows_of((tmp_path / "report.html").read_text("utf-8")) == [("liver", "Liver")]


@pytest.mark.parametrize("facts", ["[]", '{"created": 1}', '{"created": "x", "input": {"name": 5}}', "[" * 100_000])
def test_a_report_of_a_tampered_provenance_is_refused_in_words(tmp_path, facts):
    label_map, volume = blocks([structure_for("liver", 1)])
    written(tmp_path, label_map, volume)
    (tmp_path / "provenance.json").write_text(facts)
    with pytest.raises(InputError):
        write_report(tmp_path, tmp_path / "report.html")


def test_cells_of_tables_are_no_formulas(tmp_path):
    texts = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "＝1", "plain", "a=b", ""]
    write_table(tmp_path / "a.csv", ["text", "number"], [[text, -5.25] for text in texts])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.reader(file))[1:]
    assert not [text for text, _ in cells if MARKED.match(text)]
    assert {number for _, number in cells} == {"-5.25"}
    header, rows = read_table(tmp_path / "a.csv")
    assert (header, [row[0] for row in rows]) == (["text", "number"], texts)
    write_table(tmp_path / "b.csv", header, rows)  # numbers that were read stay numbers
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_measurements_are_no_formulas(tmp_path):
    label_map, volume = blocks([structure_for(n, v) for v, n in enumerate(NAMES, 1)])
    write_measurements(measure(label_map, volume), tmp_path / "m.csv")
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert not MARKED.match(row["structure"]) and not MARKED.match(row["name"])
            assert float(row["mean_hu"]) == -50


def test_the_provenance_knows_its_files(tmp_path):
    label_map, volume = blocks([structure_for("liver", 1)])
    written(tmp_path / "out", label_map, volume, ["stl"])
    facts = json.loads((tmp_path / "out" / "provenance.json").read_text("utf-8"))
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert set(facts["files"]) == files - {"provenance.json"}
    assert what_is_wrong(tmp_path / "out", facts) == ""
    for name in facts["files"]:
        for number, spoil in enumerate((lambda p: p.unlink(), cut, change)):
            folder = shutil.copytree(tmp_path / "out", tmp_path / f"{number} {name.replace('/', ' ')}")
            spoil(folder / name)
            assert name in what_is_wrong(folder, facts)
    for broken in ({}, {"files": []}, {"files": {}}, {"files": {"segmentation.nii.gz": 5}}, {"files": {"x": {}}}):
        assert what_is_wrong(tmp_path / "out", broken)


def test_nothing_of_an_earlier_result_is_taken_for_the_new_one(tmp_path):
    folder, page = tmp_path / "out", tmp_path / "report.html"
    written(folder, *blocks([structure_for("liver", 1), structure_for("spleen", 2)]), ["glb"])
    (folder / "notes.txt").write_text("the user's own", "utf-8")
    label_map, volume = blocks([structure_for("heart", 1)])
    written(folder, label_map, volume, labels=["nii.gz"])
    facts = json.loads((folder / "provenance.json").read_text("utf-8"))
    assert {p.name for p in folder.iterdir()} == {*facts["files"], "provenance.json", "notes.txt"}
    assert [s.name for s in read_label_map(folder).structures] == ["heart"]
    write_report(folder, page)
    shown = re.search(r'id="glb">([^<]*)<', page.read_text("utf-8"))[1]
    glb = trimesh.load(io.BytesIO(base64.b64decode(shown)), file_type="glb")
    assert list(glb.geometry) == ["heart"]


def test_a_file_that_was_changed_outlives_the_result_that_it_was_of(tmp_path):
    folder = tmp_path / "out"
    written(folder, *blocks([structure_for("liver", 1)]), ["stl"])
    change(folder / "surfaces" / "liver.stl")
    written(folder, *blocks([structure_for("heart", 1)]))
    assert [p.name for p in (folder / "surfaces").iterdir()] == ["liver.stl"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def change(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


NOISE = np.random.default_rng(0).integers(0, 2, (40, 40, 40)).astype(np.uint8)
NOISY = LabelMap(NOISE, np.eye(4), [structure_for("liver", 1)])
BALL = LabelMap((np.hypot(np.hypot(*np.mgrid[:40, :40, :40][:2] - 20), np.mgrid[:40, :40, :40][2] - 20) < 15).astype(
    np.uint8), np.eye(4), [structure_for("liver", 1)])  # fmt: skip
CT = Volume(NOISE.astype(np.float32), np.eye(4))


def surface_writer(kind):
    return lambda path: write_surfaces(BALL, path.parent / "new", [kind])


def table(path):
    with atomic_path(path) as temporary:
        write_table(temporary, ["text"], [["x" * 100]] * 1000)


def picture(path):
    with atomic_path(path) as temporary:
        write_preview(CT, BALL, temporary)


WRITERS = {
    **{kind: lambda path: write_label_map(NOISY, path) for kind in ("nii", "nii.gz", "nrrd", "mha", "seg.nrrd")},
    **{kind: surface_writer(kind) for kind in FORMATS},
    "csv": table,
    "png": picture,
    "npz": lambda path: write_probabilities(TopProbabilities(NOISE[None], NOISE[None], np.eye(4), "digest"), path),
    "float.nrrd": lambda path: write_volume(CT, path),
    "result": lambda path: written(path.parent, BALL, CT),
    "export": lambda path: export_result(path.parent, BALL, CT, ["html", "stl", "seg.nrrd"]),
}


def said_of_a_full_disk(write, path):
    path.write_text("old", "utf-8")
    with pytest.raises(OutputError, match=r"disk is full|no room") as caught:
        write(path)
    assert caught.value.code == "output.disk_full"
    assert path.read_text("utf-8") == "old"
    assert [p.name for p in path.parent.rglob("*") if p.is_file()] == [path.name]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_told_for_every_format(tmp_path, kind):
    """As by a quota: no file may grow beyond 2 kB."""
    resource = pytest.importorskip("resource", reason="Windows knows no limit of file size")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
        said_of_a_full_disk(WRITERS[kind], tmp_path / f"a.{kind}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def full_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=36k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "kind", [k for k in WRITERS if k not in ("nii.gz", "nrrd", "float.nrrd", "mha", "seg.nrrd", "npz", "3mf")]
)
def test_a_small_disk_is_told_for_every_format(full_disk, kind):
    said_of_a_full_disk(WRITERS[kind], full_disk / f"a.{kind}")


def test_a_full_disk_is_told_for_exported_models_and_reports(tmp_path, full_disk, demo_model):
    with pytest.raises(OutputError, match="disk is full"):
        export_model(ModelCard.read(demo_model), full_disk / "model.zip")
    written(tmp_path / "out", BALL, CT)
    with pytest.raises(OutputError, match="disk is full"):
        write_report(tmp_path / "out", full_disk / "report.html")
    assert list(full_disk.iterdir()) == []
