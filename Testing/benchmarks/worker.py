"""What a warm worker saves: the second Segment against the first, and what the transport costs.

    python Testing/benchmarks/worker.py [--model ct_demo] [--volume CT] [--device auto] [--runs 3]

Prints a table; nothing is asserted.
"""

import argparse
import os
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np

from DeepSegLogic import read_volume
from DeepSegLogic.cli.demo import demo_ct
from DeepSegLogic.worker import ProcessLink, WorkerClient


def timed(client, request, **params):
    """Seconds to the answer, the answer, and the longest single call of ``submit`` or ``poll``."""
    started = last = time.perf_counter()
    job = client.submit(request, **params)
    longest = time.perf_counter() - last
    while True:
        last = time.perf_counter()
        events = client.poll()
        longest = max(longest, time.perf_counter() - last)
        for event in events:
            if event.job == job and event.kind == "error":
                raise event.error
            if event.job == job and event.kind == "result":
                return time.perf_counter() - started, event.value, longest
        time.sleep(0.005)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ct_demo")
    parser.add_argument("--volume", type=Path, default=demo_ct())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    volume = read_volume(options.volume)
    request = {"volume": volume, "model": options.model, "device": options.device}

    with WorkerClient() as client:
        runs, blocked = [], 0.0
        for _ in range(1 + options.runs):
            seconds, result, longest = timed(client, "segment", **request)
            runs.append((seconds, seconds - result.timings["inference"]))
            blocked = max(blocked, longest)
        print(f"volume {volume.shape_kji}, model {options.model}, {result.provenance['settings']['device']}")
        for i, what in enumerate(("whole run", "all but the network")):
            first, warm = runs[0][i], statistics.median(run[i] for run in runs[1:])
            print(f"{what:<20} first {first:7.2f} s, warm {warm:7.2f} s, ratio {first / warm:6.1f}")
        print(f"stages of the last, seconds: {result.timings}")
        print(f"longest submit or poll: {blocked * 1000:.1f} ms")

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "logic" / "worker")
    with WorkerClient(partial(ProcessLink, handlers="faulty_handlers")) as client:
        body = np.ones((400, 512, 512), np.int16)
        client.call("ping")
        there, _, _ = timed(client, "sum", array=body)
        both, _, blocked = timed(client, "echo", array=body)
    print(f"{body.nbytes >> 20} MB to the worker / there and back  {there:.2f} / {both:.2f} s")
    print(f"longest submit or poll meanwhile: {blocked * 1000:.1f} ms")


if __name__ == "__main__":
    main()
