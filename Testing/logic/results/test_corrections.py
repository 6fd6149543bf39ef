"""What somebody corrected in a folder of results is told from what is damaged."""

import base64
import json
import re

import numpy as np
import pytest

from DeepSegLogic import (
    InputError,
    OutputError,
    Structure,
    evaluate,
    read_label_map,
    read_time_point,
    read_volume,
    write_label_map,
)
from DeepSegLogic.cli import main
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.evaluation.cases import find_pairs
from DeepSegLogic.io import write_volume
from DeepSegLogic.io.result_files import label_map_in
from DeepSegLogic.results.corrections import corrections_in, must_not_be_corrected
from DeepSegLogic.results.folder import write_outputs
from DeepSegLogic.results.report import write_report
from DeepSegLogic.segmentation import Result
from DeepSegLogic.util.digests import file_digest
from DeepSegLogic.util.progress import ignore_progress, never_cancel

NAMES = "segmentation.nii.gz", "segmentation.seg.nrrd"


@pytest.fixture
def result(tmp_path):
    """A folder of results."""
    array = np.zeros((6, 7, 8), np.uint8)
    array[2:4, 2:5, 2:6] = 1
    label_map = LabelMap(array, np.diag([1.0, 1.0, 2.0, 1.0]), [Structure(1, "liver", "Liver")])
    volume = Volume(array.astype(np.int16) * 50, label_map.ijk_to_ras, "ct", "CT")
    folder = tmp_path / "out"
    found, quiet = Result(label_map, {"liver": 0.97}), {"progress": ignore_progress, "cancel": never_cancel}
    write_outputs(folder, volume, found, source=None, formats=[], **quiet)
    write_volume(volume, tmp_path / "ct.nii.gz")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_corrected_label_map_is_not_replaced(result, name):
    assert corrections_in(result, read_label_map) == []
    must_not_be_corrected(result, read_label_map)
    corrected = read_label_map(result / name)
    corrected.array[0] = 1
    write_label_map(corrected, result / name)
    assert corrections_in(result, read_label_map) == [result / name]
    with pytest.raises(OutputError, match=name):
        must_not_be_corrected(result, read_label_map)


def correct(result, name, change):
    """Correct a label map in a folder of results, as another program would."""
    label_map = read_label_map(result / name)
    change(label_map)
    write_label_map(label_map, result / name)


def one_slice_more(label_map):
    label_map.array[4, 2:5, 2:6] = 1


def reported(result, **options):
    """Text of the report, its sentences about the correction, and the cells of its rows."""
    page = result.parent / "report.html"
    notes = write_report(result, page, **options)
    text = page.read_text("utf-8")
    number = '<td class="num"[^>]*>([^<]*)</td>'
    rows = re.findall(f"</span>([^<]*)</td>{number}{number}{number}", text)
    return text, " ".join(notes), rows


@pytest.mark.parametrize("name", NAMES)
def test_a_report_has_the_numbers_of_the_labels_that_it_shows(result, name):
    text, notes, rows = reported(result)
    assert notes == "" and rows == [("Liver", "0.0", "50", "0.97")]
    correct(result, name, one_slice_more)
    volume = read_volume(result.parent / "ct.nii.gz")
    text, notes, rows = reported(result, volume=volume)
    ((_name, ml, hu, confidence),) = rows
    assert (ml, hu, confidence) == ("0.1", "33", ""), "36 voxels of 2 mm³; 24 of 50 HU and 12 of 0; nobody was asked"
    assert f"{name} was corrected" in notes and notes in text and "<h2>Slices" in text
    correct(result, name, lambda labels: labels.array.fill(0) or labels.array[2:4, 2:5, 2:6].fill(1))
    assert reported(result, volume=volume)[2] == [("Liver", "0.0", "50", "0.97")], "as it was found"


@pytest.mark.parametrize("name", NAMES)
def test_without_the_ct_a_report_of_a_correction_shows_nothing_of_before(result, name):
    correct(result, name, one_slice_more)
    text, notes, rows = reported(result)
    assert rows == [("Liver", "0.1", "", "")]
    assert "need the CT" in notes and "<h2>Slices" not in text


