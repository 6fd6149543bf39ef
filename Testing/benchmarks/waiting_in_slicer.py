"""What a user of the panel waits for in 3D Slicer: how long its main thread works, and does not react meanwhile.

    python Testing/benchmarks/waiting_in_slicer.py /path/to/Slicer before=/tmp/before now=. --ct ct.nrrd [--repeats 3]

A variant is a source tree; variants take turns, each in a Slicer of its own. Two figures for each step: the processor
time of Slicer's main thread, and the longest such time between two ticks of a timer of 5 ms, which is what stutters.
Ratios are to the first variant; ``!`` marks over 100 ms. Compile the trees before, as users have them.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path


class Steps:
    """Measures steps in Slicer's main thread; ``found`` has processor time and longest stutter of each."""

    def __init__(self):
        import qt
        import slicer

        self.found, self._ticks, self._timer, self._app = {}, [], qt.QTimer(), slicer.app
        self._timer.connect("timeout()", lambda: self._ticks.append(time.thread_time()))
        self._timer.start(5)

    def pump(self, seconds, until=None):
        """Run the event loop for some time, or until something holds."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and not (until and until()):
            self._app.processEvents()
            time.sleep(0.001)

    def __call__(self, name, do, until=None):
        self.pump(0.2)
        self._ticks[:] = [time.thread_time()]
        do()
        self.pump(120, until or (lambda: True))
        assert until is None or until(), f"{name} never ended"
        self.pump(0.4)  # what views draw then
        ticks = [*self._ticks, time.thread_time()]
        self.found[name] = ticks[-1] - ticks[0], max(after - before for before, after in pairwise(ticks))


def measured(ct, scene):
    """All steps, in Slicer."""
    import numpy as np
    import slicer

    step, util = Steps(), slicer.util
    step.found["Slicer starts"] = time.process_time(), 0.0
    util.mainWindow().show()
    util.selectModule("Data")
    step("panel opens", lambda: util.selectModule("DeepSeg"))
    util.selectModule("Data")
    step("panel entered again", lambda: util.selectModule("DeepSeg"))
    panel = slicer.modules.deepseg.widgetRepresentation().self()
    ui, work = panel.ui, panel.logic.sceneSession
    session, outcome = work.session, work.session.outcome
    idle = lambda: not session.jobs.waiting  # noqa: E731
    node = util.loadVolume(ct)
    ui.inputSelector.setCurrentNode(None)
    step("CT chosen", lambda: ui.inputSelector.setCurrentNode(node), idle)
    step("Segment pressed", ui.segmentButton.click, lambda: session.jobs.run.fraction > 0)
    step("run, until its result is shown and measured", lambda: None, lambda: outcome.measurements and idle())
    for name, button in sorted(vars(ui).items()):
        if hasattr(button, "collapsed") and button.collapsed and button.className() == "ctkCollapsibleButton":
            step(f"{name} opens", lambda button=button: setattr(button, "collapsed", False))
    sizes = {row.name: row.voxels for row in outcome.measurements}
    work.chooseStructure(max(sizes, key=sizes.get))
    work.jumpTo(work.currentStructure)
    ui.strokeButton.click()
    ui.removeFromButton.click()
    view = slicer.app.layoutManager().sliceWidget("Red")
    interactor, (width, height, _) = view.sliceView().interactor(), view.mrmlSliceNode().GetDimensions()

    def event(kind, x, y):
        interactor.SetEventPosition(width // 2 + x, height // 2 + y)
        interactor.InvokeEvent(f"{kind}Event")

    for name, y in (("first stroke", 0), ("second stroke", 20)):
        step(f"{name}: begun", lambda y=y: event("LeftButtonPress", 0, y))
        step(f"{name}: drawn", lambda y=y: event("MouseMove", 12, y))
        step(f"{name}: released", lambda y=y: event("LeftButtonRelease", 12, y), idle)
    step("undo", ui.undoButton.click, idle)
    step("redo", ui.redoButton.click, idle)
    if not ui.show3DButton.checked:  # versions before showed surfaces after a correction
        step("Show in 3D", ui.show3DButton.click, idle)
    ui.show3DButton.click()
    step("Show in 3D again", ui.show3DButton.click, idle)
    step("undo, in 3D", ui.undoButton.click, idle)
    ui.removeFromButton.checked = False
    step("scene saved", lambda: util.saveScene(scene))
    step("scene closed", slicer.mrmlScene.Clear)
    step("scene loaded", lambda: util.loadScene(scene), lambda: outcome.measurements and idle())
    small = util.arrayFromVolume(work.resultVolumeNode)
    places = (np.arange(many) * few // many for many, few in zip((400, 512, 512), small.shape, strict=True))
    big = np.ascontiguousarray(small[np.ix_(*places)], np.int16)
    big[:, :60, :60] = -2000  # as scanners pad
    other = util.addVolumeFromArray(big, ijkToRAS=np.diag([-0.8, -0.8, 1.0, 1.0]), name="large")
    step("CT of 512×512×400 chosen", lambda: ui.inputSelector.setCurrentNode(other), idle)
    step("Segment pressed, 512×512×400", ui.segmentButton.click, lambda: session.jobs.run.fraction > 0)
    return step.found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slicer")
    parser.add_argument("variants", nargs="+", metavar="NAME=TREE")
    parser.add_argument("--ct", type=Path, required=True, help="one that Slicer can load")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    trees, found = dict(variant.split("=", 1) for variant in options.variants), {}
    with tempfile.TemporaryDirectory() as folder:
        names = {"DEEPSEG_CT": str(options.ct.resolve()), "DEEPSEG_OUT": f"{folder}/out.json"}
        for name, tree in [*trees.items()] * options.repeats:
            flags = ["--no-splash", "--disable-settings", "--python-script", Path(__file__).resolve()]
            flags += ["--additional-module-paths", Path(tree).resolve() / "DeepSegExtension"]
            subprocess.run([options.slicer, *flags], env={**os.environ, **names}, check=True)
            out = Path(names["DEEPSEG_OUT"]).rename(f"{folder}/read.json")  # so that it is not read again
            for step, times in json.loads(out.read_text()).items():
                found.setdefault(step, {}).setdefault(name, []).append(times)
    first, *others = trees
    heads = [f"{name}, {kind}" for name in others for kind in ("processor", "stutter")]
    print(f"| step | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for step, turns in found.items():
        medians = {name: [statistics.median(kind) for kind in zip(*t, strict=True)] for name, t in turns.items()}
        base, cells = medians.pop(first, (0, 0)), []
        for spent in medians.values():
            cells += [f"{now / before:.2f}" if before else "" for now, before in zip(spent, base, strict=True)]
            cells[-1] += " !" * (spent[1] > 0.1)
        print(f"| {step}{' !' * (base[1] > 0.1)} | {' | '.join(cells)} |")


if "DEEPSEG_OUT" in os.environ:
    import slicer

    try:
        OUT = Path(os.environ["DEEPSEG_OUT"])
        OUT.write_text(json.dumps(measured(os.environ["DEEPSEG_CT"], f"{OUT}.mrb")))
    finally:
        slicer.util.exit(0)  # without what was measured, this ends
elif __name__ == "__main__":
    main()
