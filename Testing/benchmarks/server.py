"""What a server costs, and whether its memory stays flat.

    python Testing/benchmarks/server.py [CT] [--requests 200] [--seconds 600]

Prints how long a run takes over a server on this machine as a ratio to the same run in a local worker process, both
warm and with the volume on the server already; then how the memory of the server's process, and of that with its
workers, changes in the course of many requests, each with a label map that the server has not seen.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

from DeepSegLogic import Server, read_volume
from DeepSegLogic.cli.demo import demo_ct
from DeepSegLogic.service.users import Users
from DeepSegLogic.worker import WorkerClient

COMMAND = "from DeepSegLogic.cli import run; run()"


@contextmanager
def serving(folder: str) -> Iterator[tuple[psutil.Process, str]]:
    """A server in a process of its own, and its address."""
    arguments = ["serve", "--port", "0", "--folder", folder, "--device", "cpu"]
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None
    yield psutil.Process(process.pid), process.stdout.readline().split()[-1]
    process.terminate()
    process.wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("ct", nargs="?", type=Path, default=None)
    options.add_argument("--model", default="ct_demo")
    options.add_argument("--quality", default="draft")
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--seconds", type=float, default=600.0, help="over which the requests are sent")
    given = options.parse_args()
    volume = read_volume(given.ct or demo_ct())
    with tempfile.TemporaryDirectory() as place, serving(place) as (process, url):
        server = Server(url, Users(Path(place)).add("bench"))
        with WorkerClient() as local:
            # cores warm up and others' work varies: one after the other, in turns
            ways = {
                "local": lambda: local.call(
                    "segment", volume=volume, model=given.model, quality=given.quality, device="cpu"
                ),
                "server": lambda: server.segment(volume, given.model, quality=given.quality),
            }
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            found = {}
            for number in range(given.runs + 1):
                for name, run in ways.items():
                    began = time.monotonic()
                    found[name] = run()
                    if number:
                        seconds[name].append(time.monotonic() - began)
        middle = {name: statistics.median(times) for name, times in seconds.items()}
        same = np.array_equal(found["local"].label_map.array, found["server"].label_map.array)
        print(f"same voxels: {same}; time over the server / local: {middle['server'] / middle['local']:.3f}")
        labels = found["server"].label_map
        sizes: dict[str, list[float]] = {"server": [], "server and workers": []}
        began = time.monotonic()
        for number in range(given.requests):
            time.sleep(max(0.0, began + given.seconds * number / given.requests - time.monotonic()))
            moved = replace(labels, array=np.roll(labels.array, number + 1))
            server.surfaces(moved, [labels.structures[number % 3].name])
            sizes["server"].append(process.memory_info().rss / 1e6)
            workers = sum(child.memory_info().rss for child in process.children(recursive=True)) / 1e6
            sizes["server and workers"].append(sizes["server"][-1] + workers)
        tenth = max(1, given.requests // 10)
        for name, told in sizes.items() if given.requests else ():
            first, last = statistics.median(told[tenth : 2 * tenth]), statistics.median(told[-tenth:])
            print(f"{len(told)} requests, memory of {name} at the end / after the first tenth: {last / first:.3f}")


if __name__ == "__main__":
    main()
