"""Fingers on the views, as on a tablet."""

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from vtkmodules.vtkRenderingCore import vtkRenderWindowInteractor

from .conftest import DRAWN, segmented, shown
from .steps import LATE, settled, take, wait_until

pytestmark = pytest.mark.timeout(300)

TURN = [[(s * 40 * math.cos(angle), s * 40 * math.sin(angle)) for s in (-1, 1)] for angle in (0, 0.3, 0.6, 0.9)]
"""Of two fingers about their middle."""


class Fingers:
    """Fingers on a view, counted from its middle, in pixels."""

    def __init__(self, page, view):
        self.page, self.session = page, page.context.new_cdp_session(page)
        self.view = page.locator(".layout-grid-item").nth(view)
        box = self.view.bounding_box()
        self.x, self.y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def move(self, *steps, pause_ms=0) -> None:
        """Along steps, each with the places of all fingers, which come one after the other, as hands do.

        Args:
            pause_ms: between the first and the others.
        """
        self.send("touchStart", steps[0][:1])
        self.page.wait_for_timeout(pause_ms)
        for step in steps:
            self.send("touchStart" if step is steps[0] else "touchMove", step)
            self.page.wait_for_timeout(40)
        self.send("touchEnd", [])

    def send(self, kind, places) -> None:
        points = [{"x": self.x + x, "y": self.y + y, "id": number} for number, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def picture(self) -> np.ndarray:
        """Grey values of the view's middle, without what is written at its edges."""
        self.page.wait_for_function(DRAWN)
        grey = np.asarray(Image.open(io.BytesIO(self.view.screenshot())).convert("L"), float)
        middle = np.array(grey.shape) // 2
        (i, j), size = middle, 100
        return grey[i - size : i + size, j - size : j + size]


@pytest.fixture
def tablet(browser, server):
    with shown(browser, server, size=(1180, 820), has_touch=True) as page:
        yield page


def alike(first, second) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def zoomed(picture, factor) -> np.ndarray:
    """A square picture, enlarged about its middle."""
    size = len(picture)
    edge = size * (1 - 1 / factor) / 2
    inner = (edge, edge, size - edge, size - edge)
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR, inner))


def test_two_fingers_zoom_a_slice_about_their_middle_and_move_it(tablet):
    fingers = Fingers(tablet, 0)
    tablet.get_by_role("button", name="Fit Axial view").tap()
    wait_until(tablet, lambda: fingers.picture().std() > 20)  # black before the first picture comes
    whole = settled(tablet, fingers.picture, np.array_equal)
    fingers.move(*([(-d, 0), (d, 0)] for d in range(40, 81, 5)))
    factors = np.linspace(1.6, 2, 9)  # Slicer's views wait until fingers have moved a little
    wait_until(tablet, lambda: max(alike(fingers.picture(), zoomed(whole, factor)) for factor in factors) > 0.95)
    near = settled(tablet, fingers.picture, np.array_equal)
    fingers.move(*([(-30, y), (30, y)] for y in range(0, 61, 6)))
    moves = range(40, 61)
    wait_until(tablet, lambda: max(alike(fingers.picture()[move:], near[:-move]) for move in moves) > 0.95)
    far = settled(tablet, fingers.picture, np.array_equal)
    fingers.move(*TURN)
    tablet.get_by_role("button", name="Window: Bone").tap()
    wait_until(tablet, lambda: alike(fingers.picture(), far) < 0.999)
    turned = settled(tablet, fingers.picture, np.array_equal)
    assert alike(turned, far) > 0.8, "two fingers do not turn a slice"


def test_two_fingers_draw_nothing_and_one_draws(tablet):
    segmented(tablet)
    tablet.get_by_role("button", name="Left lung", exact=True).tap()
    take(tablet, "Remove")
    fingers = Fingers(tablet, 0)
    fingers.move(*([(-d, 0), (d, 0)] for d in range(40, 61, 5)))
    tablet.wait_for_timeout(1000)
    assert tablet.get_by_role("button", name="Undo", exact=True).is_disabled()
    fingers.move([(-10, 0)], [(0, 0)], [(10, 0)])
    tablet.get_by_text("Left lung, remove: stroke (").first.wait_for()
    tablet.get_by_role("button", name="Undo", exact=True).tap()
    tablet.get_by_role("button", name="Undo", exact=True, disabled=True).wait_for()


def test_one_finger_changes_the_window_and_the_first_of_two_does_not(tablet):
    tablet.get_by_role("button", name="Window/level").tap()
    tablet.get_by_role("button", name="Window/level", pressed=True).wait_for()
    tablet.get_by_role("button", name="Window: Soft tissue").tap()
    tablet.get_by_role("button", name="Fit Axial view").tap()
    fingers, told = Fingers(tablet, 0), tablet.locator(".ds-window").first
    wait_until(tablet, lambda: told.inner_text() == "W 400 L 40")
    fingers.move([(-60, 0)], [(-40, 20)], [(40, 20)], pause_ms=200)
    wait_until(tablet, lambda: told.inner_text() == "W 566 L 0")  # 100 pixels to the right, 20 down
    tablet.get_by_role("button", name="Window: Soft tissue").tap()
    wait_until(tablet, lambda: told.inner_text() == "W 400 L 40")
    fingers.send("touchStart", [(-60, 0)])
    fingers.send("touchMove", [(0, 0)])
    wait_until(tablet, lambda: told.inner_text() != "W 400 L 40")
    fingers.send("touchStart", [(0, 0), (60, 0)])
    for right in (70, 80, 90):
        fingers.send("touchMove", [(-right, 0), (right, 0)])
    fingers.send("touchEnd", [])
    wait_until(tablet, lambda: told.inner_text() == "W 400 L 40")
    tablet.wait_for_timeout(1000)
    assert told.inner_text() == "W 400 L 40"


