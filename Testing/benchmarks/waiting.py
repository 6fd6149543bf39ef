"""What a user waits for, as ratios between variants that take turns in one run.

    git worktree add /tmp/before COMMIT
    python Testing/benchmarks/waiting.py before=/tmp/before now=. [--steps segment refine …] [--busy 2]
    python Testing/benchmarks/waiting.py spin=.,OMP_WAIT_POLICY=ACTIVE,KMP_BLOCKTIME=200 now=. --steps segment --busy 2

A variant is a source tree and environment variables. Ratios are to the first one: of wall-clock time, and of processor
time with that of all child processes, which other work on the machine changes less. With OMP_NUM_THREADS=1 none of it
is spent on waiting. Modules are compiled before, as a user has them. All variants run the bundled model of this tree.
*Without the engine* leaves out the time between the end of preprocessing and the labels; *without reading the .ui*
leaves out what the stand-in host does in its own way. What PySide does at each import is left out, too.

``--busy`` runs so many programs beside it that never pause, as a full desktop has. ``LD_PRELOAD=…/libiomp5.so`` (from
the package intel-openmp) tries LLVM's OpenMP in place of GNU's.

It needs what the tests need: the panel is opened in ``Testing/host``. Run it by a Python in which DeepSeg is not
installed in a way that precedes PYTHONPATH, else it stops: for example, by a new environment with a ``.pth`` file that
names the site-packages of the other one.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "Resources" / "Models" / "ct_demo"
COMMAND = "import sys; from DeepSegLogic.cli import run; sys.argv[0] = 'deepseg'; run()"
STEPS = ("import", "page", "panel", "worker", "correction", "segment", "segment with surfaces", "refine", "surfaces")
HOLE_MM = 10.0

Times = dict[str, tuple[float, float]]
"""What was measured → seconds of the clock and of the processor."""


class Watch:
    """Time of a process and its descendants since the watch was made; the engine's is kept apart.

    Args:
        process: by default this one.
    """

    def __init__(self, process: int | None = None) -> None:
        self._process = psutil.Process(process)
        self._started = self._last = self._now()
        self._engine = np.zeros(2)

    def _now(self) -> np.ndarray:
        total = 0.0
        for process in [self._process, *self._process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                own, ended = sum((times := process.cpu_times())[:2]), sum(times[2:4])  # in hundredths of a second
                total += ended + (time.process_time() if process.pid == os.getpid() else own)
        return np.array([time.perf_counter(), total])

    def stage(self, stage: str) -> None:
        """Progress of a stage was told, which therefore took the time since the last one."""
        now = self._now()
        if stage == "inference":
            self._engine += now - self._last
        self._last = now

    def read(self, name: str, *, engine: bool = False, end: np.ndarray | None = None) -> Times:
        """The times, by name.

        Args:
            engine: also those without the engine.
            end: the present, if the process has ended.
        """
        spent = (self._now() if end is None else end) - self._started
        found = {name: tuple(spent)}
        if engine:
            found[f"{name}, without the engine"] = tuple(spent - self._engine)
        return found


# --- inside a process of the variant ---------------------------------------------------------------------------


def _worker(ct: Path, folder: Path) -> Times:
    from DeepSegLogic import read_volume
    from DeepSegLogic.worker import WorkerClient

    volume, times = read_volume(ct), Times()

    def timed(name: str, request: str, *, engine: bool = False, **params: object) -> object:
        watch = Watch()
        job, answer = client.submit(request, **params), None
        while client.is_open(job):
            for event in client.poll():
                if event.kind == "error":
                    raise event.error
                if event.kind == "progress":
                    watch.stage(event.stage)
                if event.kind == "result":
                    answer = event.value
            time.sleep(0.01)
        times.update(watch.read(name, engine=engine))
        return answer

    choices = {"volume": volume, "model": str(MODEL), "keep_probabilities": True}
    with WorkerClient() as client:
        timed("first Segment, pressed at once", "segment", engine=True, **choices)
    with WorkerClient() as client:  # as panel and page use it
        grid = {"shape": list(volume.array.shape), "ijk_to_ras": volume.ijk_to_ras}
        timed("estimate, when a CT is chosen", "estimate", model=str(MODEL), **grid)
        timed("first Segment", "segment", engine=True, **choices)
        result = timed("second Segment", "segment", engine=True, **choices)
        known = {"confidence": result.confidence, "boundary_margin": result.boundary_margin}
        timed("measurements", "measure", label_map=result.label_map, volume=volume, **known)
        timed("Show in 3D", "surfaces", label_map=result.label_map)
        timed("Show in 3D again", "surfaces", label_map=result.label_map)
        place = {"folder": str(folder / "exported"), "formats": ["stl"]}
        timed("export of surfaces", "export", label_map=result.label_map, volume=volume, **known, **place)
    return times


def _correction(ct: Path, folder: Path) -> Times:
    """Clicks into holes, as panel and page answer them in their own process."""
    from DeepSegLogic import read_label_map, read_volume

    with suppress(ImportError):
        from DeepSegLogic.refine import Point, refine  # of old versions
    with suppress(ImportError):
        from DeepSegLogic.refinement import Point, refine
    volume, labels = read_volume(ct), read_label_map(folder / "holed.nii.gz")
    clicks = json.loads((folder / "prompts.json").read_text())["prompts"]
    times = Times()
    for name, click in zip(("first correction", "correction"), clicks, strict=True):
        watch = Watch()
        done = refine(labels, [Point(click["structure"], True, tuple(click["ras"]))], volume=volume)
        times |= watch.read(name)
        assert done.changes_ml
    return times


def _panel(ct: Path, folder: Path) -> Times:
    import host

    desktop, module = host.start(), Path(host.__file__).parents[2] / "DeepSegExtension" / "DeepSeg.py"
    import slicer
    from shibokensupport import feature

    feature._mod_uses_pyside = lambda _module: False  # else PySide reads the source of each module; PythonQt does not
    load, reading = slicer.util.loadUI, np.zeros(2)

    def load_ui(path: str) -> object:
        nonlocal reading
        inner = Watch()
        widget = load(path)
        reading = np.array(inner.read("")[""])
        return widget

    slicer.util.loadUI = load_ui
    watch = Watch()
    desktop.load_module(module)
    times = watch.read("panel opened")
    (spent,) = times.values()
    return {**times, "panel opened, without reading the .ui": tuple(spent - reading)}


INSIDE = {"worker": _worker, "correction": _correction, "panel": _panel}

# --- around it -------------------------------------------------------------------------------------------------


def holes(ct: Path, folder: Path) -> None:
    """Segment once, and cut balls out of the two largest structures, for the steps that need labels and prompts."""
    from scipy import ndimage

    from DeepSegLogic import read_volume, segment, write_label_map

    labels = segment(read_volume(ct), str(MODEL)).label_map
    write_label_map(labels, folder / "labels.nii.gz")
    spacing = np.linalg.norm(labels.ijk_to_ras[:3, :3], axis=0)[::-1]
    sizes, prompts = np.bincount(labels.array.ravel()), []
    for structure in sorted(labels.structures, key=lambda s: -sizes[s.value : s.value + 1].sum())[:2]:
        depth = ndimage.distance_transform_edt(labels.array == structure.value, sampling=spacing)
        middle = np.unravel_index(depth.argmax(), depth.shape)
        far = np.ones(depth.shape, bool)
        far[middle] = False
        labels.array[ndimage.distance_transform_edt(far, sampling=spacing) <= HOLE_MM] = 0
        point = (labels.ijk_to_ras @ [*middle[::-1], 1])[:3].tolist()
        prompts.append({"structure": structure.name, "type": "point", "positive": True, "ras": point})
    write_label_map(labels, folder / "holed.nii.gz")
    (folder / "prompts.json").write_text(json.dumps({"prompts": prompts}))


def arguments(step: str, ct: Path, folder: Path) -> list[str]:
    """Those of the command that a step is."""
    out, prompts = str(folder / "out"), str(folder / "prompts.json")
    return {
        "segment": ["segment", str(ct), "-m", str(MODEL), "-o", out, "--json", "--surfaces", ""],
        "segment with surfaces": ["segment", str(ct), "-m", str(MODEL), "-o", out, "--json"],
        "refine": ["refine", str(folder / "holed.nii.gz"), "-i", str(ct), "-p", prompts, "-o", f"{out}.nii.gz"],
        "surfaces": ["surfaces", str(folder / "labels.nii.gz"), "-o", f"{out}.surfaces", "--json"],
        "page": ["web", str(ct), "--no-browser"],
    }[step]


def measured(step: str, tree: Path, variables: dict[str, str], ct: Path, folder: Path) -> Times:
    """What a step measures, each time in a process of its own."""
    environment = environment_of(tree, variables)
    if step in INSIDE:
        command = [sys.executable, __file__, "--inside", step, str(ct), str(folder)]
    elif step == "import":
        command = [sys.executable, "-c", "import DeepSegLogic"]
    else:
        command = [sys.executable, "-c", COMMAND, *arguments(step, ct, folder)]
    before = children_s()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
        )
        watch = Watch(process.pid)
        with process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if step == "page" and "http" in line:  # its link
                    times = watch.read("page ready")
                    process.terminate()
                    return times
                if line.startswith("{") and (event := json.loads(line)).get("event") == "progress":
                    watch.stage(event["stage"])
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{step} failed: {log.read()[-2000:]}")
    if step in INSIDE:
        return json.loads(lines[-1])
    end = np.array([time.perf_counter(), children_s() - before])
    return watch.read(step if step == "import" else f"deepseg {step}", engine=step.startswith("segment"), end=end)


def environment_of(tree: Path, variables: dict[str, str]) -> dict[str, str]:
    """The environment of a variant's processes, which import DeepSeg from its tree."""
    paths = [*map(str, (tree, tree / "DeepSegExtension", tree / "Testing")), variables.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        **variables,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def must_import(tree: Path, variables: dict[str, str], folder: Path) -> None:
    """Stop if a variant's processes would import DeepSeg from another tree."""
    command = [sys.executable, "-c", "import DeepSegLogic; print(DeepSegLogic.__file__)"]
    found = subprocess.check_output(command, env=environment_of(tree, variables), cwd=folder, text=True).strip()
    if not Path(found).is_relative_to(tree):
        raise SystemExit(f"{found} is imported, and not that of {tree}. Use a Python without DeepSeg.")


def children_s() -> float:
    """Processor time of all child processes that ended."""
    return sum(os.times()[2:4])


def variant(text: str) -> tuple[str, Path, dict[str, str]]:
    """``name=TREE,VARIABLE=VALUE,…`` in parts."""
    name, _, rest = text.partition("=")
    tree, *variables = rest.split(",")
    return name, Path(tree).resolve(), dict(v.split("=", 1) for v in variables)


def cell(seconds: list[float], first: float) -> str:
    """Ratio of the median, and of the extremes."""
    return f"{statistics.median(seconds) / first:.2f} ({min(seconds) / first:.2f} to {max(seconds) / first:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", type=variant, metavar="NAME=TREE[,VARIABLE=VALUE…]")
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--ct", type=Path, help="a CT; by default that of `deepseg demo`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="programs beside it that never pause")
    parser.add_argument("--seconds", action="store_true", help="also print the seconds")
    options = parser.parse_args()
    if options.ct is None:
        from DeepSegLogic.cli.demo import demo_ct

        options.ct = demo_ct()
    times: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for _, tree, variables in options.variants:
            must_import(tree, variables, folder)
        holes(options.ct, folder)
        for _, tree, _ in options.variants:  # as after an installation, or a first start
            for part in ("DeepSegLogic", "DeepSegExtension", "Testing/host"):
                compileall.compile_dir(tree / part, quiet=2)
        for _ in range(options.busy):
            stack.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        for step in options.steps:
            for _ in range(options.repeats):
                for name, tree, variables in options.variants:
                    for what, spent in measured(step, tree, variables, options.ct.resolve(), folder).items():
                        times.setdefault(what, {}).setdefault(name, []).append(spent)
    first, *others = (name for name, _, _ in options.variants)
    heads = [f"{name} / {first}, {kind}" for name in others for kind in ("wall clock", "processor")]
    print(f"| step | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for what, by_name in times.items():
        base = [statistics.median(kind) for kind in zip(*by_name[first], strict=True)]
        cells = [cell([s[k] for s in by_name[name]], base[k]) for name in others for k in (0, 1)]
        print(f"| {what} | {' | '.join(cells)} |")
        if options.seconds:
            print({name: [tuple(round(x, 2) for x in s) for s in seconds] for name, seconds in by_name.items()})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        print(json.dumps(INSIDE[sys.argv[2]](Path(sys.argv[3]), Path(sys.argv[4]))))
    else:
        main()
