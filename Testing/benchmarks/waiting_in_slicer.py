"""What a user of the panel waits for in 3D Slicer: how long its main thread works, and does not react meanwhile.

    python Testing/benchmarks/waiting_in_slicer.py /path/to/Slicer before=/tmp/before now=. --ct ct.nrrd [--repeats 3]

A variant is a source tree; variants take turns, each in a Slicer of its own. Two figures for each step: the processor
time of Slicer's main thread, and the longest such time between two ticks of a timer of 5 ms, which is what stutters.
Other work on the machine changes both less than the clock. Ratios are to the first variant; steps that stutter for
over 100 ms of processor time are marked. Compile the trees before (``python -m compileall``), as users have them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

LONG_S = 0.1


class Steps:
    """Measures steps in Slicer's main thread; ``found`` has processor time and longest stutter of each."""

    def __init__(self):
        import qt

        self.found, self._ticks, self._timer = {}, [], qt.QTimer()
        self._timer.interval = 5
        self._timer.connect("timeout()", lambda: self._ticks.append(time.thread_time()))
        self._timer.start()

    def pump(self, seconds, until=None):
        """Run the event loop for some time, or until something holds."""
        import slicer

        end = time.perf_counter() + seconds
        while time.perf_counter() < end and not (until and until()):
            slicer.app.processEvents()
            time.sleep(0.001)

    def __call__(self, name, do, until=None):
        self.pump(0.2)
        self._ticks[:] = [time.thread_time()]
        do()
        self.pump(120, until or (lambda: True))
        assert until is None or until(), f"{name} never ended"
        self.pump(0.4)  # what views draw then
        ticks = [*self._ticks, time.thread_time()]
        gaps = [after - before for before, after in pairwise(ticks)]
        self.found[name] = ticks[-1] - ticks[0], max(gaps)


def measured(ct, scene):
    """All steps, in Slicer."""
    import numpy as np
    import slicer

    step, util = Steps(), slicer.util
    util.mainWindow().show()
    step.found["Slicer starts"] = time.process_time(), 0.0
    util.selectModule("Data")
    step("panel opens", lambda: util.selectModule("DeepSeg"))
    step("panel left", lambda: util.selectModule("Data"))
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

    def stroke(name, y):
        step(f"{name}: begun", lambda: event("LeftButtonPress", 0, y))
        step(f"{name}: drawn", lambda: event("MouseMove", 12, y))
        step(f"{name}: released", lambda: event("LeftButtonRelease", 12, y), idle)

    stroke("first stroke", 0)
    stroke("second stroke", 20)
    step("undo", ui.undoButton.click, idle)
    step("redo", ui.redoButton.click, idle)
    if not ui.show3DButton.checked:  # versions before showed surfaces after a correction
        step("Show in 3D", ui.show3DButton.click, idle)
    step("hidden in 3D", ui.show3DButton.click)
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
    session.close()
    return step.found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slicer")
    parser.add_argument("variants", nargs="+", metavar="NAME=TREE")
    parser.add_argument("--ct", type=Path, required=True, help="one that Slicer can load")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    trees = dict(variant.split("=", 1) for variant in options.variants)
    found = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeats):
            for name, tree in trees.items():
                out, modules = f"{folder}/out.json", Path(tree).resolve() / "DeepSegExtension"
                command = [options.slicer, "--no-splash", "--disable-settings", "--additional-module-paths", modules]
                names = {"DEEPSEG_CT": str(options.ct.resolve()), "DEEPSEG_OUT": out}
                subprocess.run(
                    [*command, "--python-script", Path(__file__).resolve()], env={**os.environ, **names}, check=True
                )
                found[name].append(json.loads(Path(out).read_text()))
    first, *others = (
        {s: [statistics.median(t[s][k] for t in turns) for k in (0, 1)] for s in turns[0]} for turns in found.values()
    )
    print(f"| step | {' | '.join(f'{name}, processor | {name}, stutter' for name in list(trees)[1:])} |")
    print(f"|---|{'---|' * 2 * len(others)}")
    for name, times in first.items():
        cells = []
        for other in (o for o in others if name in o):
            ratios = [f"{b / a:.2f}" if a else "" for a, b in zip(times, other[name], strict=True)]
            cells += [ratios[0], ratios[1] + " !" * (other[name][1] > LONG_S)]
        print(f"| {name}{' !' * (times[1] > LONG_S)} | {' | '.join(cells)} |")


if "DEEPSEG_OUT" in os.environ:
    import traceback

    import slicer

    try:
        times = measured(os.environ["DEEPSEG_CT"], os.environ["DEEPSEG_OUT"] + ".mrb")
        Path(os.environ["DEEPSEG_OUT"]).write_text(json.dumps(times))
        slicer.util.exit(0)
    except Exception:
        traceback.print_exc()
        slicer.util.exit(1)
elif __name__ == "__main__":
    sys.exit(main())
