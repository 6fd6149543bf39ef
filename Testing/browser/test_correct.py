"""Corrections by hand and by prompts, and their one undo, as a user makes them."""

import contextlib
import io

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from .steps import download, settled, take, volume_of, wait_for_volume, wait_until

pytestmark = pytest.mark.timeout(300)


def choose(page, title) -> float:
    """Make a structure the current one, with the views centred on it; returns its volume."""
    page.get_by_role("button", name=title, exact=True).click()
    page.get_by_text("Select a structure in the list first.").wait_for(state="detached")
    return volume_of(page, title)


@contextlib.contextmanager
def mouse_down(page, *places, view=0):
    """With the button down, through places in px from the middle of a view, which is the axial one as a rule."""
    box = page.locator(".layout-grid-item").nth(view).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + places[0][0], y + places[0][1])
    page.mouse.down()
    for dx, dy in places:
        page.mouse.move(x + dx, y + dy, steps=4)
    yield
    page.mouse.up()


def drag(page, *places, view=0) -> None:
    """Draw through places, see :func:`mouse_down`."""
    with mouse_down(page, *places, view=view):
        pass


def drag_slowly(page, *places, view) -> None:
    """As :func:`drag`, so that the server sees every place: it skips places that come faster than it draws."""
    image = page.locator(".layout-grid-item img").nth(view)
    with mouse_down(page, places[0], view=view):
        box = image.bounding_box()
        for dx, dy in places[1:]:
            shown = image.get_attribute("src")
            page.mouse.move(box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2 + dy)
            wait_until(page, lambda shown=shown: image.get_attribute("src") != shown)


def square(half) -> list[tuple[int, int]]:
    return [(-half, -half), (half, -half), (half, half), (-half, half)]


def labels(page, folder) -> tuple[np.ndarray, dict[str, int], sitk.Image]:
    """The result as downloaded: labels (K, J, I), values by title, the image."""
    (folder / "now.seg.nrrd").write_bytes(download(page, ["Segmentation (.seg.nrrd)"]))
    image = sitk.ReadImage(str(folder / "now.seg.nrrd"))
    keys = [key.removesuffix("_Name") for key in image.GetMetaDataKeys() if key.endswith("_Name")]
    values = {image.GetMetaData(f"{key}_Name"): int(image.GetMetaData(f"{key}_LabelValue")) for key in keys}
    return sitk.GetArrayFromImage(image), values, image


def millilitres(mask, image) -> float:
    return float(mask.sum() * np.prod(image.GetSpacing()) / 1000)


def undo_to(page, title, volume) -> None:
    page.get_by_role("button", name="Undo", exact=True).click()
    wait_for_volume(page, title, lambda ml: ml == volume)


def check_dropped(page) -> None:
    """What was being drawn is gone, and changed nothing."""
    page.get_by_text("Select a tool, then use the mouse in a slice.").wait_for()
    assert page.get_by_role("button", name="Undo", exact=True).is_disabled()


def test_a_stroke_changes_the_volume_and_undo_restores_it(done):
    before = choose(done, "Spine")
    take(done, "Erase")
    drag(done, (-10, 0), (10, 0))
    wait_for_volume(done, "Spine", lambda ml: ml < before)
    undo_to(done, "Spine", before)


def test_a_click_brings_back_what_a_stroke_erased(done):
    before = choose(done, "Left lung")
    take(done, "Erase")
    drag(done, (-5, 0), (5, 0))
    done.get_by_text("By hand (").wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml < before - 1)
    erased = volume_of(done, "Left lung")
    take(done, "Add")
    drag(done, (0, 0))
    done.get_by_text("Left lung: point (").first.wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml > erased + 0.8 * (before - erased))
    drag(done, (0, 0))
    done.locator(".ds-note").get_by_text("Nothing changed: ").wait_for()
    assert not done.get_by_role("alert").is_visible()
    undo_to(done, "Left lung", erased)
    undo_to(done, "Left lung", before)
    done.get_by_role("button", name="Undo", exact=True, disabled=True).wait_for()


