"""From the demonstration CT to its result and back, as a user goes."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
import trimesh

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def done(page):
    """A page with a result; the server keeps it from test to test."""
    if not page.locator("table").is_visible():
        page.get_by_role("button", name="Segment", exact=True).click()
    page.locator("table").wait_for(timeout=200_000)
    page.get_by_role("button", name="Segment", exact=True).wait_for()
    return page


def volume_of(page, title) -> float:
    row = page.locator("tr", has=page.get_by_role("button", name=title, exact=True))
    return float(row.locator("td").nth(2).inner_text())


def take(page, tool) -> None:
    """Press a tool's button, unless it is pressed."""
    button = page.get_by_role("button", name=tool, exact=True)
    if button.get_attribute("aria-pressed") != "true":
        button.click()


def wait_for_volume(page, title, wanted) -> None:
    """Until a structure's volume in the table is as wanted; measures come a moment after a correction."""
    for _ in range(150):
        if wanted(volume_of(page, title)):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{title} has {volume_of(page, title)} ml")


def download(page, formats) -> bytes:
    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog")
    for box in dialog.get_by_role("checkbox").all():
        box.uncheck()
    for label in formats:
        dialog.get_by_label(label).check()
    with page.expect_download() as waiting:
        dialog.get_by_role("button", name="Download").click()
    return waiting.value.path().read_bytes()


def unzip(content) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def test_progress_moves_slices_scroll_and_cancel_stops(page, server):
    page.get_by_role("button", name="Segment", exact=True).click()
    bar, seen, frames = page.get_by_label("Progress"), set(), set()
    slider = page.get_by_role("slider", name="Axial slice").first
    image = page.locator(".layout-grid-item img").first
    slider.focus()
    while len(seen) < 4:
        seen.add(float(bar.get_attribute("aria-valuenow")))
        slider.press("ArrowRight")
        page.wait_for_timeout(100)
        frames.add(image.get_attribute("src"))
    assert len(frames) > 2, "no new slices came while the run went on"
    file = {"name": "other.nrrd", "mimeType": "application/octet-stream", "buffer": b"NRRD0004"}
    page.request.post(server.url.replace("index.html", "upload"), multipart={"files": file})
    page.get_by_role("alert").filter(has_text="A task is under way.").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    assert page.get_by_role("button", name="Segment", exact=True).is_enabled()


def test_exports_agree_with_the_table(done, tmp_path):
    archive = unzip(download(done, ["GLB", "Segmentation, SEG.NRRD", "Measurements"]))
    names = archive.namelist()
    assert {"segmentation.seg.nrrd", "measurements.csv"} <= set(names)
    shown = volume_of(done, "Left lung")
    image = sitk.ReadImage(archive.extract("segmentation.seg.nrrd", tmp_path))
    value = next(
        int(image.GetMetaData(key.replace("_Name", "_LabelValue")))
        for key in image.GetMetaDataKeys()
        if key.endswith("_Name") and image.GetMetaData(key) == "Left lung"
    )
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(image) == value)
    assert voxels * np.prod(image.GetSpacing()) / 1000 == pytest.approx(shown, abs=0.06)
    glb = next(name for name in names if name.endswith(".glb"))
    meshes = trimesh.load(io.BytesIO(archive.read(glb)), file_type="glb")
    assert len(meshes.geometry) > 5


def test_each_surface_format_opens(done):
    archive = unzip(download(done, ["STL", "OBJ", "PLY", "3MF"]))
    shown = volume_of(done, "Left lung")
    for suffix in ("stl", "obj", "ply"):
        name = next(n for n in archive.namelist() if "lung" in n and "left" in n and n.endswith(suffix))
        mesh = trimesh.load(io.BytesIO(archive.read(name)), file_type=suffix, force="mesh")
        assert mesh.is_watertight
        assert mesh.volume / 1000 == pytest.approx(shown, rel=0.02)
    assert any(name.endswith(".3mf") for name in archive.namelist())


def test_the_scene_opens_elsewhere(done, chest_ct, tmp_path):
    archive = unzip(download(done, ["Whole scene"]))
    names = {Path(name).suffixes[-1]: name for name in archive.namelist() if Path(name).suffixes}
    assert ".mrml" in names
    scans = [archive.extract(name, tmp_path) for name in archive.namelist() if name.endswith(".nrrd")]
    ct, segmentation = (next(s for s in scans if s.endswith(".seg.nrrd") is wanted) for wanted in (False, True))
    kept, given = sitk.ReadImage(ct), sitk.ReadImage(str(chest_ct))
    assert np.array_equal(sitk.GetArrayViewFromImage(kept), sitk.GetArrayViewFromImage(given))
    assert np.allclose(kept.GetOrigin(), given.GetOrigin())
    titles = slicerio.read_segmentation(segmentation)["segments"]
    assert "Left lung" in {segment["name"] for segment in titles}


