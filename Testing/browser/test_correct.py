"""Corrections by hand and by prompts, and their one undo, as a user makes them."""

import pytest

from .steps import take, volume_of, wait_for_volume

pytestmark = pytest.mark.timeout(300)


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


def test_tools_of_one_press_are_undone_like_strokes(done):
    before = volume_of(done, "Right lung")
    done.get_by_role("button", name="Right lung", exact=True).click()
    for name in ("Largest piece only", "Smooth"):
        done.get_by_role("button", name=name).click()
        wait_for_volume(done, "Right lung", lambda ml: ml != before)
        done.get_by_role("button", name="Undo").click()
        wait_for_volume(done, "Right lung", lambda ml: ml == before)
