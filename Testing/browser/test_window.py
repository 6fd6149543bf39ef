"""Window and level by drags and presets, and the scale bar."""

import contextlib
import io
import math

import numpy as np
import pytest
from PIL import Image

from .conftest import DRAWN, segmented
from .steps import grey, probe, resize, settled, take, wait_until

pytestmark = pytest.mark.timeout(300)


def window_of(page) -> tuple[float, float]:
    """Window and level as the axial view tells them."""
    _, width, _, level = page.locator(".ds-window").first.inner_text().replace("−", "-").split()
    return float(width), float(level)


def drag(page, right, up, view=0) -> None:
    """Drag from the middle of a view."""
    box = page.locator(".layout-grid-item").nth(view).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + right, y - up, steps=10)
    page.mouse.up()


def picture_of(page, view) -> np.ndarray:
    """Grey values of a view."""
    page.wait_for_function(DRAWN)
    picture = page.locator(".layout-grid-item").nth(view).screenshot()
    return np.asarray(Image.open(io.BytesIO(picture)).convert("L"), float)


def preset(page, name) -> None:
    page.get_by_role("button", name=f"Window: {name}").click()
    page.get_by_role("button", name=f"Window: {name}", pressed=True).wait_for()


@pytest.fixture
def axial(page):
    """The page, with all of the axial slice in its view, in soft tissue window."""
    preset(page, "Soft tissue")
    page.get_by_role("button", name="Fit Axial view").click()
    wait_until(page, lambda: window_of(page) == (400, 40))
    return page


def test_a_drag_changes_window_and_level_as_the_picture_shows(axial):
    """Against the linear map of DICOM's VOI: black at the lower end, white at the upper one."""
    coronal = settled(axial, lambda: picture_of(axial, 2), np.array_equal)
    drag(axial, 100, 50)
    wait_until(axial, lambda: window_of(axial) == (round(400 * 2**0.5), 40 + 400 / 4))
    drag(axial, 120, -80)
    width, level = 400 * 2 ** (0.5 + 0.6), 140 - 400 * 2**0.5 * 80 / 200
    wait_until(axial, lambda: window_of(axial) == (round(width), round(level)))
    assert axial.locator("[aria-label^='Window: '][aria-pressed=true]").count() == 0
    wait_until(axial, lambda: np.abs(picture_of(axial, 2) - coronal).mean() > 5)  # other slices follow
    picture = settled(axial, lambda: picture_of(axial, 0), np.array_equal)
    box, differences = axial.locator(".layout-grid-item").first.bounding_box(), []
    for right in range(-120, 121, 15):
        row, column = int(box["height"] / 2), int(box["width"] / 2) + right
        value = grey(probe(axial, 0, box["x"] + column + 0.5, box["y"] + row + 0.5))
        differences.append(picture[row, column] - np.clip((value - level) / width + 0.5, 0, 1) * 255)
    assert np.median(np.abs(differences)) < 6


def test_presets_have_keys_and_say_which_is_shown(axial):
    windows = {"2 Lung": (1500, -600), "3 Bone": (1800, 400), "4 Brain": (80, 40), "1 Soft tissue": (400, 40)}
    for (key, name), shown in ((title.split(maxsplit=1), shown) for title, shown in windows.items()):
        axial.keyboard.press(key)
        axial.get_by_role("button", name=f"Window: {name}", pressed=True).wait_for()
        wait_until(axial, lambda shown=shown: window_of(axial) == shown)


def test_a_click_escape_and_another_button_change_no_window(axial):
    drag(axial, 2, 2)
    for button in ("right", "middle"):
        axial.mouse.down(button=button)
        axial.mouse.move(700, 300, steps=5)
        axial.mouse.up(button=button)
    drag(axial, 90, 0, view=1)  # 3D
    axial.mouse.move(600, 250)
    axial.mouse.down()
    axial.mouse.move(680, 250, steps=5)
    wait_until(axial, lambda: window_of(axial)[0] > 400)
    axial.keyboard.press("Escape")
    wait_until(axial, lambda: window_of(axial) == (400, 40))
    axial.mouse.move(760, 250, steps=5)
    axial.mouse.up()
    axial.wait_for_timeout(1000)
    assert window_of(axial) == (400, 40)


