"""The pictures of docs/detection.md: artificial nodules in a real CT, found by a detector, in panel or page.

python Testing/tools/detection_faces.py panel|page MODEL --data ../shared/data -o docs
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def case(data: Path):
    """A part of the chest CT, which the detector was not trained on, in every other voxel, with five nodules."""
    from benchmarks.detection import lungs_in

    from DeepSegLogic import Volume, read_volume
    from DeepSegLogic.detection.artificial import LUNG_NODULE, put_lesions

    chest = read_volume(data / "ct_unlabelled" / "chest_contrast.nii.gz")
    matrix = chest.ijk_to_ras @ np.diag([2.0, 2.0, 1.0, 1.0])
    matrix[:3, 3] = (chest.ijk_to_ras @ [0, 0, 40, 1])[:3]
    part = Volume(np.ascontiguousarray(chest.array[40:90, ::2, ::2]), matrix, "Chest", "CT")
    return put_lesions(part, lungs_in(part), LUNG_NODULE, 5, seed=1)[0]


def panel(volume, model: str, output: Path) -> None:
    """The section, with a finding accepted and another one segmented."""
    import host
    from extension.conftest import MODULE, User

    desktop = host.start()
    user = User(desktop, desktop.load_module(MODULE))
    user.load(volume.array, volume.ijk_to_ras, volume.name)
    user.session.detection.choose_model(model)
    user.ui.detectButton.click()
    user.wait(lambda: not user.session.jobs.run.busy)
    user.ui.acceptFindingButton.click()
    user.ui.nextFindingButton.click()
    user.ui.segmentFindingButton.click()
    user.wait(lambda: user.ui.undoButton.enabled)  # with the measurements
    for name in ("model", "result"):
        getattr(user.ui, f"{name}CollapsibleButton").collapsed = True
    user.ui.detectCollapsibleButton.collapsed = False
    desktop.screenshot(user.panel.parent, output / "detection-panel.png")
    desktop.reset()


def page(volume, model: str, output: Path) -> None:
    """The page in Chromium, with a finding chosen."""
    from browser.conftest import CHROMIUM, DRAWN, FLAGS, start, stop
    from playwright.sync_api import sync_playwright

    from DeepSegLogic import write_volume

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        write_volume(volume, Path(temporary) / "chest.nii.gz")
        server = start(Path(temporary) / "chest.nii.gz", temporary)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1400, "height": 900})
        shown.set_default_timeout(300_000)
        shown.goto(server.url)
        shown.wait_for_function(DRAWN)
        shown.get_by_role("button", name="Window: Lung").click()
        shown.get_by_role("button", name="Find", exact=True).click()
        shown.get_by_role("table", name="Findings").wait_for()
        shown.get_by_role("button", name="Accept", exact=True).click()
        shown.get_by_role("button", name="Save findings").scroll_into_view_if_needed()
        shown.wait_for_timeout(15_000)
        shown.screenshot(path=output / "detection-page.png")
        browser.close()
        stop(server)


def main() -> None:
    from DeepSegLogic.models.import_export import import_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face", choices=("panel", "page"))
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        os.environ["DEEPSEG_MODELS"] = store
        {"panel": panel, "page": page}[options.face](case(options.data), import_model(options.model).id, options.output)


if __name__ == "__main__":
    main()
