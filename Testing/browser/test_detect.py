"""Lesions on the page: boxes, score, decisions, a segment, files."""

import csv
import io

import numpy as np
import pytest
from bright_detector import phantom, write_bright_model
from PIL import Image

from DeepSegLogic.detection.files import COLORS
from DeepSegLogic.io import write_volume
from DeepSegLogic.models.import_export import import_model

from .conftest import start, stop
from .steps import BEGUN, LATE, answered, cells, unzip, volume_of, wait_until

pytestmark = pytest.mark.timeout(600)
CENTERS = [(60.0, 100.0, 30.0), (190.0, 130.0, 34.0)]


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    """With a CT with two bright spots, and a detector for them."""
    folder = tmp_path_factory.mktemp("detect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSEG_MODELS", str(folder / "models"))
        import_model(write_bright_model(folder / "bright"))
        write_volume(phantom(CENTERS, shape=(34, 128, 128)), folder / "phantom.nii.gz")
        running = start(folder / "phantom.nii.gz", tmp_path_factory.mktemp("web"))
        yield running
        stop(running)


def rows(page) -> list[list[str]]:
    """The table of findings."""
    return cells(page.get_by_role("table", name="Findings"))


def boxed(page, state) -> int:
    """How many pixels of the axial view have a box's colour."""
    shown = page.locator(".layout-grid-item").first.screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(shown)).convert("RGB"), float) / 255
    return (np.abs(pixels - COLORS[state]).max(2) < 0.1).sum()


def decided(page, *states) -> None:
    """Wait for the decisions in the table."""
    wait_until(page, lambda: [decision for *_, decision in rows(page)] == list(states))


def test_find_decide_segment_and_take_home(page):
    find = page.get_by_role("button", name="Find", exact=True)
    find.click()
    page.get_by_text("does not look like a CT in HU").wait_for()
    page.get_by_label("Segment anyway").check()  # the phantom has no soft tissue
    find.click()
    table = page.get_by_role("table", name="Findings")
    table.wait_for()
    page.get_by_text("Findings shown: 2 of 2, accepted: 0.").wait_for()
    wait_until(page, lambda: rows(page) == [[f"{n} bright spot", "16 × 16 × 16", "0.99", ""] for n in (1, 2)])

    page.get_by_role("button", name="Next", exact=True).click()
    table.locator("tr.current", has_text="2 bright spot").wait_for()
    page.get_by_text("98 / 128").wait_for(state="detached")
    page.get_by_role("button", name="Reject", exact=True).click()
    decided(page, "", "rejected")
    page.get_by_role("button", name="Previous", exact=True).click()
    table.locator("tr.current", has_text="1 bright spot").wait_for()
    wait_until(page, lambda: boxed(page, "open") > 50)
    page.get_by_role("slider", name="Lowest score").press("End")
    decided(page, "rejected")
    wait_until(page, lambda: boxed(page, "open") < 50)
    page.get_by_role("slider", name="Lowest score").press("Home")
    decided(page, "", "rejected")
    page.get_by_role("button", name="Accept", exact=True).click()
    decided(page, "accepted", "rejected")
    wait_until(page, lambda: boxed(page, "accepted") > 50)

    page.get_by_role("button", name="Segment this").click()
    page.get_by_text("Bright spot 1: box").wait_for()
    page.locator("table[aria-label='Structures found'] button").wait_for(state="attached")
    assert table.is_visible(), "the list goes on"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save findings").click()
    written = unzip(waiting.value.path().read_bytes())
    assert set(written.namelist()) == {"findings.csv", "findings.mrk.json", "findings.provenance.json"}
    lines = list(csv.DictReader(written.read("findings.csv").decode().splitlines()))
    assert [line["state"] for line in lines] == ["accepted", "rejected"]
    page.get_by_role("tab", name="Result").click()
    # A ball of 6 mm has 0.90 ml, on voxels of 2 mm within a fifth of it.
    assert volume_of(page, "Bright spot 1") == pytest.approx(0.90, rel=0.3)
    page.get_by_role("button", name="Bright spot 1", exact=True).click()
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_role("button", name="Bright spot 1", exact=True).wait_for(state="detached")


def test_find_takes_what_the_page_shows(page):
    """Also what the server does not know yet."""
    page.get_by_role("tab", name="Segment").click()
    page.get_by_label("Segment anyway").uncheck()
    answered(page)
    page.evaluate(LATE, ["trame.state.update", 10**6])
    page.get_by_label("Segment anyway").check()
    page.evaluate(BEGUN)
    page.get_by_role("button", name="Find", exact=True).click()
    page.wait_for_function("window.begun")
    page.get_by_label("Progress").wait_for(state="detached")
    assert not page.get_by_role("alert").filter(has_text="does not look like a CT in HU").count()
