"""Every command that takes a label map reads what `segment --format dcm-seg` and the like wrote."""

import csv
import json
import shutil
from unittest.mock import patch

import dicom_series
import numpy as np
import pytest

from DeepSegLogic import Result, measure, read_label_map, read_volume
from DeepSegLogic.cli import main
from DeepSegLogic.io.result_files import LABEL_MAP_FILES, label_map_in
from DeepSegLogic.results.folder import write_outputs
from DeepSegLogic.results.label_files import DICOM_FORMATS, LABEL_FORMATS
from DeepSegLogic.util.progress import ignore_progress, never_cancel
from DeepSegLogic.worker import ProcessLink, WorkerClient, isolated

DICOM = ["dcm-seg", "dcm-labelmap", "rtstruct"]
LISTED = {"progress": ignore_progress, "cancel": never_cancel}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A CT series, and a folder of results of it for each format of a label map."""
    folder = tmp_path_factory.mktemp("dicom")
    ct = dicom_series.write_series(folder / "ct")
    volume = read_volume(ct)
    found = dicom_series.organs(volume.ijk_to_ras)
    for name in LABEL_MAP_FILES:
        write_outputs(folder / name, volume, Result(found, {}), source=ct, formats=[], labels=[name], **LISTED)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_reader():
    """All commands read in the same process, whose start takes longer than what it does."""
    with (
        WorkerClient(lambda: ProcessLink(handlers=isolated.READER)) as client,
        patch.object(isolated, "WorkerClient", lambda *_, **__: client),
        patch.object(client, "close"),
    ):
        yield


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(made)
    return tmp_path


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_all_formats_of_label_maps_are_found_in_a_folder_of_results(made):
    assert {*LABEL_MAP_FILES} == {*LABEL_FORMATS} - {"sr", "dcm-stl"} and {*DICOM} < {*DICOM_FORMATS}
    assert [label_map_in(made / name).name for name in LABEL_MAP_FILES] == [*LABEL_MAP_FILES.values()]
    assert label_map_in(made / "ct") is None and label_map_in(made) is None


@pytest.mark.parametrize("name", DICOM)
def test_a_folder_of_results_is_its_label_map(made, name):
    expected, found = read_label_map(made / "seg.nrrd"), read_label_map(made / name, made / "ct")
    there = [s.name for s in expected.structures if (expected.array == s.value).any()]
    assert sorted(s.name for s in found.structures) == sorted(there) and len(there) > 1
    assert found.array.shape == expected.array.shape
    assert dice(found.array > 0, expected.array > 0) > (0.97 if name == "rtstruct" else 0.9999)


@pytest.mark.parametrize("name", DICOM)
def test_compare_reads_results_in_dicom_only(here, made, name, capfd):
    images = ["--baseline-image", "ct", "--followup-image", "ct"]
    assert main(["compare", name, "seg.nrrd", *images, "-o", str(here / "out"), "--json"]) == 0
    changes = json.loads(capfd.readouterr().out.splitlines()[-1])["changes"]
    rows = measure(read_label_map("seg.nrrd"), read_volume("ct"))
    volumes = {row.name: row.volume_ml for row in rows if row.voxels}
    assert {c["name"] for c in changes} == set(volumes) and len(volumes) > 1
    for change in changes:
        assert change["before_ml"] == pytest.approx(volumes[change["name"]], rel=0.03 if name == "rtstruct" else 1e-3)


def test_without_the_ct_contours_are_refused_and_voxels_compared(here, capfd):
    assert main(["compare", "rtstruct", "seg.nrrd", "-o", str(here / "out")]) == 3
    assert "--baseline-image" in capfd.readouterr().err
    assert main(["compare", "dcm-seg", "seg.nrrd", "-o", str(here / "out")]) == 0


@pytest.mark.parametrize("name", DICOM)
def test_evaluate_agrees_with_the_voxels(here, name):
    image = ["--image", "ct"] if name == "rtstruct" else []
    assert main(["evaluate", name, "seg.nrrd", *image, "-o", str(here / "out")]) == 0
    with (here / "out" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 1 and all(float(row["dice"]) > (0.95 if name == "rtstruct" else 0.9999) for row in rows)


def test_evaluate_finds_results_in_dicom_among_many(here, made):
    for number in "12":
        shutil.copytree(made / "dcm-seg", here / "many" / number)
        shutil.copytree(made / "seg.nrrd", here / "true" / number)
    assert main(["evaluate", str(here / "many"), str(here / "true"), "-o", str(here / "out")]) == 0
    with (here / "out" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {"1", "2"} and all(float(row["dice"]) > 0.9999 for row in rows)


@pytest.mark.parametrize("name", DICOM)
@pytest.mark.parametrize(
    "line",
    [
        "surfaces {} -i ct -o {out}/surfaces",
        "measure {} -i ct --features -o {out}/measured",
        "measure {} -i ct --diameters {structure}",
        "plan {} -i ct --plan {out}/plan.json -o {out}/planned",
        "what ct --labels {}",
        "refine {} -i ct -p {out}/prompts.json -o {out}/fixed.seg.nrrd",
    ],
)
def test_other_commands_read_them(here, name, line):
    structure = read_label_map("seg.nrrd").structures[0].name
    plan = {"format": "deepseg.plan", "version": 1, "units": "mm", "margins": [{"structure": structure, "mm": 3}]}
    (here / "plan.json").write_text(json.dumps(plan), "utf-8")
    volume = read_volume("ct")
    middle = (volume.ijk_to_ras @ [*(np.array(volume.shape_ijk) // 2), 1])[:3].tolist()
    prompt = {"structure": structure, "type": "point", "positive": False, "ras": middle}
    (here / "prompts.json").write_text(json.dumps({"prompts": [prompt]}), "utf-8")
    assert main(line.format(name, out=here, structure=structure).split()) == 0


@pytest.mark.parametrize("name", ["nii.gz", *DICOM])
def test_a_report_is_made_of_results_without_slicers_format(here, capfd, name):
    image = ["--image", "ct"] if name == "rtstruct" else []
    assert main(["report", name, *image, "-o", str(here / "report.html"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["bytes"] == (here / "report.html").stat().st_size
    assert np.all([s.title in (here / "report.html").read_text("utf-8") for s in read_label_map("seg.nrrd").structures])
