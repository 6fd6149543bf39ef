"""A plan on the page: a distance, a plane that is dragged, parts, files."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from DeepSegLogic import LabelMap, Organ
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import read_volume
from DeepSegLogic.planning import distance, read_plan
from DeepSegLogic.planning.plan_file import cut_of

from .conftest import shown, start, stop
from .steps import answered, cells, download, settled, take, unzip, wait_until
from .test_touch import Fingers

pytestmark = pytest.mark.timeout(600)
FACTS = {"model": {"id": "m", "version": "1"}, "settings": {"quality": "fast"}, "versions": {"deepseg": "0"}}


@pytest.fixture(scope="module")
def organs(chest_ct):
    """Two balls in the demonstration CT, called liver and spleen."""
    volume = read_volume(chest_ct)
    k, j, i = np.indices(volume.array.shape)
    array = np.zeros(k.shape, np.uint8)
    for value, middle in ((1, 44), (2, 84)):
        array[((i - middle) * 3.0) ** 2 + ((j - 64) * 3.0) ** 2 + ((k - 17) * 10.0) ** 2 < 50.0**2] = value
    return volume, LabelMap(array, volume.ijk_to_ras, [structure_for("liver", 1), structure_for("spleen", 2)])


@pytest.fixture(scope="module")
def server(browser, organs, tmp_path_factory):
    """Opens a scene with the organs as a result."""
    scene, folder = pytest.importorskip("DeepSegWeb.scene").PageScene(), tmp_path_factory.mktemp("scene")
    volume, label_map = organs
    scene.show_volume(volume)
    scene.work.adopt(label_map, FACTS)
    scene.save(folder / "chest")
    scene.work.session.close()
    with zipfile.ZipFile(folder / "chest.mrb", "w") as archive:
        for path in (p for p in (folder / "chest").rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    running = start(folder / "chest.mrb", tmp_path_factory.mktemp("web"))
    yield running
    stop(running)


def plan(page) -> dict[str, str]:
    """The plan's lines: title → value."""
    return {title: value for title, value, *_ in cells(page.get_by_role("table", name="Plan"))}


def chosen(page) -> list[str]:
    """The current structure, as the list of the result shows it."""
    return page.locator("tr.current button.name").all_inner_texts()


def visible(page) -> set[str]:
    """The structures that are shown."""
    boxes = page.get_by_role("checkbox", name="Show ", checked=True).all()
    return {box.get_attribute("aria-label").removeprefix("Show ") for box in boxes}


def offered(page) -> list[str]:
    """What can be chosen as the other structure."""
    page.locator(".v-select").filter(has_text="Other structure").click()
    options = page.get_by_role("option")
    options.first.wait_for()
    titles = options.all_inner_texts()
    options.first.click()
    return titles


def threed(page) -> np.ndarray:
    """The 3D view as it is on the page."""
    shown = page.locator(".layout-grid-item").nth(1).screenshot()
    return np.asarray(Image.open(io.BytesIO(shown)).convert("RGB"), int)


def drag(page, pixels) -> None:
    """Drag askew from the middle of the axial view, step by step: what waits for the server is overtaken."""
    box = page.locator(".layout-grid-item").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for n in range(4):
        page.mouse.move(x - 12 + 4 * n, y)
        page.wait_for_timeout(100)
        answered(page)
    page.mouse.down()
    for n in range(1, 6):
        page.mouse.move(x + n * pixels / 5, y + n * pixels / 5)
        page.wait_for_timeout(100)
        answered(page)
    page.mouse.up()


