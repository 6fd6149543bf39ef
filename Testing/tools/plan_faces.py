"""The pictures of docs/plan.md: a plan on the abdomen CT's labels in the panel, on the page and in the report.

python Testing/tools/plan_faces.py panel|page|report --data ../shared/data -o docs
"""

import argparse
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from DeepSegLogic import Plan, read_label_map, read_volume
from DeepSegLogic.planning import write_plan
from DeepSegLogic.segmentation import Result

PLAN = Plan(
    {
        "distances": [{"one": "gallbladder", "other": "portal_vein_and_splenic_vein"}],
        "margins": [{"structure": "gallbladder", "mm": 10, "keep": ["inferior_vena_cava"]}],
        "resections": [
            {
                "organ": "liver",
                "removed": [1],
                "cuts": [{"type": "plane", "origin": [39, 192, 370], "normal": [0.62, -0.78, 0]}],
            }
        ],
    },
    "Right hemihepatectomy",
)
SHOWN = (
    *("liver", "gallbladder", "portal_vein_and_splenic_vein", "inferior_vena_cava", "aorta"),
    *("kidney_right", "kidney_left", "spleen", "stomach", "pancreas"),
)
FACTS = {
    "model": {"id": "reference", "version": "1"},
    "settings": {"quality": "standard"},
    "versions": {"deepseg": "1"},
}


def case(data):
    """The CT, and its labels of some organs."""
    volume = read_volume(data / "abdomen_ct" / "ct.nii.gz")
    volume.name, volume.modality = "Abdomen", "CT"
    labels = read_label_map(data / "abdomen_ct" / "labels.nii.gz")
    structures = [s for s in labels.structures if s.name in SHOWN]
    array = np.where(np.isin(labels.array, [s.value for s in structures]), labels.array, 0).astype(labels.array.dtype)
    return volume, replace(labels, array=array, structures=structures)


def panel(volume, label_map, output):
    """The plan section, with nodes in the stand-in's scene."""
    import host
    from extension.conftest import MODULE, User

    desktop = host.start()
    user = User(desktop, desktop.load_module(MODULE))
    user.load(volume.array, volume.ijk_to_ras, volume.name)
    user.scene.adopt(label_map, FACTS)
    user.wait(lambda: not user.session.jobs.waiting)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        write_plan(PLAN, path)
        desktop.answers["Open a plan"] = path
        user.ui.openPlanButton.click()
        user.wait(lambda: user.session.outcome.planning.entries)
    for name in ("input", "model", "result"):
        getattr(user.ui, f"{name}CollapsibleButton").collapsed = True
    user.ui.planCollapsibleButton.collapsed = False
    desktop.screenshot(user.panel.parent, output / "plan-panel.png")
    desktop.reset()


def page(volume, label_map, output):
    """The page in Chromium, while the plan's plane is shown."""
    from browser.conftest import CHROMIUM, DRAWN, FLAGS, start, stop
    from DeepSegWeb.scene import PageScene
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        folder, scene = Path(temporary), PageScene()
        write_plan(PLAN, folder / "plan.json")
        scene.show_volume(volume)
        scene.work.adopt(label_map, FACTS)
        scene.save(folder / "abdomen")
        scene.work.session.close()
        with zipfile.ZipFile(folder / "abdomen.mrb", "w") as archive:
            for path in (p for p in (folder / "abdomen").rglob("*") if p.is_file()):
                archive.write(path, path.relative_to(folder))
        server = start(folder / "abdomen.mrb", temporary)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1400, "height": 900})
        shown.set_default_timeout(300_000)
        shown.goto(server.url)
        shown.wait_for_function(DRAWN)
        shown.get_by_role("button", name="Liver", exact=True).click()
        with shown.expect_file_chooser() as chooser:
            shown.get_by_role("button", name="Open plan").click()
        chooser.value.set_files(folder / "plan.json")
        shown.get_by_role("button", name="Liver, remnant", exact=True).click()
        shown.get_by_role("button", name="Make structures").scroll_into_view_if_needed()
        shown.get_by_role("button", name="Fit 3D view").click()
        shown.wait_for_timeout(15_000)
        shown.screenshot(path=output / "plan-page.png")
        browser.close()
        stop(server)


def report(volume, label_map, output):
    """The planning page of the report."""
    from browser.conftest import CHROMIUM, FLAGS
    from playwright.sync_api import sync_playwright

    from DeepSegLogic.results.folder import write_outputs
    from DeepSegLogic.results.report import write_report
    from DeepSegLogic.util.progress import ignore_progress, never_cancel

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        folder = Path(temporary) / "result"
        result = Result(label_map, {}, provenance=FACTS)
        options = {"source": None, "formats": ["glb"], "progress": ignore_progress, "cancel": never_cancel}
        write_outputs(folder, volume, result, **options)
        write_report(folder, Path(temporary) / "report.html", plan=PLAN)
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1180, "height": 900})
        shown.goto((Path(temporary) / "report.html").as_uri())
        shown.locator("section.plan").screenshot(path=output / "plan-report.png")
        browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("face", choices=("panel", "page", "report"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    options = parser.parse_args()
    {"panel": panel, "page": page, "report": report}[options.face](*case(options.data), options.output)


if __name__ == "__main__":
    main()
