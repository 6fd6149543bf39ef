"""Tables, ROI markups and DICOM reports of findings, read back with other libraries; the command line."""

import csv
import json
import shutil
import subprocess
from dataclasses import replace

import dicom_series
import numpy as np
import pytest
from bright_detector import phantom

from DeepSegLogic import (
    BoxFinding,
    InputError,
    LabelMap,
    Structure,
    UsageError,
    read_findings_csv,
    read_volume,
    write_findings,
    write_findings_csv,
    write_volume,
)
from DeepSegLogic.cli import main
from DeepSegLogic.detection.files import write_roi_markups
from DeepSegLogic.detection.finding import BoxFindings
from DeepSegLogic.io.dicom.box_report import write_box_report
from DeepSegLogic.io.result_files import provenance_of
from DeepSegLogic.results.folder import what_is_wrong, write_outputs
from DeepSegLogic.segmentation import Result
from DeepSegLogic.util.progress import ignore_progress, never_cancel

NODULE = BoxFinding("lung_nodule", 0.91, (-60.0, 10.0, 100.0), (-50.0, 18.0, 106.0), "accepted")
OTHER = BoxFinding("lung_nodule", 0.42, (20.0, -10.0, 80.0), (32.0, -4.0, 90.0))
GONE = BoxFinding("lung_nodule", 0.7, (0.0, 0.0, 0.0), (5.0, 5.0, 5.0), "rejected")


def test_a_table_comes_back_as_it_was(tmp_path):
    write_findings_csv([NODULE, OTHER, GONE], tmp_path / "findings.csv")
    assert read_findings_csv(tmp_path / "findings.csv") == [NODULE, OTHER, GONE]
    rows = list(csv.DictReader((tmp_path / "findings.csv").read_text("utf-8").splitlines()))
    assert [float(rows[0][f"center_{x}_mm"]) for x in "ras"] == [-55, 14, 103]
    write_findings_csv([], tmp_path / "none.csv")
    assert read_findings_csv(tmp_path / "none.csv") == []


