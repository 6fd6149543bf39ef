"""The pictures of a plan on the abdomen CT's labels in the panel, on the page and in the report, for docs/plan.md.

python Testing/tools/plan_faces.py panel|page|report --data ../shared/data -o docs
"""

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import plan_tutorial

from DeepSegLogic import Plan, read_volume
from DeepSegLogic.planning import write_plan
from DeepSegLogic.segmentation import Result

FACTS = {
    "model": {"id": "reference", "version": "1"},
    "settings": {"quality": "standard"},
    "versions": {"deepseg": "1"},
}


def case(data):
    """The CT, the tutorial's labels, and a plan of their liver."""
    volume = read_volume(data / "abdomen_ct" / "ct.nii.gz")
    volume.name, volume.modality = "Abdomen", "CT"
    labels, plans = plan_tutorial.case(data)
    entries = {kind: plans["margin"][kind] for kind in ("distances", "margins")}
    return volume, labels, Plan(entries | plans["plane"] | plans["needle"], "Right hemihepatectomy")


def panel(volume, label_map, plan, output):
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
        write_plan(plan, path)
        desktop.answers["Open a plan"] = path
        user.ui.openPlanButton.click()
        user.wait(lambda: user.session.outcome.planning.entries)
    for name in ("input", "model", "result"):
        getattr(user.ui, f"{name}CollapsibleButton").collapsed = True
    user.ui.planCollapsibleButton.collapsed = False
    desktop.screenshot(user.panel.parent, output / "plan-panel.png")
    desktop.reset()


def page(volume, label_map, plan, output):
    """The page in Chromium, while the plan's plane is shown."""
    from browser.conftest import CHROMIUM, DRAWN, FLAGS, start, stop
    from DeepSegWeb.scene import PageScene
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        folder, scene = Path(temporary), PageScene()
        write_plan(plan, folder / "plan.json")
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
        shown.get_by_label("Show in 3D").first.click(force=True)
        shown.get_by_role("option", name="Plan", exact=True).click()
        shown.get_by_role("button", name="Front", exact=True).click()
        shown.get_by_role("button", name="Make structures").scroll_into_view_if_needed()
        shown.wait_for_timeout(15_000)
        shown.screenshot(path=output / "plan-page.png")
        browser.close()
        stop(server)


def report(volume, label_map, plan, output):
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
        write_report(folder, Path(temporary) / "report.html", plan=plan)
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