@pytest.mark.parametrize(
    ("shape", "kind", "places"),
    [
        ("Click or stroke", "stroke", [(-12, 0), (12, 0)]),
        ("Box", "box", [(-12, -12), (12, 12)]),
        ("Lasso", "lasso", square(12)),
    ],
)
def test_what_is_drawn_takes_voxels_away_there_and_nowhere_else(done, tmp_path, shape, kind, places):
    before = choose(done, "Left lung")
    first, values, image = labels(done, tmp_path)
    take(done, "Remove")
    take(done, shape)
    drag(done, *places)
    done.get_by_text(f"Left lung, remove: {kind} (").first.wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml < before)
    second, _, _ = labels(done, tmp_path)
    lost = (first == values["Left lung"]) & (second != first)
    np.testing.assert_array_equal(second != first, lost)
    assert (second[lost] == 0).all()
    assert millilitres(lost, image) == pytest.approx(before - volume_of(done, "Left lung"), abs=0.11)
    k, j, i = np.nonzero(lost)
    if kind == "box":
        assert np.ptp(k) > 0, "as deep as it is wide"
    elif kind == "stroke":
        assert np.ptp(i) > np.ptp(j), "along the stroke"
    undo_to(done, "Left lung", before)
    done.get_by_role("button", name="Redo", exact=True).click()
    wait_for_volume(done, "Left lung", lambda ml: ml < before)
    undo_to(done, "Left lung", before)


def test_what_is_drawn_is_seen_meanwhile(done):
    choose(done, "Left lung")
    take(done, "Add")
    take(done, "Box")
    view = done.locator(".layout-grid-item img").first
    box = view.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    done.mouse.move(x, y)
    done.mouse.down()

    def green() -> np.ndarray:
        red, green, blue = np.array(Image.open(io.BytesIO(view.screenshot())).convert("RGB"), int).transpose(2, 0, 1)
        seen = np.argwhere((green > 120) & (green > 1.4 * red) & (green > 1.4 * blue))
        return np.ptp(seen, axis=0) if len(seen) else np.zeros(2)

    for size in (20, 50):  # it grows with the mouse
        done.mouse.move(x + size, y + size, steps=3)
        wait_until(done, lambda size=size: green() == pytest.approx([size, size], abs=5))
    done.mouse.move(x, y)  # a click where it belongs already
    done.mouse.up()
    done.locator(".ds-note").get_by_text("Nothing changed: ").wait_for()


def test_draw_fills_one_slice(done, tmp_path):
    before = choose(done, "Spine")
    first, values, image = labels(done, tmp_path)
    take(done, "Draw")
    drag(done, *square(25))
    done.get_by_text("By hand (").wait_for()
    wait_for_volume(done, "Spine", lambda ml: ml > before)
    second, _, _ = labels(done, tmp_path)
    gained = (second == values["Spine"]) & (second != first)
    np.testing.assert_array_equal(second != first, gained)
    assert gained.any((1, 2)).sum() == 1
    assert millilitres(gained, image) == pytest.approx(volume_of(done, "Spine") - before, abs=0.11)
    undo_to(done, "Spine", before)


@pytest.mark.parametrize("view", [0, 1])
def test_cut_goes_through_all_slices_and_through_the_3d_view(done, tmp_path, view):
    before = choose(done, "Left lung")
    first, values, image = labels(done, tmp_path)
    take(done, "Cut")
    drag_slowly(done, *square(30), view=view)
    done.get_by_text("By hand (").wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml < before)
    second, _, _ = labels(done, tmp_path)
    lost = (first == values["Left lung"]) & (second == 0)
    np.testing.assert_array_equal(second != first, lost)
    assert millilitres(lost, image) == pytest.approx(before - volume_of(done, "Left lung"), abs=0.11)
    column, through = (0, (1, 2)) if view == 0 else (1, (0, 2))  # looked along
    sides = sorted(n for axis, n in enumerate(np.ptp(np.argwhere(lost), axis=0)) if axis != column)
    assert lost.any(through).sum() > 10, "deep"
    assert sides[-1] < 60, "no wider than the curve"
    undo_to(done, "Left lung", before)


@pytest.mark.parametrize("tool", ["Add", "Draw", "Cut", "Erase"])
def test_escape_drops_what_is_being_drawn(done, tool):
    before = choose(done, "Left lung")
    take(done, tool)
    with mouse_down(done, *square(20)):
        done.keyboard.press("Escape")
        done.get_by_role("button", name=tool, exact=True, pressed=False).wait_for()
    done.get_by_text("Select a tool, then use the mouse in a slice.").wait_for()
    take(done, "Remove")  # whatever the drawing did would have come before
    assert done.get_by_role("button", name="Undo", exact=True).is_disabled()
    assert volume_of(done, "Left lung") == before


