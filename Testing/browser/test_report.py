"""The report opens from a file, without any network, and shows what the label map holds."""

import base64
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from DeepSegLogic import evaluate, write_evaluation
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_label_map, write_label_map
from DeepSegLogic.planning import Plan, evaluate_plan
from DeepSegLogic.results.report import write_report
from DeepSegLogic.review.measurements import measure, write_measurements
from DeepSegLogic.util.errors import InputError

from .steps import wait_until


@pytest.fixture
def result(tmp_path):
    """A ball of 30 mm, called liver, and a spleen that was not found."""
    k, j, i = np.mgrid[:40, :40, :40]
    array = ((k - 20) ** 2 + (j - 20) ** 2 + (i - 20) ** 2 < 15**2).astype(np.uint8)
    label_map = LabelMap(array, np.eye(4), [structure_for("liver", 1), structure_for("spleen", 2)])
    write_label_map(label_map, tmp_path / "segmentation.seg.nrrd")
    rows = measure(label_map, Volume(np.full(array.shape, 60, np.int16), np.eye(4)), {"liver": 0.875}, {"liver": 0.34})
    write_measurements(rows, tmp_path / "measurements.csv")
    facts = {"input": {"name": "<b>ct</b>.nii"}, "model": {"id": "ct_demo"}, "created": "2026-01-02T03:04:05+00:00"}
    (tmp_path / "provenance.json").write_text(json.dumps(facts), "utf-8")
    return tmp_path


def share_of(page, color) -> float:
    """Share of the canvas's pixels with this hue."""
    picture = np.asarray(Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB"), float)
    lit = picture.sum(2) > 120
    wanted, seen = np.array(color) / sum(color), picture / np.maximum(picture.sum(2, keepdims=True), 1)
    return float((lit & (np.abs(seen - wanted).max(2) < 0.03)).mean())


def test_the_report_shows_model_and_table_from_a_file(browser, result, tmp_path):
    write_report(result, tmp_path / "report.html")
    page, asked, errors = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("canvas[data-drawn='1']")
    voxels = int((np.hypot(np.hypot(*np.mgrid[:40, :40, :40][:2] - 20), np.mgrid[:40, :40, :40][2] - 20) < 15).sum())
    row = page.locator("tbody tr").inner_text().split("\t")
    assert [cell.strip() for cell in row if cell.strip()] == ["Liver", f"{voxels / 1000:.1f}", "60", "0.88"]
    assert "by 0.34" in page.locator("tbody td").last.get_attribute("title")
    assert page.get_by_text("Not found: Spleen.").is_visible()
    finding = page.locator("h2:has-text('Check these first') + ul li").inner_text()
    assert finding.startswith(f"Liver is small for an adult: {voxels / 1000:.0f} ml, expected ")
    assert page.get_by_role("heading", name="<b>ct</b>.nii").is_visible()
    color = structure_for("liver", 1).color
    wait_until(page, lambda: share_of(page, color) > 0.1)
    page.get_by_label("Show Liver").uncheck()
    wait_until(page, lambda: share_of(page, color) == 0)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []
    page.close()


def test_the_printed_report_has_the_planning_page_on_a_page_of_its_own(browser, result, tmp_path):
    if not shutil.which("pdftotext"):
        pytest.skip("needs pdftotext (apt-get install poppler-utils)")
    cut = {"type": "plane", "origin": [15, 20, 20], "normal": [1, 0, 0]}
    plan = Plan({"diameters": [{"structure": "liver"}], "resections": [{"organ": "liver", "cuts": [cut]}]})
    numbers = evaluate_plan(plan, read_label_map(result / "segmentation.seg.nrrd")).plan.numbers
    write_report(result, tmp_path / "report.html", plan=plan)
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("canvas[data-drawn='1']")
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    page.emulate_media(media="print")  # dark ink on white, also in the head of a table
    heads = page.locator("th").evaluate_all("all => all.map((th) => getComputedStyle(th).backgroundColor)")
    assert set(heads) == {"rgba(0, 0, 0, 0)"}
    page.close()
    command = ["pdftotext", "-layout", tmp_path / "report.pdf", "-"]
    sheets = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=True).stdout.split("\f")
    assert "Research use only" in sheets[0] and "Liver" in sheets[0]
    planned = next(sheet for sheet in sheets if "What was assumed" in sheet)
    assert planned.split()[0] == "Plan"
    diameters, resection = numbers["diameters"][0], numbers["resections"][0]
    assert f"{diameters['longest_mm']:.1f} × {diameters['perpendicular_mm']:.1f} mm" in planned
    assert f"{resection['remnant_ml']:.0f} ml ({resection['remnant_percent']:.1f} %)" in planned
    assert all(f"{part['ml']:.0f} ml ({part['percent']:.1f} %)" in planned for part in resection["parts"])


def test_print_shows_the_model_and_every_structure(browser, result, tmp_path):
    label_map = read_label_map(result / "segmentation.seg.nrrd")
    many = [structure_for(f"box_{n}", n) for n in range(10, 60)]
    array = label_map.array.copy()
    array[0, 0, :] = 10 + np.arange(40)
    array[1, 0, :10] = 50 + np.arange(10)
    crowded = LabelMap(array, label_map.ijk_to_ras, [*label_map.structures, *many])
    write_label_map(crowded, result / "segmentation.seg.nrrd")
    rows = measure(crowded, Volume(np.full(array.shape, 60, np.int16), np.eye(4)))
    write_measurements(rows, result / "measurements.csv")
    write_report(result, tmp_path / "report.html")
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("canvas[data-drawn='51']")
    page.wait_for_timeout(300)  # the browser shows the frame, and may forget it
    page.emulate_media(media="print")
    assert page.locator(".list").evaluate("list => list.scrollHeight - list.clientHeight") == 0
    kept = page.locator("canvas").evaluate("canvas => canvas.toDataURL('image/png').split(',')[1]")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(kept))).convert("RGB"), float)
    assert (picture.sum(2) > 120).mean() > 0.05
    assert not page.get_by_text("arrow keys to turn").is_visible()
    page.close()


def test_a_printed_evaluation_shows_all_columns_on_white(browser, tmp_path):
    array = np.zeros((20, 30, 30), np.uint8)
    array[4:14, 4:14, 4:14], array[4:18, 20:24, 20:24] = 1, 2
    structures = [structure_for("autochthon_right", 1), structure_for("portal_vein_and_splenic_vein", 2)]
    for name, shift in (("a", 1), ("b", 0)):
        moved = LabelMap(np.roll(array, shift, 0), np.diag([3.0, 3, 3, 1]), structures)
        for case in "12":
            write_label_map(moved, tmp_path / name / f"{case}.seg.nrrd")
    write_evaluation(evaluate(tmp_path / "a", tmp_path / "b"), tmp_path / "out")
    page = browser.new_page(viewport={"width": 718, "height": 1040})  # A4 with margins of 1 cm
    page.goto((tmp_path / "out" / "report.html").as_uri())
    page.emulate_media(media="print")
    assert page.get_by_text("2 cases").is_visible()
    assert page.locator(".wide").evaluate("table => table.scrollWidth - table.clientWidth") <= 0
    inks = page.locator("svg text").evaluate_all("all => all.map((text) => getComputedStyle(text).fill)")
    assert set(inks) == {"rgb(68, 68, 68)"}
    page.close()


def test_a_folder_without_a_result_gives_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"measurements\.csv cannot be read.*Choose a folder of results\."):
        write_report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
