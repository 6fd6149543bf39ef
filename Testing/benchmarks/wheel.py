"""From a notch of the wheel to the outline on the screen: the page in Chromium, by the clock, on a contrast CT.

    python Testing/benchmarks/wheel.py now=. [before=TREE …] [--ct FILE] [--busy 2] [--seconds]

A variant is a source tree. It opens the CT and a result of the bundled model with a ball cut out of the middle of a
structure, and holds the button down there, in each of the three slice views. From then on, the page itself
notes when a wheel event reaches it, and when an image with other pixels has been shown in the view under the mouse:

* *notch*: single notches, up and down, from four below the middle, each when the last was shown;
* *spin*: four notches 25 ms apart; the time from the last one until the outline is that of all four, and the number of
  images in that view on the way.

``--busy`` runs so many programs beside it that never pause, as a full desktop has. The table has ratios to the first
variant; ``--seconds`` also prints the times.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing"))

from browser.conftest import CHROMIUM, DRAWN, FLAGS  # noqa: E402
from browser.steps import take  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"

VIEWS = {"axial": 0, "coronal": 2, "sagittal": 3}
NOTCH = 100
WATCH = """(index) => {
  const image = document.querySelectorAll('.layout-grid-item')[index].querySelector('img');
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  const pixels = () => {
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, width, height).data;
  };
  let before = pixels();
  window.told = { wheels: [], images: [] };
  window.noted?.abort();  // of the view before
  window.noted = new AbortController();
  const options = { capture: true, passive: true, signal: noted.signal };
  image.addEventListener('load', () => {
    const at = performance.now(), now = pixels();
    const changed = now.some((value, i) => value !== before[i]);  // what is drawn the same is encoded the same
    before = now;
    if (changed) told.images.push(at);
  }, options);
  addEventListener('wheel', () => told.wheels.push(performance.now()), options);
}"""


def prepare(ct: Path, folder: Path) -> str:
    """Write a result with a ball missing in the middle of a structure, where the page goes when it is chosen; returns
    the structure's title."""
    from scipy import ndimage

    from DeepSegLogic import read_volume, segment, write_label_map

    labels = segment(read_volume(ct), str(ROOT / "Resources" / "Models" / "ct_demo")).label_map
    boxes, spacing = ndimage.find_objects(labels.array), labels.spacing_kji
    found = []
    for structure in labels.structures:
        box = boxes[structure.value - 1] if structure.value <= len(boxes) else None
        if box is not None:
            inside = np.pad(labels.array[box] == structure.value, 1)
            depth = ndimage.distance_transform_edt(inside, sampling=spacing)
            found.append((depth[tuple(n // 2 for n in depth.shape)], structure, box))
    radius, structure, box = max(found, key=lambda f: f[0])
    middle = [(s.start + s.stop - 1) / 2 for s in box]
    grid = np.ogrid[tuple(slice(n) for n in labels.array.shape)]
    far = sum(((axis - m) * s) ** 2 for axis, m, s in zip(grid, middle, spacing, strict=True))
    labels.array[far <= (0.8 * radius) ** 2] = 0
    print(f"{structure.title}: a ball of {0.8 * radius:.0f} mm radius is missing")
    write_label_map(labels, folder / "result.seg.nrrd")
    return structure.title


def opened(tree: Path, ct: Path, folder: Path, stack: ExitStack):
    """A page of a variant with the result; the structure is not chosen yet."""
    from playwright.sync_api import sync_playwright

    paths = [str(tree), str(tree / "DeepSegExtension")]  # before all that is installed
    code = f"import sys; sys.path[:0] = {paths}; from DeepSegLogic.cli import run; run()"
    command = [sys.executable, "-c", code, "web", str(ct), "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=environment, cwd=folder)
    stack.callback(server.wait, 30)
    stack.callback(server.terminate)
    line = next(line for line in server.stdout if "http" in line)
    driver = stack.enter_context(sync_playwright())
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    stack.callback(browser.close)
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(200_000)
    page.goto(re.search(r"http://\S+", line).group())
    page.get_by_text("voxels", exact=False).first.wait_for(state="attached")
    page.wait_for_function(DRAWN)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open file").click()
    chooser.value.set_files(folder / "result.seg.nrrd")
    page.get_by_role("table", name="Structures found").wait_for()
    page.wait_for_timeout(8000)  # surfaces, measurements
    return page


def timed(page, title: str, repeats: int) -> dict[str, list[float]]:
    """Seconds of each kind of turn of the wheel, by view."""
    times: dict[str, list[float]] = {}
    page.get_by_role("button", name=title, exact=True).click()
    take(page, "Add")
    for name, index in VIEWS.items():
        box = page.locator(".layout-grid-item").nth(index).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.get_by_text("Turn the wheel to change more or less, release to apply.").wait_for()
        page.wait_for_timeout(1500)
        page.evaluate(WATCH, index)
        turned(page, [1] * 4)  # from here on, each notch is seen in each view
        for turn in range(repeats):
            told = turned(page, [(-1) ** turn])
            times.setdefault(f"{name}, notch", []).append((told["images"][0] - told["wheels"][0]) / 1000)
        for turn in range(repeats // 2):
            told = turned(page, [(-1) ** turn] * 4)
            times.setdefault(f"{name}, spin", []).append((told["images"][-1] - told["wheels"][-1]) / 1000)
            times.setdefault(f"{name}, images of a spin", []).append(len(told["images"]))
        page.keyboard.press("Escape")
        page.mouse.up()
        page.get_by_role("button", name="Add", exact=True, pressed=False).wait_for()
        take(page, "Add")
    return times


def turned(page, directions: list[int]) -> dict[str, list[float]]:
    """Turn the wheel, and wait until nothing changes any more."""
    page.evaluate("window.told.wheels.length = window.told.images.length = 0")
    for direction in directions:
        page.mouse.wheel(0, direction * NOTCH)
        if len(directions) > 1:
            time.sleep(0.025)
    settled = "told.images.at(-1) > told.wheels.at(-1) && performance.now() - told.images.at(-1) > 1500"
    page.wait_for_function(f"told.wheels.length === {len(directions)} && {settled}")
    return page.evaluate("window.told")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", metavar="NAME=TREE")
    parser.add_argument("--ct", type=Path, default=SHARED / "ct_unlabelled" / "abdomen_contrast.nii.gz")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--busy", type=int, default=0, help="programs beside it that never pause")
    parser.add_argument("--seconds", action="store_true", help="also print the times")
    parser.add_argument("--keep", type=Path, help="folder that keeps the prepared result")
    options = parser.parse_args()
    times: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / "result.seg.nrrd").exists():
            (folder / "title").write_text(prepare(options.ct, folder))
        for _ in range(options.busy):
            stack.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        for variant in options.variants:
            name, _, tree = variant.partition("=")
            with ExitStack() as inner:
                page = opened(Path(tree).resolve(), options.ct, folder, inner)
                for what, found in timed(page, (folder / "title").read_text(), options.repeats).items():
                    times.setdefault(what, {})[name] = found
    print("| what | " + " | ".join(v.partition("=")[0] for v in options.variants) + " |")
    for what, by_name in times.items():
        base = statistics.median(next(iter(by_name.values())))
        print(f"| {what} | " + " | ".join(f"{statistics.median(s) / base:.2f}" for s in by_name.values()) + " |")
        if options.seconds:
            for name, s in by_name.items():
                print(f"  {name}: median {statistics.median(s):.3f}, largest {max(s):.3f}")


if __name__ == "__main__":
    main()
