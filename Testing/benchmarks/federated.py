"""A server and three sites on this machine against training on all cases together, at as many steps.

python Testing/benchmarks/federated.py DATA --rounds 10 --steps 50 --out federated.csv

DATA is a folder of pairs, as shared_cases.py makes it: the last case is the server's, which nobody learns from; each
site has one of the others. Each end is a process of its own (`deepseg train --federated`), and trainings are FedAvg,
FedProx, FedAvg with a site that is killed in the middle, and all cases in one place for the steps of one site and for
those of all sites together. The Dice is that of the server's whole case.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.folds import case_dice
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.reading import read_case

_RUN = "import sys; from DeepSegLogic.cli import main; sys.exit(main(sys.argv[1:]))"


def start(log, *arguments):
    """A command of its own process."""
    command = [sys.executable, "-c", _RUN, "train", *map(str, arguments), "--device", "cpu", "--json"]
    return subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)


def folder_of(work, name, cases):
    """A data set of some cases."""
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for case in cases:
        for path in (case.image, case.labels):
            shutil.copy(path, folder)
    shutil.copy(cases[0].image.with_name("dataset.json"), folder)
    return folder


def federated(work, name, sizes, arguments, *more, kill=False):
    """Train at the sites; gives the folder of the server's model."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    ends = ["--address", address]
    rounds = ["--rounds", arguments.rounds, "--steps", arguments.steps, "--sites", 3]
    server = start(
        work / f"{name}.log", work / "server", "-o", work / name, "--federated", "server", *ends, *rounds, *sizes, *more
    )
    sites = [
        start(work / f"{name}_{n}.log", work / f"site{n}", "-o", work / f"{name}_{n}", "--federated", "client", *ends)
        for n in range(3)
    ]
    while kill and server.poll() is None:
        done = work / f"{name}.training" / "rounds.csv"
        if done.is_file() and len(done.read_text("utf-8").splitlines()) > arguments.rounds // 2:
            os.kill(sites[2].pid, signal.SIGKILL)
            break
        time.sleep(0.2)
    if server.wait() != 0:
        raise RuntimeError((work / f"{name}.log").read_text("utf-8")[-2000:])
    print(name, "ends:", [site.wait() for site in sites], flush=True)
    return work / name


def together(work, name, steps, sizes):
    """Train on all sites' cases in one place."""
    if start(work / f"{name}.log", work / "all", "-o", work / name, "--steps", steps, *sizes).wait() != 0:
        raise RuntimeError((work / f"{name}.log").read_text("utf-8")[-2000:])
    return work / name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50, help="of a site in a round")
    parser.add_argument("--network", default="unet")
    parser.add_argument("--spacing", default="6")
    parser.add_argument("--patch", default="32,48,48")
    parser.add_argument("--only", nargs="+", default=["fedavg", "fedprox", "killed", "one", "all"])
    parser.add_argument("--work", type=Path, default=Path("federated"))
    parser.add_argument("--out", type=Path, default=Path("federated.csv"))
    arguments = parser.parse_args()
    cases, work = find_cases(arguments.data), arguments.work.resolve()
    sizes = ["--spacing", arguments.spacing, "--patch", arguments.patch, "--batch", 2, "--network", arguments.network]
    folder_of(work, "server", cases[-1:])
    folder_of(work, "all", cases[:-1])
    for number, case in enumerate(cases[:-1]):
        folder_of(work, f"site{number}", [case])
    steps = arguments.rounds * arguments.steps
    runs = {
        "fedavg": lambda: federated(work, "fedavg", sizes, arguments),
        "fedprox": lambda: federated(work, "fedprox", sizes, arguments, "--proximal", 0.01),
        "killed": lambda: federated(work, "killed", sizes, arguments, kill=True),
        "one": lambda: together(work, "one", steps, sizes),
        "all": lambda: together(work, "all_steps", 3 * steps, sizes),
    }
    report = check_cases(cases, "CT")
    plan, truth = plan_training(report), read_case(cases[-1])
    rows = []
    for name in arguments.only:
        model = runs[name]()
        found = segment(truth.volume, model, device="cpu").label_map
        values = np.zeros(256, np.uint8)
        for one in found.structures:
            values[one.value] = plan.structures.index(one.name) + 1
        dice = case_dice(values[found.array], truth, plan, frozenset(report.structures))
        known = [value for value in dice.values() if value is not None]
        rows += [(name, structure, "" if value is None else f"{value:.4f}") for structure, value in dice.items()]
        print(name, json.dumps({"mean": sum(known) / max(1, len(known)), **dice}), flush=True)
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("training", "structure", "dice"), *rows])


if __name__ == "__main__":
    main()
