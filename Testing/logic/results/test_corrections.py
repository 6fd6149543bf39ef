"""What somebody corrected in a folder of results is told from what is damaged."""

import base64

import numpy as np
import pytest

from DeepSegLogic import OutputError, Structure, evaluate, read_label_map, write_label_map
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
    write_outputs(
        folder, volume, Result(label_map, {}), source=None, formats=[], progress=ignore_progress, cancel=never_cancel
    )
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


@pytest.mark.parametrize("name", NAMES)
def test_a_report_says_that_its_numbers_are_those_before_a_correction(result, name):
    page, told = result.parent / "report.html", f"{name} was corrected afterwards"
    write_report(result, page)
    assert told not in page.read_text("utf-8")
    corrected = read_label_map(result / name)
    corrected.array[0] = 1
    write_label_map(corrected, result / name)
    write_report(result, page)
    assert told in page.read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("listed", [True, False])
def test_a_report_says_which_structures_a_correction_removed_and_added(result, name, listed):
    corrected = read_label_map(result / name)
    corrected.array[corrected.array == 1] = 2
    spleen = Structure(2, "spleen", "Spleen")
    corrected.structures = [*(corrected.structures if listed else []), spleen]
    write_label_map(corrected, result / name)
    page = result.parent / "report.html"
    (result / "surfaces").mkdir()
    (result / "surfaces" / "organs.glb").write_bytes(b"surfaces of before")
    write_report(result, page)
    text = page.read_text("utf-8")
    assert "Removed: Liver. Added, and not measured: Spleen." in text and "Not found" not in text
    assert 'value="liver"' not in text and base64.b64encode(b"surfaces of before").decode() not in text


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
