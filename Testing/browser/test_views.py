"""What the views tell of the patient, and how they make room."""

import io
import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from .conftest import DRAWN
from .steps import answered, choose_formats, grey, probe, settled, wait_until

pytestmark = pytest.mark.timeout(300)


def letters(page, view) -> list[str]:
    """At the left, right, top and bottom of a view."""
    item = page.locator(".layout-grid-item").filter(has=page.get_by_role("group", name=f"{view} view"))
    return [item.locator(f".ds-{place}").inner_text() for place in ("left", "right", "top", "bottom")]


def width(page, view) -> float:
    return page.get_by_role("group", name=f"{view} view").bounding_box()["width"]


def test_the_sides_of_the_patient_are_told_as_radiologists_look_at_them(page):
    for view, told in {"Axial": "RLAP", "Coronal": "RLSI", "Sagittal": "APSI"}.items():
        wait_until(page, lambda view=view, told=told: letters(page, view) == list(told))


def test_what_the_mouse_did_is_answered(page):
    """The turns of a wheel: most of them wait in the page's queue while the first one is told."""
    box = page.locator(".layout-grid-item").first.bounding_box()
    told = page.locator(".layout-grid-item").first.locator(".ds-place")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    number = int(settled(page, told.inner_text).split(" / ")[0])
    for turn in (-100, 100):
        for _ in range(8):
            page.mouse.wheel(0, turn)
        answered(page)
        number += 8 if turn < 0 else -8
        assert told.inner_text().startswith(f"{number} / ")


def test_sides_follow_a_slice_that_is_turned():
    views = pytest.importorskip("DeepSegWeb.views")
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0, 0.9, 0.1], [-0.8, 0, 0.6], [0.6, 0, 0.8]])
    # to the right goes posterior, up goes right, forward goes superior in RAS
    assert views.sides(turned) == ["A", "P", "R", "L", "I", "S"]


