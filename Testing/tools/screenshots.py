"""Pictures of the panel and the page for README and docs: ``make pictures [CT=FILE]``.

The panel is that of the stand-in host in ``Testing/host``; the page is the real one in Chromium.
"""

import argparse
import tempfile
from pathlib import Path

import host
from browser.conftest import CHROMIUM, DRAWN, FLAGS, start, stop
from browser.steps import take
from extension.conftest import MODULE, User
from playwright.sync_api import sync_playwright

from DeepSegLogic.cli.demo import demo_ct
from DeepSegLogic.io import read_volume

PICTURES = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots"
STRUCTURE = "Liver"


def panel(ct: Path, folder: Path) -> None:
    """The panel after a run, and while something is corrected."""
    desktop = host.start()
    user = User(desktop, desktop.load_module(MODULE))
    volume = read_volume(ct)
    user.load(volume.array, volume.ijk_to_ras)
    user.run()
    desktop.screenshot(user.panel.parent, folder / "panel-result.png")
    for button in (user.ui.inputCollapsibleButton, user.ui.modelCollapsibleButton):
        button.collapsed = True
    user.ui.correctCollapsibleButton.collapsed = False
    user.choose_row(STRUCTURE)
    user.ui.strokeButton.click()
    desktop.screenshot(user.panel.parent, folder / "panel-correct.png")
    desktop.reset()


def page(ct: Path, folder: Path) -> None:
    """The page after a run, and with a lasso."""
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        server = start(ct, temporary)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1280, "height": 720})
        shown.set_default_timeout(300_000)
        shown.goto(server.url)
        shown.wait_for_function(DRAWN)
        shown.get_by_role("button", name="Segment", exact=True).click()
        shown.locator("table").wait_for()
        shown.get_by_role("button", name="Segment", exact=True).wait_for()
        shown.wait_for_timeout(3000)
        shown.screenshot(path=folder / "web-result.png")
        shown.get_by_role("button", name=STRUCTURE, exact=True).click()
        take(shown, "Add")
        take(shown, "Lasso")
        box = shown.locator(".layout-grid-item").first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        shown.mouse.move(x - 60, y)
        shown.mouse.down()
        for dx, dy in ((-30, -40), (30, -45), (60, 0), (20, 40), (-40, 30)):
            shown.mouse.move(x + dx, y + dy, steps=5)
        shown.wait_for_timeout(8000)  # until all of it is outlined, also on a busy machine
        shown.screenshot(path=folder / "web-correct.png")
        browser.close()
        stop(server)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path, default=demo_ct())
    parser.add_argument("--out", type=Path, default=PICTURES)
    options = parser.parse_args()
    panel(options.ct, options.out)
    page(options.ct, options.out)