def test_a_tool_keeps_the_mouse_until_window_level_is_taken(axial):
    page = segmented(axial)
    page.get_by_role("button", name="Left lung", exact=True).click()
    mode = page.get_by_role("button", name="Window/level")
    wait_until(page, lambda: mode.get_attribute("aria-pressed") == "true")
    take(page, "Remove")
    wait_until(page, lambda: mode.get_attribute("aria-pressed") == "false")
    drag(page, 60, 0)
    page.get_by_text("Left lung, remove: stroke (").first.wait_for()
    page.get_by_role("button", name="Undo", exact=True).click()
    assert window_of(page) == (400, 40)
    page.keyboard.press("w")
    page.get_by_role("button", name="Window/level", pressed=True).wait_for()
    drag(page, 60, 0)
    wait_until(page, lambda: window_of(page) == (round(400 * 2**0.3), 40))
    page.get_by_role("button", name="Undo", exact=True, disabled=True).wait_for()


def _bar(page, view) -> tuple[float, float]:
    """The scale bar of a view: its width in pixels, and the mm that it tells."""
    bar = page.locator(".layout-grid-item").nth(view).locator(".ds-scale")
    text, pixels = bar.evaluate("(bar) => [bar.innerText, bar.getBoundingClientRect().width]")
    number, unit = text.split()
    return pixels, float(number) * {"mm": 1, "cm": 10}[unit]


def _mm_per_pixel(page, view, axis) -> float:
    """By the places that the page tells of two points side by side."""
    box = page.locator(".layout-grid-item").nth(view).bounding_box()
    found = []
    for right in (-60, 60):
        told = probe(page, view, box["x"] + box["width"] / 2 + right, box["y"] + box["height"] / 2)
        words = told.splitlines()[-1].split()
        found.append(float(words[2 * axis + 1]) * (1 if words[2 * axis] in "RAS" else -1))
    return abs(found[1] - found[0]) / 120


def test_the_scale_bar_is_exact_and_follows_the_zoom(axial):
    page = axial
    seen = set()
    for zoom in (0, -70, -70, 40):
        box = page.locator(".layout-grid-item").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        before = settled(page, lambda: _bar(page, 0))
        if zoom:
            page.mouse.down(button="right")
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + zoom, steps=5)
            page.mouse.up(button="right")
            wait_until(page, lambda before=before: _bar(page, 0) != before)
        pixels, mm = settled(page, lambda: _bar(page, 0))
        assert pixels * _mm_per_pixel(page, 0, 0) == pytest.approx(mm, rel=0.01)
        assert 0.1 < pixels / box["width"] <= 0.3
        seen.add((round(pixels), mm))
    assert len(seen) > 2
    for view in ("Axial", "Coronal"):
        page.get_by_role("button", name=f"Fit {view} view").click()
    before = settled(page, lambda: _bar(page, 2))
    resize(page, 700, 900)
    page.wait_for_function(DRAWN)
    wait_until(page, lambda: _bar(page, 2) != before)
    pixels, mm = settled(page, lambda: _bar(page, 2))  # views tell where the mouse is by their new places
    assert pixels * _mm_per_pixel(page, 2, 0) == pytest.approx(mm, rel=0.01)


@pytest.mark.parametrize("field", [0.07, 1, 3.4, 33.3, 66.7, 100, 475.2, 1999, 40_000])
def test_a_scale_bar_has_a_round_length(field):
    scale = pytest.importorskip("DeepSegWeb.scale")
    bar = scale.scale_bar(field)
    number, unit = bar["text"].split()
    mm = float(number) * {"mm": 1, "cm": 10}[unit]
    assert bar["share"] * field == pytest.approx(mm) and 0.3 / 2.5 - 1e-9 <= bar["share"] <= 0.3 + 1e-9
    assert round(mm / 10 ** math.floor(math.log10(mm) + 1e-9), 6) in (1, 2, 5)


class State(dict):
    """Trame's, as far as it is used here."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__
    __enter__, __exit__ = (lambda self: self), (lambda *_: False)


@pytest.fixture
def windowing(chest_ct):
    """The page's window and level, of a CT."""
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    from DeepSegWeb.scene import PageScene
    from DeepSegWeb.windowing import Windowing

    from DeepSegLogic.io import read_volume

    state, scene = State(), PageScene()
    made = Windowing(state, scene)
    made.drag("Red", 10, 10, [0.5, 0.5])  # without a volume
    scene.show_volume(read_volume(chest_ct))
    yield made, state, scene
    scene.work.session.close()