def test_views_draw_nothing_before_a_browser_is_there():
    """Each change of a view that is being made would draw it, which took a third of the time to the page."""
    pytest.importorskip("trame_slicer")
    code = """
import sys
from trame_slicer.views.abstract_view import AbstractView
from DeepSegWeb.app import WebApp

drawn, render = [], AbstractView.render
AbstractView.render = lambda view: drawn.append(view) or render(view)
sys.argv[1:] = []  # trame's
WebApp()
print(len(drawn))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=200, check=True)
    assert ran.stdout.split() == ["0"]


def test_the_slice_is_told_by_number(page):
    slider = page.get_by_role("slider", name="Axial slice").first
    slider.focus()
    slider.press("Home")
    page.get_by_text("1 / 34").wait_for()
    slider.press("ArrowRight")
    page.get_by_text("2 / 34").wait_for()


def test_the_place_is_told_by_the_side_of_the_origin(page, chest_ct):
    """Not along the axis of the view, which in a sagittal slice goes to the left."""
    image = sitk.ReadImage(str(chest_ct))
    corners = [image.TransformIndexToPhysicalPoint(at) for at in ((0, 0, 0), [n - 1 for n in image.GetSize()])]
    seen = set()
    for view, axis, letters in (("Axial", 2, "IS"), ("Coronal", 1, "AP"), ("Sagittal", 0, "RL")):  # < and > 0 in LPS
        slider = page.get_by_role("slider", name=f"{view} slice").first
        ends = [f"{letters[corner[axis] > 0]} {abs(corner[axis]):.1f} mm" for corner in corners]
        place = page.locator(".layout-grid-item", has=slider).locator(".ds-place")
        for key in ("Home", "End"):
            slider.press(key)
            place.filter(has_text=re.compile("|".join(re.escape(end) for end in ends if end not in seen))).wait_for()
            seen.add(place.inner_text().partition("· ")[2])
    assert len(seen) == 6


def test_a_view_is_enlarged_and_the_panel_makes_room(page):
    before = width(page, "Coronal")
    page.get_by_role("button", name="Enlarge Coronal view").click()
    wait_until(page, lambda: width(page, "Coronal") > 1.8 * before)
    page.wait_for_function(DRAWN)
    page.get_by_role("slider", name="Axial slice").first.wait_for(state="hidden")
    page.get_by_role("button", name="Enlarge Coronal view").click()
    page.get_by_role("slider", name="Axial slice").first.wait_for()
    page.get_by_role("button", name="Panel").click()
    wait_until(page, lambda: width(page, "Coronal") > before + 100)
    page.get_by_role("button", name="Panel").click()
    wait_until(page, lambda: width(page, "Coronal") == before)


def test_slices_stay_fitted_when_the_window_changes(page):
    def shown():
        page.wait_for_function(DRAWN)
        view = page.locator(".layout-grid-item").nth(2).screenshot()
        return np.asarray(Image.open(io.BytesIO(view)).convert("RGB"), float)

    page.get_by_role("button", name="Fit Coronal view").click()
    wait_until(page, lambda: shown().mean() > 20)  # black before the first picture comes
    before = settled(page, shown, np.array_equal)
    for size in ({"width": 800, "height": 900}, {"width": 1600, "height": 600}, {"width": 1280, "height": 720}):
        page.set_viewport_size(size)
        page.wait_for_function(DRAWN)
    wait_until(page, lambda: shown().shape == before.shape and np.abs(shown() - before).mean() < 3)


def test_what_3d_shows_stays_in_it_when_the_view_gets_narrow(done):
    """The ribs are about as broad as the box of all structures; they never touch the sides of the view."""

    def sides() -> tuple[float, float]:
        page.wait_for_function(DRAWN)
        picture = page.locator(".layout-grid-item").nth(1).screenshot()
        view = np.asarray(Image.open(io.BytesIO(picture)).convert("L"), int)
        middle = view[len(view) // 4 : -len(view) // 4]  # below the title, above the cube that tells the sides
        columns = np.flatnonzero(np.ptp(middle, axis=0) > 20)
        if not columns.size:  # black before the first picture comes
            return 0.0, 1.0
        return columns[0] / view.shape[1], columns[-1] / view.shape[1]

    page = done
    page.get_by_role("button", name="Fit 3D view").click()
    for size in ({"width": 1280, "height": 720}, {"width": 720, "height": 900}, {"width": 390, "height": 800}):
        page.set_viewport_size(size)
        wait_until(page, lambda: sides()[0] > 0.02 and sides()[1] < 0.98)


def test_what_lies_under_the_mouse_is_told(page):
    box = page.locator(".layout-grid-item").first.bounding_box()
    told = page.locator(".layout-grid-item .ds-probe")

    def value(dx, dy) -> float:
        page.mouse.move(box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2 + dy)
        return grey(told.inner_text())

    page.get_by_role("button", name="Fit Axial view").click()
    page.get_by_text("18 / 34").wait_for()
    value(1, 1)
    wait_until(page, lambda: -50 < value(0, 0) < 300)  # the heart
    wait_until(page, lambda: value(-80, 0) < -600)  # the right lung


def test_the_place_and_the_structure_under_the_mouse_are_told_in_its_color(done, chest_ct):
    """The place leads back to the voxel of that value, in SimpleITK's LPS."""
    page = done
    page.get_by_role("button", name="Right lung", exact=True).click()
    page.get_by_role("button", name="Fit Axial view").click()
    box, dot = page.locator(".layout-grid-item").first.bounding_box(), page.locator(".ds-probe .ds-dot")
    for right in range(-140, 0, 20):
        told = probe(page, 0, box["x"] + box["width"] / 2 + right, box["y"] + box["height"] / 2)
        if "Right lung" in told:
            break
    color = "(dot) => getComputedStyle(dot).backgroundColor"
    row = page.locator("tr", has=page.get_by_role("button", name="Right lung", exact=True))
    wait_until(page, lambda: dot.evaluate(color) == row.locator(".ds-dot").evaluate(color))
    found = re.search(r"([RL]) ([\d.]+) ([AP]) ([\d.]+) ([SI]) ([\d.]+) mm", told)
    letters, numbers = found.groups()[::2], map(float, found.groups()[1::2])
    lps = [n if letter in "LPS" else -n for letter, n in zip(letters, numbers, strict=True)]
    image = sitk.ReadImage(str(chest_ct))
    assert image[image.TransformPhysicalPointToIndex(lps)] == grey(told)


def test_the_legend_lists_what_is_shown_in_its_color(done):
    page = done
    button, legend = page.get_by_role("button", name="Legend of 3D view"), page.get_by_role("list", name="Legend")
    assert legend.count() == 0
    button.click()
    legend.get_by_text("Left lung", exact=True).wait_for()
    color = "(dot) => getComputedStyle(dot).backgroundColor"
    row = page.locator("tr", has=page.get_by_role("button", name="Left lung", exact=True))
    item = legend.get_by_role("listitem").filter(has_text="Left lung")
    wait_until(page, lambda: item.locator(".ds-dot").evaluate(color) == row.locator(".ds-dot").evaluate(color))
    page.get_by_label("Show Left lung").uncheck()
    legend.get_by_text("Left lung", exact=True).wait_for(state="detached")
    note = page.get_by_role("dialog", name="Export").get_by_text("hidden in the views are exported, too")
    choose_formats(page, [])
    note.wait_for()
    page.keyboard.press("Escape")
    page.get_by_label("Show Left lung").check()
    choose_formats(page, [])
    note.wait_for(state="detached")
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Export").wait_for(state="hidden")
    button.click()
    legend.wait_for(state="detached")
