"""A simulation of a cohort on 1 to 1000 workers: throughput, what limits it, and what lost machines cost.

    pip install simpy
    .venv/bin/python Testing/benchmarks/scale.py                          # the curve, as a table
    .venv/bin/python Testing/benchmarks/scale.py --measure ../shared/data # and the measured points at 1 and 2 workers

Discrete events (SimPy). A worker asks the scheduler for a case, which takes ``dispatch`` seconds, one at a time; reads
its CT from the storage, whose bandwidth all workers share; computes for a time drawn from a lognormal distribution;
writes its results, and takes the next. A worker is lost now and then, as spot machines are: its case starts anew on
whichever worker is free, and the machine comes back after a while. Seconds are those of the case that is simulated;
the table has ratios to one worker.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

WORKERS = (1, 2, 4, 10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Site:
    """What a run is like.

    Attributes:
        compute: mean seconds of a case on one worker, without reading and writing.
        spread: standard deviation of its logarithm; CTs differ in size.
        read, write: MB per case.
        bandwidth: of the storage, MB/s, for all workers together.
        own_bandwidth: of one worker's connection, MB/s.
        dispatch: seconds of the scheduler per case.
        start: seconds until a worker can begin, for example to load the model.
        lost: how often a worker is lost, per hour.
        away: mean seconds until its replacement is there.
        seed: of all draws.
    """

    compute: float = 30.0
    spread: float = 0.5
    read: float = 100.0
    write: float = 10.0
    bandwidth: float = 1000.0
    own_bandwidth: float = 100.0
    dispatch: float = 0.005
    start: float = 20.0
    lost: float = 0.05
    away: float = 120.0
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """Seconds of a whole run, and the shares of the workers' time for computing, waiting for others, and lost work."""

    seconds: float
    computing: float
    waiting: float
    wasted: float


def simulate(site: Site, workers: int, cases: int) -> Run:
    """One run."""
    import simpy

    rng = np.random.default_rng(site.seed)
    world = simpy.Environment()
    scheduler = simpy.Resource(world, 1)
    lanes = simpy.Resource(world, max(1, round(site.bandwidth / site.own_bandwidth)))
    mean = np.log(site.compute) - site.spread**2 / 2
    queue = list(rng.lognormal(mean, site.spread, cases) if site.spread else np.full(cases, site.compute))
    spent = dict.fromkeys(("computing", "waiting", "wasted"), 0.0)
    done = world.event()
    left = [cases]

    def shared(resource, seconds):
        asked = world.now
        with resource.request() as turn:
            yield turn
            spent["waiting"] += world.now - asked
            yield world.timeout(seconds)

    def one_case(seconds):
        yield from shared(scheduler, site.dispatch)
        yield from shared(lanes, site.read / site.own_bandwidth)
        yield world.timeout(seconds)
        yield from shared(lanes, site.write / site.own_bandwidth)

    def worker():
        yield world.timeout(site.start)
        while queue or left[0]:
            if not queue:  # others may still lose theirs
                yield world.timeout(1.0)
                continue
            seconds, began = queue.pop(), world.now
            task = world.process(one_case(seconds))
            fate = world.timeout(rng.exponential(3600 / site.lost)) if site.lost else world.event()
            yield task | fate
            if task.processed:
                spent["computing"] += seconds
                left[0] -= 1
                if not left[0]:
                    done.succeed()
            else:
                task.defused = True
                task.interrupt()
                spent["wasted"] += world.now - began
                queue.append(seconds)
                yield world.timeout(rng.exponential(site.away) + site.start)

    for _ in range(workers):
        world.process(worker())
    world.run(done)
    shares = {name: value / (workers * world.now) for name, value in spent.items()}
    return Run(world.now, **shares)


def table(site: Site, per_worker: int) -> None:
    alone = simulate(site, 1, 10 * per_worker)
    speed_alone = 10 * per_worker / (alone.seconds - site.start)
    print("| workers | throughput / one worker | per worker | computing | waiting for storage or scheduler | lost |")
    print("|---:|---:|---:|---:|---:|---:|")
    for workers in WORKERS:
        cases = max(10, workers) * per_worker
        run = simulate(site, workers, cases)
        ratio = cases / (run.seconds - site.start) / speed_alone
        shares = f"{run.computing:.0%} | {run.waiting:.0%} | {run.wasted:.1%}"
        print(f"| {workers} | {ratio:.1f} | {ratio / workers:.2f} | {shares} |", flush=True)


def measure(data: Path, count: int) -> None:
    """Real runs with 1 and 2 workers of one thread each, against the simulation.

    Processor seconds are compared, since other programs may share the machine: on cores of their own, two workers need
    half the time per case if a case costs no more processor time than with one. What starting costs is taken off as the
    difference to a run of two cases.
    """
    import os

    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is there; also for the workers
    from DeepSegLogic import Volume, read_volume, write_volume
    from DeepSegLogic.cohort import Case, Settings, run_cohort

    spent: dict[tuple[int, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole, ct = read_volume(data / "abdomen_ct" / "ct.nii.gz"), Path(folder) / "ct.nii.gz"
        write_volume(Volume(np.ascontiguousarray(whole.array[:40]), whole.ijk_to_ras), ct)
        cases = [Case(f"case{number}", ct) for number in range(count)]
        for workers, some in ((1, 2), (2, 2), (2, count), (1, count)):
            settings = Settings(Path(folder) / f"{workers} {some}", "ct_demo", quality="draft")
            for outcome in run_cohort(cases[:some], settings, workers=workers):
                assert outcome.status == "done", outcome.sentences
                spent[workers, some] = processor_seconds()
            print(f"{workers} workers, {some} cases: done", flush=True)
    one, two = ((spent[workers, count] - spent[workers, 2]) / (count - 2) for workers in (1, 2))
    site = Site(spread=0, read=0, write=0, start=0, lost=0)
    simulated = [simulate(site, workers, 1000).seconds for workers in (1, 2)]
    print(f"processor time per case, 2 workers / 1: {two / one:.2f}")
    print(f"time per case, 2 workers / 1: measured {two / one / 2:.2f}, simulated {simulated[1] / simulated[0]:.2f}")


def processor_seconds() -> float:
    """Of all processes started from here, and of those that these started and that have ended."""
    import psutil

    return sum(sum(process.cpu_times()[:4]) for process in psutil.Process().children(recursive=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, metavar="DATA")
    parser.add_argument("--cases", type=int, default=12, help="of the measurement")
    parser.add_argument("--per-worker", type=int, default=20, help="cases per worker of the simulation")
    for name, value in vars(Site()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.cases)
    else:
        table(replace(Site(), **{n: getattr(options, n) for n in vars(Site())}), options.per_worker)
