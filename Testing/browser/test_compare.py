"""Compare the result with uploaded segmentations: a reference, and that of an earlier scan."""

import zipfile

import pytest

from .steps import cells, download

pytestmark = pytest.mark.timeout(300)


def compare(page, path, button="Compare with reference") -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files(path)


def test_the_result_compared_with_itself_is_perfect(done, tmp_path):
    wrong, reference = tmp_path / "notes.nrrd", tmp_path / "reference.seg.nrrd"
    wrong.write_bytes(b"no image")
    compare(done, wrong)
    done.get_by_text("notes.nrrd").wait_for()

    done.get_by_role("tab", name="Result").click()
    reference.write_bytes(download(done, ["Segmentation (.seg.nrrd)"]))
    compare(done, reference)
    table = done.get_by_role("table", name="Comparison with the reference")
    table.wait_for()
    done.get_by_text("notes.nrrd").wait_for(state="hidden")
    scores = {title: numbers for title, *numbers in cells(table)}
    assert scores["Left lung"] == ["1.000", "1.000", "0.0", "+0.0"] and len(scores) > 3


def test_the_result_compared_with_itself_as_an_earlier_scan_has_not_changed(done, tmp_path):
    earlier = tmp_path / "earlier.seg.nrrd"
    earlier.write_bytes(download(done, ["Segmentation (.seg.nrrd)"]))
    done.get_by_label("Days between the scans").fill("90")
    compare(done, earlier, "Compare with an earlier scan")
    table = done.get_by_role("table", name="Changes since the earlier scan")
    table.wait_for()
    changes = cells(table)
    assert len(changes) > 3 and all(before == after for _, before, after, _ in changes)
    assert {percent for *_, percent in changes} <= {"+0.0", "–"}
    done.get_by_text("90 days between the scans.").wait_for()
    with done.expect_download() as report:
        done.get_by_role("button", name="Save the report").click()
    content = zipfile.ZipFile(report.value.path())
    assert "report.html" in content.namelist() and b"Before, ml" in content.read("report.html")