def test_kinds_that_a_spreadsheet_would_run_are_made_text(tmp_path):
    """They come from the card of a model that somebody else made."""
    found = [replace(NODULE, kind='=HYPERLINK("http://x")', segment="@SUM(A1)"), replace(OTHER, kind="a\u2028b")]
    write_findings_csv(found, tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[1][1].startswith("'=") and rows[1][-1] == "'@SUM(A1)" and rows[1][4] == "-55.00"
    assert read_findings_csv(tmp_path / "findings.csv") == found


@pytest.mark.parametrize(
    "text",
    [
        "kind,center_r_mm\nlesion,1\n",
        "kind,center_r_mm,center_a_mm,center_s_mm,size_r_mm,size_a_mm,size_s_mm\nlesion,1,1,1,0,1,1\n",
        "kind,center_r_mm,center_a_mm,center_s_mm,size_r_mm,size_a_mm,size_s_mm\nlesion,nan,1,1,1,1,1\n",
        "kind,state,center_r_mm,center_a_mm,center_s_mm,size_r_mm,size_a_mm,size_s_mm\nlesion,x,1,1,1,1,1,1\n",
    ],
)
def test_a_table_that_is_none_gets_a_sentence(text, tmp_path):
    (tmp_path / "a.csv").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"line 2 is not a box"):
        read_findings_csv(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a CSV table"):
        read_findings_csv(tmp_path / "a.csv")


def test_slicer_reads_the_boxes_where_they_are(tmp_path):
    slicer = pytest.importorskip("slicer", reason="needs slicer-core")
    write_roi_markups([NODULE, OTHER], tmp_path / "findings.mrk.json")
    content = json.loads((tmp_path / "findings.mrk.json").read_text("utf-8"))
    for finding, one in zip([NODULE, OTHER], content["markups"], strict=True):
        (tmp_path / "one.mrk.json").write_text(json.dumps(content | {"markups": [one]}), "utf-8")
        node, storage = slicer.vtkMRMLMarkupsROINode(), slicer.vtkMRMLMarkupsROIJsonStorageNode()
        storage.SetFileName(str(tmp_path / "one.mrk.json"))
        assert storage.ReadData(node)
        bounds = np.zeros(6)
        node.GetRASBounds(bounds)
        assert np.allclose(bounds[::2], finding.low) and np.allclose(bounds[1::2], finding.high)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return dicom_series.write_series(tmp_path_factory.mktemp("box_report") / "series")


def inside(volume):
    """A finding in the middle of a volume."""
    k, j, i = (n // 2 for n in volume.shape_kji)
    center, half = (volume.ijk_to_ras @ [i, j, k, 1])[:3], np.array([4, 5, 3])
    return BoxFinding("lung_nodule", 0.8, tuple(center - half), tuple(center + half))


def test_a_report_says_where_how_large_and_how_certain(series, tmp_path):
    hd = pytest.importorskip("highdicom")
    volume = read_volume(series)
    one = inside(volume)
    path = tmp_path / "a.sr.dcm"
    provenance = {"model": {"id": "lung_nodule_ct_detection", "version": "0.6.9"}}
    write_box_report([one, GONE], volume, path, source=series, provenance=provenance)
    report = hd.sr.srread(path)
    (group,) = report.content.get_planar_roi_measurement_groups()
    values = {m.name.meaning: float(m.value) for m in group.get_measurements()}
    assert values == {"Long axis": 10.0, "Short axis": 6.0, "Certainty of Finding": 80.0}
    points = np.asarray(group.roi.value) @ np.diag([-1.0, -1.0, 1.0])  # to RAS
    assert np.allclose(points.min(0)[:2], one.low[:2]) and np.allclose(points.max(0)[:2], one.high[:2])
    assert np.allclose(points[:, 2], one.center_ras[2]) and np.allclose(points[0], points[-1])
    assert group.finding_type.meaning == "Lesion" and group.tracking_identifier == "1 lung nodule"
    if (checker := shutil.which("dciodvfy")) is not None:
        done = subprocess.run([checker, path], capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if line.startswith("Error")]


def test_nothing_to_report_is_refused(series, tmp_path):
    volume = read_volume(series)
    with pytest.raises(UsageError, match="no findings"):
        write_box_report([GONE], volume, tmp_path / "a.dcm", source=series)
    with pytest.raises(UsageError, match="was not read from DICOM"):
        write_findings(BoxFindings([NODULE]), tmp_path / "out", ["sr"], volume=phantom([]))
    with pytest.raises(UsageError, match="Unknown format"):
        write_findings(BoxFindings([NODULE]), tmp_path / "out", ["pdf"])
    assert not (tmp_path / "out").exists() and not (tmp_path / "a.dcm").exists()


def test_findings_beside_a_segmentation_leave_it_as_it_was(tmp_path):
    volume = phantom([(30.0, 40.0, 50.0)])
    label_map = LabelMap((volume.array > volume.array.mean()).astype(np.uint8), volume.ijk_to_ras, [Structure(1, "a")])
    options = {"formats": [], "progress": ignore_progress, "cancel": never_cancel}
    write_outputs(tmp_path, volume, Result(label_map, {}), source=None, **options)
    facts = provenance_of(tmp_path)
    write_findings(BoxFindings([NODULE]), tmp_path)
    assert provenance_of(tmp_path) == facts and what_is_wrong(tmp_path, facts) == ""


def test_files_of_earlier_findings_go_unless_somebody_changed_them(series, tmp_path):
    """As after `deepseg detect -f csv,mrk.json,sr`, and then with a single format into the same folder."""
    for folder, changed in ((tmp_path / "a", ""), (tmp_path / "b", "findings.mrk.json")):
        write_findings(BoxFindings([NODULE]), folder, ["csv", "mrk.json", "sr"], volume=read_volume(series))
        (folder / "findings.of_mine.csv").write_text("x", "utf-8")
        if changed:
            (folder / changed).write_text("mine", "utf-8")
        written = write_findings(BoxFindings([NODULE]), folder, ["csv"])
        left = {path.name for path in folder.iterdir()}
        assert left == {"findings.of_mine.csv", *(path.name for path in written), *filter(None, [changed])}
    assert {path.name for path in written} == {"findings.csv", "findings.provenance.json"}
    assert (tmp_path / "b" / "findings.mrk.json").read_text("utf-8") == "mine"
    assert (tmp_path / "b" / "findings.mrk.json") not in written


def test_the_command_line_finds_writes_and_judges(bright_model, tmp_path, capfd):
    centers = [(30.0, 40.0, 50.0), (90.0, 60.0, 60.0)]
    write_volume(phantom(centers), tmp_path / "ct.nii.gz")
    out = tmp_path / "found" / "case"
    assert (
        main(
            [
                "detect",
                str(tmp_path / "ct.nii.gz"),
                "--force",
                "-m",
                str(bright_model),
                "-o",
                str(out),
                "--min-score",
                "0.5",
            ]
        )
        == 0
    )
    assert "bright spot" in capfd.readouterr().out
    assert {p.name for p in out.iterdir()} == {"findings.csv", "findings.mrk.json", "findings.provenance.json"}
    truth = [BoxFinding("bright_spot", 1, tuple(np.array(c) - 6), tuple(np.array(c) + 6)) for c in centers]
    write_findings_csv(truth, tmp_path / "true" / "case.csv")
    judged = [
        "evaluate-boxes",
        str(tmp_path / "found"),
        str(tmp_path / "true"),
        "-o",
        str(tmp_path / "scores"),
        "--json",
    ]
    assert main(judged) == 0
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert event["lesions"] == event["found"] == 2 and event["sensitivity"]["0.125"] == 1.0
    assert {p.name for p in (tmp_path / "scores").iterdir()} == {
        *("scores.json", "scores.csv", "froc.svg", "average_precision.svg")
    }


def test_the_command_line_says_what_is_wrong(bright_model, demo_model, tmp_path, capfd):
    write_volume(phantom([]), tmp_path / "ct.nii.gz")
    ct, out = str(tmp_path / "ct.nii.gz"), str(tmp_path / "out")
    assert main(["detect", ct, "--force", "-m", str(bright_model), "-o", out]) == 0
    assert "No finding has a score" in capfd.readouterr().out
    assert read_findings_csv(tmp_path / "out" / "findings.csv") == []
    assert main(["detect", ct, "--force", "-m", "ct_demo", "-o", out]) == 4
    assert "finds no boxes" in capfd.readouterr().err
    assert main(["detect", ct, "--force", "-m", str(bright_model), "-o", out, "-f", "sr"]) == 2
    assert "not read from DICOM" in capfd.readouterr().err
    assert main(["segment", ct, "-m", str(bright_model), "-o", out]) == 4
    assert "segments nothing" in capfd.readouterr().err
    write_findings_csv([], tmp_path / "a" / "x.csv")
    (tmp_path / "b").mkdir()
    assert main(["evaluate-boxes", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "no reference" in capfd.readouterr().err