def test_structures_that_were_not_corrected_keep_their_numbers(result):
    def with_a_spleen(label_map):
        label_map.array[0, 0, 0] = 2
        label_map.structures = [*label_map.structures, Structure(2, "spleen", "Spleen")]

    correct(result, NAMES[1], with_a_spleen)
    assert reported(result)[2] == [("Liver", "0.0", "50", "0.97"), ("Spleen", "0.0", "", "")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("corrected", [True, False])
def test_the_volume_of_another_result_is_refused(result, name, corrected):
    if corrected:
        correct(result, name, one_slice_more)
    volume = read_volume(result.parent / "ct.nii.gz")
    volume.ijk_to_ras = volume.ijk_to_ras + np.eye(4)[:, [3, 0, 1, 2]] * 0.3
    with pytest.raises(InputError, match="does not have the voxels"):
        reported(result, volume=volume)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("listed", [True, False])
def test_a_report_says_which_structures_a_correction_removed_and_added(result, name, listed):
    def liver_to_spleen(label_map):
        label_map.array[label_map.array == 1] = 2
        label_map.structures = [*(label_map.structures if listed else []), Structure(2, "spleen", "Spleen")]

    correct(result, name, liver_to_spleen)
    (result / "surfaces").mkdir()
    (result / "surfaces" / "organs.glb").write_bytes(b"surfaces of before")
    text, _notes, rows = reported(result)
    assert "Removed: Liver. Added: Spleen." in text and "Not found" not in text
    assert [row[:2] for row in rows] == [("Spleen", "0.0")]
    assert 'value="liver"' not in text and base64.b64encode(b"surfaces of before").decode() not in text


@pytest.mark.parametrize("recorded", [True, False])
def test_a_report_shows_no_surfaces_that_are_not_of_its_result(result, recorded):
    """Somebody may have written others into the folder, as `deepseg surfaces -o result/surfaces` does."""
    glb, facts = result / "surfaces" / "organs.glb", json.loads((result / "provenance.json").read_text("utf-8"))
    glb.parent.mkdir()
    glb.write_bytes(b"of this result")
    if recorded:
        facts["files"]["surfaces/organs.glb"] = {"bytes": 14, "digest": file_digest(glb)}
        (result / "provenance.json").write_text(json.dumps(facts), "utf-8")
    assert (base64.b64encode(b"of this result").decode() in reported(result)[0]) == recorded
    glb.write_bytes(b"of another one")
    assert base64.b64encode(b"of another one").decode() not in reported(result)[0]


def test_a_comparison_with_a_corrected_result_has_no_numbers_of_before(result):
    point = read_time_point(result)
    assert point.confidence == {"liver": 0.97} and point.mean_hu == {"liver": 50}
    correct(result, NAMES[1], one_slice_more)
    point = read_time_point(result)
    assert point.confidence == {} and point.mean_hu == {}
    assert [(row.voxels, row.mean_hu) for row in point.measured()] == [(36, None)]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_label_map_is_no_correction(result, name):
    (result / name).write_bytes((result / name).read_bytes()[:-20])
    assert corrections_in(result, read_label_map) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_results_is_read_from_the_file_that_was_corrected(result, name):
    """Whatever reads it: a copy in another format is what the network said."""
    corrected = read_label_map(result / name)
    corrected.array[0] = 1
    write_label_map(corrected, result / name)
    assert label_map_in(result) == result / name
    np.testing.assert_array_equal(read_label_map(result).array, corrected.array)
    for pair in ((result, corrected), (corrected, result)):
        (score,) = evaluate(*pair).scores
        assert score.values["dice"] == 1
    assert result / name in [pair.prediction for pair in find_pairs(result.parent, result.parent).pairs]


def test_where_nobody_knows_what_was_written_nothing_is_a_correction(result, tmp_path):
    assert corrections_in(tmp_path, read_label_map) == []
    for text in ("", "[]", "{}", '{"files": {"segmentation.nii.gz": 5}}'):
        (result / "provenance.json").write_text(text)
        assert corrections_in(result, read_label_map) == []
        assert label_map_in(result) == result / NAMES[1]


def test_the_command_line_refuses_before_it_segments(result, tmp_path, capfd):
    corrected = read_label_map(result / NAMES[1])
    corrected.array[0] = 1
    write_label_map(corrected, result / NAMES[1])
    work = (result / NAMES[1]).read_bytes()
    assert main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(result)]) == 5
    assert "was corrected since it was written" in " ".join(capfd.readouterr().err.split())
    assert (result / NAMES[1]).read_bytes() == work


@pytest.mark.parametrize("name", NAMES)
def test_the_report_reads_the_ct_that_it_is_given(result, name, monkeypatch, capfd):
    from DeepSegLogic.worker import isolated

    read, images = isolated.read_volume, []
    monkeypatch.setattr(isolated, "read_volume", lambda path, **more: images.append(path) or read(path, **more))
    ct = result.parent / "ct.nii.gz"
    line = ["report", str(result), "--image", str(ct), "-o", str(result.parent / "report.html")]
    assert main(line) == 0 and images == [ct]
    correct(result, name, one_slice_more)
    assert main(line) == 0 and images == [ct, ct]
    assert "<h2>Slices" in (result.parent / "report.html").read_text("utf-8")
    assert "need the CT" not in capfd.readouterr().err