def test_the_report_is_one_page(done, browser, tmp_path):
    (tmp_path / "report.html").write_bytes(download(done, ["Report"]))
    shown = volume_of(done, "Left lung")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("canvas[data-drawn]")
    assert page.get_by_role("heading", name="CTChest4").is_visible()
    assert page.locator("tr", has_text="Left lung").locator("td.num").first.inner_text() == f"{shown:.1f}"
    page.close()


def test_a_stroke_changes_the_volume_and_undo_restores_it(done):
    before = volume_of(done, "Spine")
    done.get_by_role("button", name="Spine", exact=True).click()
    take(done, "Erase")
    axial = done.locator(".layout-grid-item").first.bounding_box()
    x, y = axial["x"] + axial["width"] / 2, axial["y"] + axial["height"] / 2
    done.mouse.move(x - 10, y)
    done.mouse.down()
    done.mouse.move(x + 10, y, steps=8)
    done.mouse.up()
    done.wait_for_function(f"document.querySelector('table').innerText.includes('{before}') === false")
    assert volume_of(done, "Spine") < before
    done.get_by_role("button", name="Undo").click()
    done.wait_for_function(f"document.querySelector('table').innerText.includes('{before}')")


def test_a_click_brings_back_what_a_stroke_erased(done):
    before = volume_of(done, "Left lung")
    done.get_by_role("button", name="Left lung", exact=True).click()
    take(done, "Erase")
    axial = done.locator(".layout-grid-item").first.bounding_box()
    x, y = axial["x"] + axial["width"] / 2, axial["y"] + axial["height"] / 2  # the views are centred on it
    done.mouse.move(x - 5, y)
    done.mouse.down()
    done.mouse.move(x + 5, y, steps=4)
    done.mouse.up()
    done.get_by_text("By hand (").wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml < before - 1)
    erased = volume_of(done, "Left lung")
    take(done, "Belongs")
    done.mouse.click(x, y)
    done.get_by_text("Left lung: point (").wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml > erased + 0.8 * (before - erased))
    done.mouse.click(x, y)
    done.get_by_text("Nothing was changed: ").wait_for()
    assert not done.get_by_role("alert").is_visible()
    done.get_by_role("button", name="Undo").click()
    wait_for_volume(done, "Left lung", lambda ml: ml == erased)
    done.get_by_role("button", name="Undo").click()
    wait_for_volume(done, "Left lung", lambda ml: ml == before)
    assert done.get_by_role("button", name="Undo").is_disabled()


def test_a_finding_leads_to_its_place_and_can_be_ignored(done):
    region = done.get_by_role("region", name="Look at these first")
    first = region.get_by_role("button").first
    reason = first.inner_text()
    slider = done.get_by_role("slider", name="Axial slice").first
    slider.focus()
    slider.press("Home")
    before = slider.get_attribute("aria-valuenow")
    first.click()
    done.wait_for_function(
        "before => document.querySelector('[aria-label=\"Axial slice\"][role=slider]').ariaValueNow !== before",
        arg=before,
    )
    region.get_by_role("button", name=f"Ignore: {reason}").click()
    region.get_by_text(reason).wait_for(state="detached")


def test_tools_of_one_press_are_undone_like_strokes(done):
    before = volume_of(done, "Right lung")
    done.get_by_role("button", name="Right lung", exact=True).click()
    for name in ("Largest piece only", "Smooth"):
        done.get_by_role("button", name=name).click()
        wait_for_volume(done, "Right lung", lambda ml: ml != before)
        done.get_by_role("button", name="Undo").click()
        wait_for_volume(done, "Right lung", lambda ml: ml == before)


def test_a_structure_can_be_hidden(done):
    box = done.get_by_label("Show Left lung")
    box.uncheck()
    assert not box.is_checked()
    done.reload()
    assert not done.get_by_label("Show Left lung").is_checked()
    done.get_by_label("Show Left lung").check()


def test_reload_comes_back_to_the_same_session(done):
    before = done.locator("table").inner_text()
    done.reload()
    done.locator("table").wait_for()
    assert done.locator("table").inner_text() == before