@pytest.mark.parametrize("tool", ["Paint", "Erase"])
def test_the_first_of_two_fingers_does_not_paint(tablet, tool):
    segmented(tablet)
    tablet.get_by_role("button", name="Left lung", exact=True).tap()
    take(tablet, tool)
    tablet.get_by_role("button", name="Fit Axial view").tap()
    fingers = Fingers(tablet, 0)
    fingers.move(*([(-d, 0), (d, 0)] for d in range(40, 61, 5)))
    fingers.move([(-40, 0), (40, 0)], pause_ms=500)  # they rest, so that there is no pinch
    tablet.wait_for_timeout(1000)
    assert tablet.get_by_role("button", name="Undo", exact=True).is_disabled()
    fingers.move(*([(x, 0)] for x in range(-160, 161, 40)))  # beside the lung and in it
    wait_until(tablet, lambda: tablet.get_by_role("button", name="Undo", exact=True).is_enabled())
    tablet.get_by_role("button", name="Undo", exact=True).tap()
    wait_until(tablet, lambda: tablet.get_by_role("button", name="Undo", exact=True).is_disabled())


@pytest.mark.parametrize("late", [False, True])
def test_the_first_of_two_fingers_does_not_paint_in_3d(tablet, late):
    segmented(tablet)
    tablet.get_by_role("button", name="Left lung", exact=True).tap()
    take(tablet, "Paint")
    tablet.get_by_role("button", name="Fit 3D view").tap()
    fingers, undo = Fingers(tablet, 1), tablet.get_by_role("button", name="Undo", exact=True)
    wait_until(tablet, lambda: fingers.picture().std() > 20)
    if late:
        tablet.evaluate(LATE, ["trame.rca.event", 500])
    fingers.move(*([(-d, 0), (d, 0)] for d in range(30, 51, 5)))
    fingers.move([(30, 0), (60, 0)], pause_ms=500)
    tablet.wait_for_timeout(6000 if late else 1500)
    assert undo.is_disabled()
    tablet.get_by_role("button", name="Fit 3D view").tap()
    settled(tablet, fingers.picture, np.array_equal)
    fingers.move(*([(x, 0)] for x in range(20, 61, 10)))  # over ribs
    wait_until(tablet, lambda: undo.is_enabled())
    undo.tap()
    wait_until(tablet, lambda: undo.is_disabled())


def test_fingers_turn_the_3d_view_and_one_still_does_afterwards(tablet):
    segmented(tablet)
    tablet.keyboard.press("Escape")  # with a brush, one finger paints
    fingers = Fingers(tablet, 1)
    tablet.get_by_role("button", name="Fit 3D view").tap()
    wait_until(tablet, lambda: fingers.picture().std() > 20)
    for steps in (
        TURN,
        [[(-d, 0), (d, 0)] for d in range(40, 81, 5)],
        [[(d, d)] for d in range(0, 61, 6)],
    ):
        before = settled(tablet, fingers.picture, np.array_equal)
        fingers.move(*steps)
        wait_until(tablet, lambda before=before: alike(fingers.picture(), before) < 0.9)


def test_vtk_is_told_what_changed_since_the_last_event():
    gestures = pytest.importorskip("DeepSegWeb.gestures")
    interactor, told = vtkRenderWindowInteractor(), []
    adapter = SimpleNamespace(on_interaction=lambda _, event: told.append(event), scale_factor=2.0)
    view = gestures.Gestures(adapter, interactor)
    for kind, event in (
        ("LeftButtonPress", {"x": 3}),
        ("Tap", {}),
        ("StartPinch", {"factor": 1}),
        ("Pinch", {"factor": 1.5}),
        ("Pinch", {"factor": 3.0, "positions": {"7": {"x": 10, "y": 20}, "9": {"x": 30, "y": 60}}}),
        ("Pinch", {"factor": 0.0}),
        ("EndPinch", {}),
        ("StartPan", {"translation": [0, 0]}),
        ("Pan", {"translation": [3, -1]}),
        ("Pan", {"translation": [4, -4]}),
        ("EndPan", {"translation": [4, -4]}),
        ("StartRotate", {"rotation": 0}),
        ("Rotate", {"rotation": -10}),
        ("Rotate", {"rotation": -25}),
        ("EndRotate", {"rotation": -25}),
    ):
        view(None, {"type": kind, **event})
    assert [event["type"] for event in told[:2]] == ["MouseMove", "LeftButtonPress"] and told[0]["x"] == told[1]["x"]
    assert [event.get("factor", event.get("translation", event.get("rotation"))) for event in told[1:]] == [
        None, 1.0, 1.5, 2.0, 0.01 / 3, 1.0, [0, 0], [3, -1], [1, -3], [0, 0], 0.0, -10, -15, 1.0
    ]  # fmt: skip
    assert told[-1]["type"] == "EndPinch"
    interactor.InvokeEvent("PinchEvent")
    assert interactor.GetEventPosition() == (40, 80)
