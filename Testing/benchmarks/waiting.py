"""What a user waits for, as ratios between variants that take turns in one run.

    git worktree add /tmp/before v0.9
    python Testing/benchmarks/waiting.py before=/tmp/before now=. [--steps segment surfaces …] [--busy 2]
    python Testing/benchmarks/waiting.py spin=.,OMP_WAIT_POLICY=ACTIVE,KMP_BLOCKTIME=200 now=. --steps segment --busy 2

A variant is a source tree and environment variables. Ratios are to the first one. ``--busy`` runs so many programs
beside it that never pause, as a full desktop has. ``LD_PRELOAD=…/libiomp5.so`` (from the package intel-openmp) tries
LLVM's OpenMP in place of GNU's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

COMMAND = "import sys; from DeepSegLogic.cli import run; sys.argv[0] = 'deepseg'; run()"
WORKER = """
import sys, time
from DeepSegLogic import Point, read_volume
from DeepSegLogic.worker import WorkerClient
ct, out = sys.argv[1:]
volume = read_volume(ct)
def timed(name, *request, **params):
    started = time.perf_counter()
    answer = client.call(*request, **params)
    print(f"{name}: {time.perf_counter() - started}")
    return answer
with WorkerClient() as client:
    result = timed("first Segment", "segment", volume=volume, model="ct_demo")
    result = timed("second Segment", "segment", volume=volume, model="ct_demo")
    labels = result.label_map
    largest = max(labels.structures, key=lambda s: (labels.array == s.value).sum())
    i, j, k = 2, labels.array.shape[1] // 2, labels.array.shape[0] // 2
    click = Point(largest.name, True, tuple((labels.ijk_to_ras @ [i, j, k, 1])[:3]))
    for name in ("first correction", "correction"):
        timed(name, "refine", label_map=labels, prompts=[click], volume=volume)
    timed("Show in 3D", "surfaces", label_map=labels)
"""
STEPS = ("segment", "segment with surfaces", "worker", "page", "import")


def seconds_of(step: str, tree: Path, variables: dict[str, str], ct: Path, folder: Path) -> dict[str, float]:
    """Seconds of what a step measures, by name; each in a process of its own from its start."""
    paths = os.pathsep.join([str(tree), str(tree / "DeepSegExtension")])
    environment = {**os.environ, "PYTHONPATH": paths, **variables}
    started = time.perf_counter()

    def python(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, encoding="utf-8", check=False)
        if ran.returncode:
            raise SystemExit(f"{step} failed: {ran.stderr[-2000:]}")
        return ran.stdout

    if step == "worker":
        lines = python(WORKER, str(ct), str(folder)).splitlines()
        return {name: float(seconds) for name, _, seconds in (line.partition(": ") for line in lines)}
    if step == "page":
        command = [sys.executable, "-c", COMMAND, "web", str(ct), "--no-browser"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as server:
            server.stdout.readline()  # its link
            seconds = time.perf_counter() - started
            server.terminate()
        return {"page ready": seconds}
    if step == "import":
        python("import DeepSegLogic")
    else:
        formats = "stl" if step.endswith("surfaces") else ""
        python(COMMAND, "segment", str(ct), "-o", str(folder / "out"), "--quiet", "--surfaces", formats)
    return {step: time.perf_counter() - started}


def variant(text: str) -> tuple[str, Path, dict[str, str]]:
    """``name=TREE,VARIABLE=VALUE,…`` in parts."""
    name, _, rest = text.partition("=")
    tree, *variables = rest.split(",")
    return name, Path(tree).resolve(), dict(v.split("=", 1) for v in variables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", type=variant, metavar="NAME=TREE[,VARIABLE=VALUE…]")
    parser.add_argument("--steps", nargs="+", default=STEPS, choices=STEPS)
    parser.add_argument("--ct", type=Path, help="a CT; by default that of `deepseg demo`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", type=int, default=0, help="programs beside it that never pause")
    options = parser.parse_args()
    if options.ct is None:
        from DeepSegLogic.cli.demo import demo_ct

        options.ct = demo_ct()
    times: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for _ in range(options.busy):
            stack.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        for step in options.steps:
            for _ in range(options.repeats):
                for name, tree, variables in options.variants:
                    for what, seconds in seconds_of(step, tree, variables, options.ct.resolve(), folder).items():
                        times.setdefault(what, {}).setdefault(name, []).append(seconds)
    names = [name for name, _, _ in options.variants]
    print(f"| step | {' | '.join(f'{name} / {names[0]}' for name in names)} |\n|---|{'---|' * len(names)}")
    for what, by_name in times.items():
        first = statistics.median(by_name[names[0]])
        cells = [
            f"{statistics.median(s) / first:.2f} ({min(s) / first:.2f} to {max(s) / first:.2f})"
            for s in (by_name[n] for n in names)
        ]
        print(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
