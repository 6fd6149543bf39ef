"""Runs cases in child processes and tells which went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[3]
MEMORY = 1 << 30  # bytes beyond what a child has at its start
CPU_S = 20  # that one case may take; not of the clock, for the machine may be busy
HANG_S = 900.0  # of the clock, for a whole child: only for one that waits without working


class Failure(NamedTuple):
    """A case that was not refused in words."""

    target: str
    seed: str
    number: int
    what: str

    def __str__(self):
        return f"python -m fuzz {self.target} --seed {self.seed} --case {self.number}\n{self.what}"


def run_cases(target: str, seed: str, first: int, count: int, folder: Path) -> list[Failure]:
    """The failures among these cases; a child that dies is started again behind the case at which it died."""
    failures: list[Failure] = []
    end = first + count
    while first < end:
        told, complaint, code = _child(target, seed, first, end - first, folder)
        number = first - 1
        for line in told:
            if line.startswith("{"):
                failures.append(Failure(target, seed, number, json.loads(line)["problem"]))
            else:
                number = int(line)
        if code == 0:
            return failures
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        failures.append(Failure(target, seed, number, f"The child ended ({how}).\n{complaint[-2000:]}"))
        if number < first:  # it did not even begin
            return failures
        first = number + 1
    return failures


def _child(target: str, seed: str, first: int, count: int, folder: Path) -> tuple[list[str], str, int]:
    command = [sys.executable, "-m", "fuzz.child", target, seed, str(first), str(count), str(folder)]
    roots = [str(Path(__file__).resolve().parents[1]), str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "OMP_NUM_THREADS": "1"}
    environment["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=HANG_S, check=False)
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode().splitlines(), "It waits without working.", -9
    return done.stdout.decode().splitlines(), done.stderr.decode(errors="replace"), done.returncode