def test_a_page_that_is_loaded_again_drops_what_is_being_drawn(done):
    choose(done, "Left lung")
    take(done, "Remove")
    take(done, "Click or stroke")
    with mouse_down(done, (0, 0)):
        done.get_by_text("Turn the wheel to change more or less, release to apply.").wait_for()
        done.reload()
        done.get_by_text("Click or draw a stroke where the structure is wrong.").wait_for()
    assert done.get_by_role("button", name="Undo", exact=True).is_disabled()


def test_strokes_can_be_limited_to_grey_values(done, tmp_path, chest_ct):
    before = choose(done, "Spine")
    first, values, _ = labels(done, tmp_path)
    take(done, "Erase")
    done.get_by_label("Limit to HU range").check()
    done.get_by_label("Lowest HU").fill("100")
    done.get_by_label("Highest HU").fill("200")
    done.get_by_text("Only voxels from 100 to 200 HU change.").wait_for()
    drag(done, (-20, 0), (20, 0))
    wait_for_volume(done, "Spine", lambda ml: ml < before)
    second, _, _ = labels(done, tmp_path)
    greys = sitk.GetArrayFromImage(sitk.ReadImage(str(chest_ct)))
    lost = second != first
    assert (first[lost] == values["Spine"]).all()
    assert greys[lost].min() >= 100
    assert greys[lost].max() <= 200
    undo_to(done, "Spine", before)
    done.get_by_label("Limit to HU range").uncheck()
    done.get_by_text("Erase in a slice.", exact=True).wait_for()
    drag(done, (-20, 0), (20, 0))
    wait_for_volume(done, "Spine", lambda ml: ml < before)
    third, _, _ = labels(done, tmp_path)
    assert (third != first).sum() > lost.sum()
    undo_to(done, "Spine", before)


def test_tools_of_one_press_are_undone_like_strokes(done):
    before = choose(done, "Inferior vena cava")
    for name in ("Keep largest", "Smooth"):
        done.get_by_role("button", name=name).click()
        wait_for_volume(done, "Inferior vena cava", lambda ml: ml != before)
        undo_to(done, "Inferior vena cava", before)


def test_a_piece_is_removed_whole(done, tmp_path):
    before = choose(done, "Inferior vena cava")
    first, values, image = labels(done, tmp_path)
    pieces = sitk.ConnectedComponent(sitk.GetImageFromArray((first == values["Inferior vena cava"]).astype(np.uint8)))
    largest = np.bincount(sitk.GetArrayFromImage(pieces).ravel())[1:].max() * np.prod(image.GetSpacing()) / 1000
    take(done, "Delete island")
    drag(done, (0, 0))
    wait_for_volume(done, "Inferior vena cava", lambda ml: ml == pytest.approx(before - largest, abs=0.11))
    undo_to(done, "Inferior vena cava", before)


def test_keys_press_the_buttons_that_name_them(done):
    before = choose(done, "Left lung")
    for key, name in {"r": "Remove", "l": "Lasso", "e": "Erase"}.items():
        done.keyboard.press(key)
        done.get_by_role("button", name=name, exact=True, pressed=True).wait_for()
    drag(done, (-5, 0), (5, 0))
    wait_for_volume(done, "Left lung", lambda ml: ml < before)
    done.keyboard.press("Control+z")
    wait_for_volume(done, "Left lung", lambda ml: ml == before)
    done.keyboard.press("Control+y")
    wait_for_volume(done, "Left lung", lambda ml: ml < before)
    done.keyboard.press("Control+z")
    wait_for_volume(done, "Left lung", lambda ml: ml == before)
    done.get_by_label("Limit to HU range").check()
    field = done.get_by_label("Lowest HU")
    field.press("p")  # typed, not meant for the tool
    erase = done.get_by_role("button", name="Erase", exact=True, pressed=True)
    assert erase.is_visible()
    done.get_by_label("Limit to HU range").uncheck()
    done.keyboard.press("e")
    erase.wait_for(state="detached")


