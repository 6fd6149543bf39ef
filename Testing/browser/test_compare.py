"""Compare the result with an uploaded reference segmentation."""

import pytest

from .steps import download

pytestmark = pytest.mark.timeout(300)


def compare(page, path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Compare with reference").click()
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
    assert not done.get_by_text("notes.nrrd").is_visible()
    cells = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    scores = {title: numbers for title, *numbers in cells}
    assert scores["Left lung"] == ["1.000", "1.000", "0.0", "+0.0"] and len(scores) > 3
