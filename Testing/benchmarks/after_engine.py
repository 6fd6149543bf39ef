"""What follows the engine in `deepseg segment --surfaces ""`, as a share of the engine: processor time and memory.

    git worktree add /tmp/before VERSION
    python Testing/benchmarks/after_engine.py before=/tmp/before now=. --ct CT.nii.gz [--model FOLDER] [--repeats 2]

A variant is a source tree; they take turns. Each run is a process of its own, which reads the CT, segments it and
writes the folder of results. Times are of the processor (all threads, user and system). The peak memory of the engine
is that of the process up to its end; that of what follows is counted anew. ``--parts`` prints the time of each part, in
its own thread, as a share of the engine's. Labels of a model with random weights
(Testing/reference/make_random_model.py) are noise, which costs most to measure and to write. Linux only.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PARTS = {  # module → functions
    "results.folder": ["measure", "write_measurements", "write_array", "volume_digest", "identity", "file_digest"],
    "results.preview": ["write_preview", "reorient", "relief"],
    "io.write": ["write_label_map", "add_names", "check_voxels", "sitk_image"],
    "io.seg_nrrd": ["write_segmentation"],
    "util.atomic_write": ["flush"],
}


def peak_kb() -> int:
    """Peak memory of this process since the last call of :func:`forget_peak`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def timed(module: str, name: str, seconds: dict[str, float]) -> None:
    """Let a function note the processor time of its thread."""
    from importlib import import_module

    holder = import_module(f"DeepSegLogic.{module}")
    whole = getattr(holder, name)

    def noted(*args: object, **options: object) -> object:
        begin = time.thread_time()
        try:
            return whole(*args, **options)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.thread_time() - begin

    setattr(holder, name, noted)


def child(tree: Path, ct: Path, model: str) -> None:
    sys.path.insert(0, str(tree))
    import DeepSegLogic
    from DeepSegLogic.io import read_volume
    from DeepSegLogic.results.folder import write_outputs
    from DeepSegLogic.segmentation import segment
    from DeepSegLogic.util.progress import ignore_progress, never_cancel

    parts: dict[str, float] = {}
    for module, names in PARTS.items():
        for name in names:
            with suppress(ImportError, AttributeError):
                timed(module, name, parts)
    volume = read_volume(ct)
    forget_peak()
    begin = time.process_time()
    result = segment(volume, model, force=True)
    engine, engine_kb = time.process_time() - begin, peak_kb()
    forget_peak()
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        calls = {"source": ct, "formats": [], "progress": ignore_progress, "cancel": never_cancel}
        write_outputs(Path(folder), volume, result, **calls)
        sizes = {p.name: p.stat().st_size for p in Path(folder).iterdir()}
    after = time.process_time() - begin
    told = {"engine": engine, "after": after, "engine_kb": engine_kb, "after_kb": peak_kb(), "parts": parts}
    print(json.dumps({**told, "sizes": sizes, "tree": DeepSegLogic.__file__}))


def run(tree: Path, ct: Path, model: str) -> dict:
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "--ct", str(ct), "--model", model, f"child={tree}"]
    done = subprocess.run([*command, "--child"], stdout=subprocess.PIPE, check=True, encoding="utf-8")
    told = json.loads(done.stdout.splitlines()[-1])
    assert Path(told["tree"]).is_relative_to(tree), f"{told['tree']} ran instead of {tree}"
    return told


def variant(text: str) -> tuple[str, Path]:
    name, _, tree = text.partition("=")
    return name, Path(tree).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+", type=variant, metavar="NAME=TREE")
    parser.add_argument("--ct", type=Path, required=True)
    parser.add_argument("--model", default="ct_demo", help="id or folder")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--parts", action="store_true", help="print the parts of each run, too")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.variants[0][1], options.ct, options.model)
        return
    told: dict[str, list[dict]] = {name: [] for name, _ in options.variants}
    for _ in range(options.repeats):
        for name, tree in options.variants:
            told[name].append(run(tree, options.ct.resolve(), options.model))
            if options.parts:
                last = told[name][-1]
                slowest = sorted(last["parts"].items(), key=lambda part: -part[1])
                shares = {part: round(seconds / last["engine"], 3) for part, seconds in slowest}
                print(name, shares, last["sizes"], file=sys.stderr)
    print("| | after / engine, processor time | after / engine, peak memory |\n|---|---|---|")
    for name, runs in told.items():
        columns = []
        for what in ("after", "after_kb"):
            ratios = [r[what] / r[what.replace("after", "engine")] for r in runs]
            columns.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
