"""Time points from files, and the files of a follow-up."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic import (
    InputError,
    OutputError,
    Structure,
    follow_up,
    read_time_point,
    write_follow_up,
    write_label_map,
    write_volume,
)
from DeepSegLogic.cli import main
from DeepSegLogic.data.boxes import box_of, matrix_of
from DeepSegLogic.data.itk import sitk_image
from DeepSegLogic.review.measurements import measure, write_measurements
from DeepSegLogic.util.digests import file_digest

from .phantoms import ORGANS, Body, grid, motion, time_point

MOVED = motion((0, 0, 8), (10, -5, 6))
TUMOR = Body("liver_tumor", (42, 8, 5), (15.5, 15.5, 15.5), 40)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder with ``before`` and ``after``, folders of results, and their CTs; the time points."""
    folder = tmp_path_factory.mktemp("scans")
    points = (
        time_point([*ORGANS, TUMOR], *grid((1.5, 1.5, 1.5)), scan=True, confidence={"liver": 0.9}),
        time_point([*ORGANS, TUMOR.grown(1.5)], *grid((1.5, 1.5, 2), 160, centre=MOVED[:3, 3]), MOVED, scan=True),
    )
    for name, point in zip(("before", "after"), points, strict=True):
        (folder / name).mkdir()
        write_label_map(point.label_map, folder / name / "segmentation.seg.nrrd")
        write_measurements(point.measured(), folder / name / "measurements.csv")
        write_volume(point.volume, folder / f"{name}.nii.gz")
    return folder, points


def test_a_folder_of_results_and_a_pair_of_files_say_the_same(scans):
    folder, (before, _) = scans
    alone = read_time_point(folder / "before")
    assert alone.volume is None and alone.confidence == {"liver": 0.9}
    pair = read_time_point(folder / "before" / "segmentation.seg.nrrd", folder / "before.nii.gz")
    for one in (alone, pair):
        rows = {r.name: r for r in one.measured()}
        for row in before.measured():
            assert rows[row.name].volume_ml == pytest.approx(row.volume_ml)
            assert rows[row.name].mean_hu == pytest.approx(row.mean_hu)


@pytest.mark.parametrize("corrected", [False, True])
def test_margins_that_were_left_out_cut_nothing_that_is_known_to_be_whole(scans, tmp_path, corrected):
    """As 3D Slicer saves it: only the extent of the segments."""
    folder, (_, after) = scans
    shutil.copytree(folder / "before", tmp_path / "before")
    file = tmp_path / "before" / "segmentation.seg.nrrd"
    facts = {"files": {file.name: {"digest": file_digest(file)}}}
    (file.parent / "provenance.json").write_text(json.dumps(facts), "utf-8")
    whole = read_time_point(folder / "before", folder / "before.nii.gz")
    array, liver = whole.label_map.array.copy(), whole.label_map.mask("liver")
    if corrected:
        array[: np.nonzero(liver)[0].min() + 1][liver[: np.nonzero(liver)[0].min() + 1]] = 0
    box = box_of(array > 0)
    matrix = matrix_of(box, whole.label_map.ijk_to_ras)
    write_label_map(replace(whole.label_map, array=array[box].copy(), ijk_to_ras=matrix), file)

    def cut(baseline):
        found = follow_up(baseline, after, days=9)
        told = [sentence for sentence in found.warnings if "at the edge of its label map" in sentence]
        return {change.name for change in found.changes if change.cut_before and not change.lesion}, told

    cropped, known = read_time_point(tmp_path / "before"), {row.name for row in whole.measured() if row.cut}
    edges = {row.name for row in measure(cropped.label_map, None) if row.cut}
    assert edges > {"liver", *known}, "all that the array ends with"
    names, told = cut(cropped)
    assert names == known | ({"liver"} if corrected else set())
    assert len(told) == corrected
    for sentence in told:
        assert "The baseline has no CT" in sentence and "cut: liver." in sentence.lower()
    assert cut(read_time_point(tmp_path / "before", folder / "before.nii.gz")) == (known, [])


def test_the_picture_of_all_outlines_what_both_scans_were_segmented_for(scans, tmp_path):
    _, (before, _) = scans
    pictures = []
    for extra in (False, True):
        array, structures = before.label_map.array.copy(), list(before.label_map.structures)
        if extra:
            array[:20, :20, :20] = 99
            structures.append(Structure(99, "box", "Box"))
        later = replace(before, label_map=replace(before.label_map, array=array, structures=structures))
        write_follow_up(follow_up(before, later, days=1), tmp_path / str(extra))
        html = (tmp_path / str(extra) / "report.html").read_text("utf-8")
        pictures.append(re.findall(r'base64,([^"]+)"><figcaption class="faint">All', html))
    assert pictures[0] == pictures[1] and len(pictures[0]) == 1


