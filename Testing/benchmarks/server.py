"""What a server costs, and whether its memory stays flat.

    python Testing/benchmarks/server.py [CT] [--requests 200]

Prints how long a run takes over a server on this machine as a ratio to the same run in a local worker process, both
warm and with the volume on the server already; then the memory of the server's process in the course of many requests.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
        sizes = []
        for number in range(given.requests):
            server.surfaces(found["server"].label_map, [found["server"].label_map.structures[number % 3].name])
            sizes.append(process.memory_info().rss / 1e6)
        if sizes:
            tenth = max(1, len(sizes) // 10)
            first, last = statistics.median(sizes[tenth : 2 * tenth]), statistics.median(sizes[-tenth:])
            print(f"{len(sizes)} requests: memory at the end / after the first tenth: {last / first:.3f}")


if __name__ == "__main__":
    main()
