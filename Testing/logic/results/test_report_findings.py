"""The findings in a report: those of the review list, without those that the reader hid there."""

import re
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.classify import Part, Scan
from DeepSegLogic.cli import main
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.drafting.table import table_of
from DeepSegLogic.io import write_volume
from DeepSegLogic.results.folder import write_outputs
from DeepSegLogic.results.report import write_report
from DeepSegLogic.review import measure, review
from DeepSegLogic.segmentation import Result
from DeepSegLogic.util.progress import ignore_progress, never_cancel

HEAD = Scan("CT", (Part("neck", -40, 90, 0.8), Part("head", 90, 260, 0.9)), -40, 260)
CONFIDENCE = {"ribs_left": 0.3, "gray_matter": 0.4}
LOW = [("confidence", "ribs_left"), ("confidence", "gray_matter")]


@pytest.fixture(autouse=True)
def scan(monkeypatch):
    """Each volume shows a head and a neck."""
    for name in ("results.report", "drafting.result_folder"):
        monkeypatch.setattr(f"DeepSegLogic.{name}.what_is", lambda volume: HEAD)


@pytest.fixture
def case(tmp_path):
    """Volume, label map and folder of a result with ribs in a head; the folder's report without further options."""
    matrix = np.diag([3.0, 3.0, 3.0, 1.0])
    matrix[2, 3] = -40
    array = np.zeros((100, 8, 12), np.uint8)
    array[65:75, 2:6, 1:4], array[80:90, 2:6, 6:10] = 1, 2
    label_map = LabelMap(array, matrix, [structure_for("ribs_left", 1), structure_for("gray_matter", 2)])
    volume = Volume(array.astype(np.int16) * 50, matrix, "ct", "CT")
    how = {"source": None, "formats": [], "progress": ignore_progress, "cancel": never_cancel}
    write_outputs(tmp_path / "out", volume, Result(label_map, CONFIDENCE), **how)
    write_volume(volume, tmp_path / "ct.nii.gz")
    return volume, label_map, tmp_path / "out"


def listed(page):
    """What a report lists to check first, and the line below that list."""
    text = page.read_text("utf-8")
    part = text.split("Check these first</h2>")[-1] if "Check these first" in text else ""
    return re.findall("<li>([^<]*)</li>", part), re.findall('<p class="faint">([^<]*by the reader.)</p>', part)


def reported(folder, **options):
    write_report(folder, folder.parent / "report.html", **options)
    return listed(folder.parent / "report.html")


def test_where_the_ct_is_at_hand_it_has_what_lies_elsewhere(case):
    volume, label_map, folder = case
    assert reported(folder) == ([f.reason for f in review(label_map, CONFIDENCE)], [])
    found = review(label_map, CONFIDENCE, HEAD)
    assert found[0].kind == "elsewhere" and reported(folder, volume=volume) == ([f.reason for f in found], [])


def test_the_command_line_has_it_too(case):
    folder = case[2]
    line = ["report", str(folder), "-o", str(folder.parent / "report.html"), "-q"]
    for more, there in (([], False), (["--image", str(folder.parent / "ct.nii.gz")], True)):
        assert main([*line, *more]) == 0
        assert ("found where the scan" in " ".join(listed(folder.parent / "report.html")[0])) == there


@pytest.mark.parametrize(
    ("hidden", "left"),
    [
        (LOW[:1], ["1 finding hidden by the reader."]),
        (LOW, ["2 findings hidden by the reader."]),
        ([("far", "ribs_left"), ("confidence", "liver")], []),
    ],
)
def test_what_the_reader_hid_is_counted_only(case, hidden, left):
    volume, label_map, folder = case
    findings = review(label_map, CONFIDENCE, HEAD)
    shown = [f.reason for f in findings if (f.kind, f.structure) not in hidden]
    assert reported(folder, volume=volume, hidden=hidden) == (shown, left)
    told = table_of(label_map, measure(label_map, volume), confidence=CONFIDENCE, scan=HEAD, hidden=hidden).lines
    assert [line.removeprefix("To check: ") for line in told if line.startswith("To check")] == shown


def test_all_of_them_hidden_leaves_the_count(case):
    assert reported(case[2], hidden=LOW) == ([], ["2 findings hidden by the reader."])


@pytest.mark.parametrize("corrected", [True, False])
def test_what_was_hidden_in_slicer_is_known_from_the_saved_file(case, corrected):
    """As 3D Slicer saves the segments of a result, with their tags, into its folder."""
    _, label_map, folder = case
    path = folder / "segmentation.seg.nrrd"
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array[60, 0, 0] = int(corrected)
    again = sitk.GetImageFromArray(array)
    again.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        again.SetMetaData(key, image.GetMetaData(key))
    for number, name in enumerate(["ribs_left", "gray_matter"]):
        tags = f"Segmentation.Status:inprogress|DeepSeg.structure:{name}|DeepSeg.ignored:confidence far|"
        again.SetMetaData(f"Segment{number}_Tags", tags)
    sitk.WriteImage(again, str(path))
    text = reported(folder)
    now = replace(label_map, array=array)
    confidence = {"gray_matter": 0.4} if corrected else CONFIDENCE
    assert text == ([], [f"{len(review(now, confidence))} finding{'s' * (not corrected)} hidden by the reader."])