def test_the_report_begins_with_what_changed_and_explains_only_the_colors_it_shows(scans, tmp_path):
    _, points = scans
    for name, later in (("with", points[1]), ("without", replace(points[1], volume=None))):
        found = follow_up(points[0], later, days=50)
        write_follow_up(found, tmp_path / name)
        html = (tmp_path / name / "report.html").read_text("utf-8")
        assert ("</span>brighter" in html) == ("</span>darker" in html) == (name == "with")
        told = re.findall(r"<li><b>([^<]+)</b>: ([^<]+)</li>", html)
        vague = [" the uncertainty" in text or "field of view" in text for _, text in told]
        assert len(told) == len(found.changes) and vague == sorted(vague) and set(vague) == {False, True}


def test_what_does_not_fit_is_refused(scans, tmp_path):
    folder, _ = scans
    with pytest.raises(InputError, match="does not have the voxels of after"):
        read_time_point(folder / "before", folder / "after.nii.gz")
    with pytest.raises(InputError, match="does not exist"):
        read_time_point(folder / "nothing")
    shutil.copytree(folder / "before", tmp_path / "copy")
    (tmp_path / "copy" / "measurements.csv").write_text("no,table\n1\n", "utf-8")
    with pytest.raises(InputError, match="is damaged"):
        read_time_point(tmp_path / "copy")


def test_the_date_of_a_dicom_series(shared_data):
    import pydicom

    series = shared_data / "abdomen_ct_dicom" / "series"
    header = pydicom.dcmread(next(series.iterdir()), stop_before_pixels=True)
    point = read_time_point(shared_data / "abdomen_ct_dicom" / "labels.nii.gz", series)
    known = [header.get(tag) for tag in ("AcquisitionDate", "SeriesDate", "StudyDate")]
    assert (point.date.strftime("%Y%m%d") if point.date else "") == next(filter(None, known), "")


def test_the_files(scans, tmp_path):
    _, points = scans
    found = follow_up(*points, days=50)
    written = write_follow_up(found, tmp_path / "out")
    assert [p.name for p in written] == ["changes.csv", "report.html", "summary.json", "transform.tfm"]
    rows = {r["name"]: r for r in csv.DictReader((tmp_path / "out" / "changes.csv").read_text("utf-8").splitlines())}
    tumor = rows["liver_tumor"]
    assert float(tumor["after_ml"]) / float(tumor["before_ml"]) == pytest.approx(1.5, rel=0.02)
    facts = json.loads((tmp_path / "out" / "summary.json").read_text("utf-8"))
    matrix = np.array(facts["registration"]["rigid_baseline_to_follow_up_ras_mm"])
    np.testing.assert_allclose(matrix[:3, :3], MOVED[:3, :3], atol=0.01)
    np.testing.assert_allclose(matrix[:3, 3], MOVED[:3, 3], atol=0.5)
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "ml → " in page and "Research use only" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "<script" not in page

    # the transform, as any program that uses ITK applies it, brings the baseline onto the follow-up
    transform = sitk.ReadTransform(str(tmp_path / "out" / "transform.tfm"))
    images = [sitk_image(p.label_map.array, p.label_map.ijk_to_ras) for p in points]
    moved = sitk.GetArrayFromImage(sitk.Resample(images[0], images[1], transform, sitk.sitkNearestNeighbor, 0))
    still = points[1].label_map.array
    assert np.mean(moved[(moved > 0) | (still > 0)] == still[(moved > 0) | (still > 0)]) > 0.85


def test_nothing_is_lost_if_the_folder_cannot_be_written(scans, tmp_path):
    (tmp_path / "file").write_text("kept", "utf-8")
    with pytest.raises(OutputError):
        write_follow_up(follow_up(*scans[1]), tmp_path / "file")
    assert (tmp_path / "file").read_text("utf-8") == "kept"


def test_on_the_command_line(scans, tmp_path, capsys):
    folder, _ = scans
    out = tmp_path / "out"
    line = ["compare", str(folder / "before"), str(folder / "after"), "-o", str(out), "--days", "50"]
    assert main(line) == 0
    told = capsys.readouterr().out
    assert re.search(r"Liver tumor: 15\.\d ml → 23\.\d ml, \+(49|50|51)\.\d %", told)
    assert (out / "report.html").is_file()
    assert main([*line, "--json", "--followup-image", str(folder / "after.nii.gz")]) == 0
    events = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    result = events[-1]
    assert result["event"] == "result" and result["registration"]["basis"] == "structures"
    assert {c["after_hu"] for c in result["changes"] if c["name"] == "aorta"} == {200.0}
    assert main([*line[:3], "-o", str(out), "--baseline-image", str(folder / "after.nii.gz")]) == 3
    assert "does not have the voxels" in capsys.readouterr().err
    assert main([*line[:5], "--days", "-1"]) == 2