def test_measure_drag_a_plane_and_take_it_home(page, organs, tmp_path):
    label_map = organs[1]
    page.get_by_role("button", name="Liver", exact=True).click()
    page.locator(".v-select").filter(has_text="Other structure").click()  # once it has its place
    page.get_by_role("option", name="Spleen").click()
    page.get_by_role("button", name="Distance", exact=True).click()
    page.get_by_role("button", name="Liver – Spleen", exact=True).wait_for()
    found = f"{distance(label_map, 'liver', 'spleen').distance_mm:.1f} mm"
    wait_until(page, lambda: plan(page)["Liver – Spleen"] == found)

    page.get_by_role("button", name="Draw path").click()
    hint = page.get_by_text("Click the entry in a slice, then the target.")
    hint.wait_for()
    page.get_by_role("button", name="End path").click()
    hint.wait_for(state="hidden")

    bare = settled(page, lambda: threed(page), np.array_equal)
    page.get_by_role("button", name="Add plane").click()
    # translucent, and larger than the liver; the view is drawn anew a moment later
    wait_until(page, lambda: (np.abs(threed(page) - bare).max(2) > 8).mean() > 0.05)
    title = page.get_by_role("button", name="Liver, remnant", exact=True)
    for step, state in (("Undo", "detached"), ("Redo", "visible")):
        page.get_by_role("button", name=f"{step} in the plan").click()
        title.wait_for(state=state)
    title.click()  # the views are centered on the plane
    before = settled(page, lambda: plan(page)["Liver, remnant"])
    window = page.locator(".ds-window").first.inner_text()
    drag(page, 15)
    wait_until(page, lambda: plan(page)["Liver, remnant"] != before)
    assert page.locator(".ds-window").first.inner_text() == window
    shown = settled(page, lambda: plan(page))  # it has its place
    written = unzip(download(page, ["Plan (JSON)", "Report (HTML)"]))
    (tmp_path / "plan.json").write_bytes(written.read("plan.json"))
    saved = read_plan(tmp_path / "plan.json")
    (cut,) = saved.entries["resections"][0]["cuts"]
    found = Organ(label_map, "liver").cut([cut_of(cut)])
    assert shown["Liver, remnant"] == f"{found.remnant_ml:.0f} ml ({found.remnant_percent:.1f} %)"
    report = written.read("report.html").decode()
    assert shown["Liver, remnant"] in report and "What was assumed" in report

    page.get_by_role("button", name="Make structures").click()
    page.get_by_role("button", name="Liver, part 1", exact=True).wait_for()
    wait_until(page, lambda: "?" not in "".join(plan(page).values()))
    parts = {"Liver, part 1", "Liver, part 2"}
    assert chosen(page) == ["Liver, part 1"] and parts <= visible(page)
    # to the plan, a part is the organ
    assert offered(page) == ["Spleen"]
    for button, title in (("Diameters", "Liver, diameters"), ("Distance", "Liver – Spleen")):
        page.get_by_role("button", name=button, exact=True).click()
        wait_until(page, lambda title=title: title in plan(page))
    error = page.get_by_text("The plan has this already.")  # the distance
    error.wait_for()
    page.get_by_role("button", name="Undo in the plan").click()
    error.wait_for(state="detached")
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_role("button", name="Liver", exact=True).wait_for()
    assert chosen(page) == ["Liver"] and "Liver" in visible(page) and not parts & visible(page)


def test_a_button_counts_for_the_structure_that_was_pressed_last(page):
    page.get_by_role("button", name="Liver", exact=True).click()
    wait_until(page, lambda: chosen(page) == ["Liver"])
    # faster than the server answers, as on a slow connection
    page.get_by_role("button", name="Diameters", exact=True).evaluate(
        """(button) => {
          [...document.querySelectorAll("button.name")].find((name) => name.innerText === "Spleen").click();
          setTimeout(() => button.click());
        }"""
    )
    wait_until(page, lambda: {"Spleen, diameters"} & plan(page).keys() and chosen(page) == ["Spleen"])


def test_a_click_is_for_the_path_or_for_the_tool_whichever_was_taken_last(page):
    page.get_by_role("button", name="Liver", exact=True).click()
    take(page, "Remove")
    path = page.get_by_role("button", name="Draw path")
    path.click()
    page.get_by_text("Click the entry in a slice, then the target.").wait_for()
    page.get_by_role("button", name="Remove", exact=True, pressed=False).wait_for()
    box = page.locator(".layout-grid-item").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for x in (-30, 10):
        page.mouse.click(middle[0] + x, middle[1])
        answered(page)
    wait_until(page, lambda: "Straight path" in plan(page))
    assert page.get_by_role("button", name="Undo", exact=True).is_disabled(), "nothing was corrected"
    path.click()
    page.get_by_role("button", name="End path").wait_for()
    take(page, "Remove")
    path.wait_for()
    page.keyboard.press("Escape")


@pytest.mark.parametrize("pause_ms", [0, 500])
def test_a_finger_moves_a_plane_and_leaves_the_window(browser, server, pause_ms):
    with shown(browser, server, size=(1180, 820), has_touch=True) as page:
        # a part that is removed need not reach another plane, as an earlier test left: moving that one leaves the rest
        for button in page.get_by_role("button", name="Remove: Liver, remnant").all():
            button.tap()
            button.wait_for(state="detached")
        page.get_by_role("button", name="Liver", exact=True).tap()
        page.get_by_role("button", name="Add plane").tap()
        title = page.get_by_role("button", name="Liver, remnant", exact=True)
        title.tap()  # the views are centered on the plane
        fingers, told = Fingers(page, 0), page.locator(".ds-window").first
        before, window = settled(page, lambda: plan(page)["Liver, remnant"]), told.inner_text()
        fingers.move(*([(d, d)] for d in range(0, 26, 5)), pause_ms=pause_ms)
        wait_until(page, lambda: plan(page)["Liver, remnant"] != before)
        assert settled(page, told.inner_text) == window
        fingers.move(*([(-150, 150 - d)] for d in range(0, 26, 5)), pause_ms=pause_ms)  # beside all handles
        wait_until(page, lambda: told.inner_text() != window)
        page.get_by_role("button", name="Remove: Liver, remnant").tap()
        title.wait_for(state="detached")
