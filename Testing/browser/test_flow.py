"""From the demonstration CT to its result and back, as a user goes."""

import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import slicerio
import trimesh

from .steps import answered, choose_formats, download, unzip, volume_of, wait_until

pytestmark = pytest.mark.timeout(300)


def test_progress_moves_slices_scroll_and_cancel_stops(page, server):
    page.get_by_role("button", name="Segment", exact=True).click()
    bar, seen, frames = page.get_by_label("Progress"), set(), set()
    slider = page.get_by_role("slider", name="Axial slice").first
    image = page.locator(".layout-grid-item img").first
    slider.focus()
    while len(seen) < 4 or len(frames) < 3:  # new slices come while the run goes on
        seen.add(float(bar.get_attribute("aria-valuenow")))
        slider.press("ArrowRight")
        page.wait_for_timeout(100)
        frames.add(image.get_attribute("src"))
    file = {"name": "other.nrrd", "mimeType": "application/octet-stream", "buffer": b"NRRD0004"}
    page.request.post(server.url.replace("index.html", "upload"), multipart={"files": file})
    page.get_by_role("alert").filter(has_text="A task is running.").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled.").wait_for()
    wait_until(page, page.get_by_role("button", name="Segment", exact=True).is_enabled)


def test_the_page_says_that_it_measures(page):
    page.evaluate("""() => {
      window.notes = new Set();
      const shown = () => [...document.querySelectorAll('.ds-note')].filter((note) => note.checkVisibility());
      const look = () => shown().forEach((note) => notes.add(note.innerText));
      const all = { subtree: true, childList: true, characterData: true, attributes: true };
      new MutationObserver(look).observe(document.body, all);
    }""")
    page.get_by_role("button", name="Segment", exact=True).click()
    page.get_by_role("table", name="Structures found").wait_for(timeout=200_000)
    notes = page.evaluate("[...window.notes]")
    assert "Measuring the structures." in notes and "No result yet." not in notes


def test_exports_agree_with_the_table(done, tmp_path):
    archive = unzip(download(done, ["GLB", "Segmentation (.seg.nrrd)", "Measurements"]))
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


def test_what_comes_is_what_was_chosen_when_the_export_began(done):
    button = choose_formats(done, ["Measurements", "STL"])
    with done.expect_download() as waiting:
        button.click()
        done.evaluate("window.trame.state.set('formats', ['mrb'])")
    names = unzip(waiting.value.path().read_bytes()).namelist()
    assert "measurements.csv" in names
    assert not any(name.endswith(".mrb") for name in names)


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
    archive = unzip(download(done, ["Scene for 3D Slicer"]))
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
    page.wait_for_selector("canvas[data-drawn]", timeout=120_000)  # drawn by software here
    assert page.get_by_role("heading", name="CTChest4").is_visible()
    assert "At its border" in page.locator("tr", has_text="Left lung").locator("td.num").last.get_attribute("title")
    assert page.locator("tr", has_text="Left lung").locator("td.num").first.inner_text() == f"{shown:.1f}"
    page.close()


def test_a_finding_leads_to_its_place_and_can_be_ignored(done):
    region = done.get_by_role("region", name="Check these first")
    first = region.get_by_role("button").first
    reason = first.inner_text()
    slider = done.get_by_role("slider", name="Axial slice").first
    slider.focus()
    slider.press("Home")
    done.get_by_text("1 / 34", exact=True).wait_for()
    before = slider.get_attribute("aria-valuenow")
    first.click()
    done.wait_for_function(
        "before => document.querySelector('[aria-label=\"Axial slice\"][role=slider]').ariaValueNow !== before",
        arg=before,
    )
    region.get_by_role("button", name=f"Ignore: {reason}").click()
    region.get_by_text(reason).wait_for(state="detached")


def test_a_structure_can_be_hidden(done):
    box = done.get_by_label("Show Left lung")
    box.uncheck()
    answered(done)
    done.reload()
    wait_until(done, lambda: not box.is_checked())
    box.check()
    answered(done)


def test_reload_comes_back_to_the_same_session(done):
    before = done.locator("table").inner_text()
    done.reload()
    wait_until(done, lambda: done.locator("table").inner_text() == before)
    done.get_by_text("Contrast phase by the HU of structures: no contrast medium").wait_for()