def test_window_and_level_stay_within_bounds_whatever_a_page_says(windowing):
    made, state, scene = windowing
    assert (state.window_level, state.greys) == ("W 400 L 40", "Soft tissue")
    made.choose("nothing")
    made.drag("Red", 0, 0, [0.5, 0.5])
    for right, up in ((math.nan, 0), (0, math.inf), (-math.inf, 5)):
        made.drag("Red", right, up, None)
        assert scene.window == (400, 40)
    for rubbish in ("a", None, [1], {}):
        with contextlib.suppress(TypeError):
            made.drag("Red", rubbish, 0, None)
        assert scene.window == (400, 40)
    for right, up in ((1e300, 1e300), (-1e300, -1e300), (10**400, -(10**400))):
        with contextlib.suppress(OverflowError):
            made.drag("Red", right, up, None)
        width, level = scene.window
        assert 1e-3 * 0.999 <= width <= 1e6 * 1.001 and abs(level) <= 1e6
    made.drag("Red", 0, 0, None)
    assert scene.window == (400, 40)  # as a second finger brings it back


def test_the_handle_of_a_plan_is_moved_instead_in_the_view_that_the_mouse_is_in(windowing, monkeypatch):
    from trame_slicer.views import SliceView

    made, _, scene = windowing
    views = [SliceView(scene=scene.app.scene, app_logic=scene.app.app_logic, name=name) for name in ("Red", "Green")]
    monkeypatch.setattr(scene.app.view_manager, "get_views", lambda: views)
    for view in views:
        view.update_size(300, 300)
        view.set_background_volume_id(scene.work.volumeNode.GetID())
        view.fit_view_to_content()
    node = scene.app.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.CreateDefaultDisplayNodes()
    node.AddControlPoint(*views[0].get_view_node().GetXYToRAS().MultiplyPoint((150, 150, 0, 1))[:3])
    for mouse, start, dragged, width in (
        (150, 150, "Red", 400),
        (150, 60, "Green", 800),
        (60, 60, "Red", 800),
        (60, 150, "Red", 400),  # a finger, or the mouse, of which the server does not know yet
        (150, 60, "Red", 800),
    ):
        for view in views:
            view.render()
        views[0].interactor().SetEventInformation(mouse, 150, 0, 0)
        views[0].interactor().InvokeEvent("MouseMoveEvent")
        scene.set_window(400, 40)
        made.drag(dragged, 0, 0, [start / 300, 0.5])
        made.drag(dragged, 200, 0, None)
        assert scene.window == (width, 40)


def test_a_volume_that_is_no_ct_goes_back_to_its_automatic_window(windowing, chest_ct):
    from DeepSegLogic import Volume
    from DeepSegLogic.io import read_volume

    made, state, scene = windowing
    ct = read_volume(chest_ct)
    mr = Volume((ct.array.clip(-1000, 1000) + 1000).astype("int16"), ct.ijk_to_ras, "mr", "MR")
    scene.show_volume(mr)
    automatic = scene.window
    low, high = np.percentile(mr.array, (0.1, 99.9))  # of which 3D Slicer makes it
    assert automatic == pytest.approx((high - low, (low + high) / 2), rel=0.02)
    assert state.greys == "Auto" and not scene.in_hu
    made.drag("Red", 0, 0, [0.5, 0.5])
    made.drag("Red", 120, 40, None)
    assert state.greys == "" and scene.window != automatic
    made.choose("Auto")
    assert scene.window == automatic and state.greys == "Auto"
    scene.show_volume(ct)
    assert scene.window == (400, 40) and scene.in_hu, "the window of the MR is not kept for a CT"
    made.choose("Auto")
    assert state.greys == "Auto" and scene.window != automatic
    scene.show_volume(mr)
    assert scene.window == automatic


def test_the_enhanced_volume_follows(windowing):
    from DeepSegLib import volumeNodes

    made, _, scene = windowing
    made.choose("Bone")
    volume = scene.work.session.choices.volume
    enhanced = volumeNodes.volumeToNode(volume, scene.app.scene, scene.work.volumeNode)
    scene._keep_enhanced(enhanced)
    shown = enhanced.GetDisplayNode()
    assert (shown.GetWindow(), shown.GetLevel()) == (1800, 400)
    made.choose("Lung")
    assert (shown.GetWindow(), shown.GetLevel()) == (1500, -600)


def test_the_next_ct_keeps_the_window_and_its_numbers_are_readable(windowing, chest_ct):
    from DeepSegWeb.windowing import window_text

    from DeepSegLogic.io import read_volume

    made, state, scene = windowing
    made.choose("Lung")
    scene.show_volume(read_volume(chest_ct))
    assert scene.window == (1500, -600) and state.greys == "Lung" and state.window_level == "W 1500 L −600"
    assert window_text(0.8, 0.25) == "W 0.80 L 0.25" and window_text(80, -5) == "W 80 L −5"