def test_corrections_are_not_lost_unasked(done, chest_ct):
    volume = choose(done, "Left lung")
    take(done, "Erase")
    drag(done, (-5, 0), (5, 0))
    wait_for_volume(done, "Left lung", lambda ml: ml < volume)
    done.reload()
    done.get_by_role("button", name="Undo", exact=True).wait_for()
    shown = volume_of(done, "Left lung")
    download(done, ["Measurements"])  # which do not hold the corrections
    done.get_by_role("button", name="Segment", exact=True).click()
    question = done.get_by_role("dialog", name="Corrections that you have not exported will be lost.")
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="hidden")
    assert done.get_by_label("Progress").count() == 0
    assert volume_of(done, "Left lung") == shown
    with done.expect_file_chooser() as chooser:
        done.get_by_role("button", name="Open file").click()
    chooser.value.set_files(chest_ct)
    question.wait_for()
    done.keyboard.press("Escape")
    question.wait_for(state="hidden")
    undo_to(done, "Left lung", volume)
    done.get_by_role("button", name="Redo", exact=True).click()
    wait_for_volume(done, "Left lung", lambda ml: ml == shown)
    done.get_by_role("button", name="Segment", exact=True).click()
    question.get_by_role("button", name="Replace").click()
    done.get_by_label("Progress").wait_for()
    done.locator("#app").get_by_role("button", name="Cancel").click()  # not the closing dialog's
    done.get_by_text("Cancelled.").wait_for()
    undo_to(done, "Left lung", volume)


def test_the_outline_is_of_where_the_hand_stopped(done):
    """Also of places that come while an outline is found, or just after."""
    choose(done, "Left lung")
    take(done, "Remove")
    take(done, "Click or stroke")
    with mouse_down(done, (0, 0), (12, 0)):  # at once
        done.locator(".layout-grid-item").first.get_by_text("Left lung, remove: stroke (").wait_for()
        done.get_by_text("Turn the wheel to change more or less, release to apply.").wait_for()
        done.keyboard.press("Escape")
    check_dropped(done)


def test_what_is_outlined_is_what_releasing_applies(done):
    """Also of a curve that is drawn faster than the server follows."""
    before = choose(done, "Left lung")
    take(done, "Remove")
    take(done, "Lasso")
    with mouse_down(done, (0, 0), (20, 0), (24, 12), (20, 24), (0, 24), (-6, 12)):
        told = done.locator(".layout-grid-item").first.get_by_text("Left lung, remove: lasso (")
        change = settled(done, told.inner_text).partition("(")[2].partition(")")[0]
    done.get_by_text(f"Left lung, remove: lasso (Left lung {change})").wait_for()
    undo_to(done, "Left lung", before)


@pytest.mark.parametrize(("tool", "place"), [("Add", (0, 0)), ("Delete island", (200, -140))])
def test_what_changes_nothing_says_so_in_the_view_too(done, tool, place):
    """The drawer may be scrolled, or hidden."""
    choose(done, "Left lung")
    take(done, tool)
    drag(done, place)
    told = done.locator(".layout-grid-item .ds-outlined")
    told.wait_for()
    assert told.inner_text() in done.locator(".v-navigation-drawer").inner_text()
    done.keyboard.press("Escape")
    check_dropped(done)
    told.wait_for(state="detached")


def test_a_fast_spin_is_as_many_notches_and_no_more_than_there_are(done):
    choose(done, "Left lung")
    take(done, "Remove")
    with mouse_down(done, (0, 0)):
        done.get_by_text("Turn the wheel to change more or less, release to apply.").wait_for()
        for _ in range(30):
            done.mouse.wheel(0, -120)
        done.get_by_text("Reach, 64").wait_for()
        for _ in range(4):  # from the end, not from where the wheel would be
            done.mouse.wheel(0, 120)
        done.get_by_text("Reach, 32").wait_for()
        for _ in range(10):  # a touchpad: 50 px are a notch
            done.mouse.wheel(0, 20)
        done.get_by_text("Reach, 16").wait_for()
        done.keyboard.press("Escape")
    check_dropped(done)


def test_the_wheel_changes_what_is_outlined_and_releasing_applies_it(done):
    before = choose(done, "Left lung")
    take(done, "Erase")
    drag(done, (-5, 0), (5, 0))
    wait_for_volume(done, "Left lung", lambda ml: ml < before - 1)
    erased = volume_of(done, "Left lung")
    take(done, "Add")
    with mouse_down(done, (0, 0)):
        done.get_by_text("Turn the wheel to change more or less, release to apply.").wait_for()
        assert volume_of(done, "Left lung") == erased
        done.mouse.wheel(0, 300)
        done.get_by_text("Reach, 0.84").wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml > erased)
    narrow = volume_of(done, "Left lung")
    slider = done.get_by_role("slider", name="Reach")
    slider.press("ArrowRight")  # afterwards, the slider changes the same step
    wait_for_volume(done, "Left lung", lambda ml: ml > narrow)
    undo_to(done, "Left lung", erased)
    undo_to(done, "Left lung", before)
