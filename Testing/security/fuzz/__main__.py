"""``python -m fuzz [TARGET …] [--seconds N] [--seed S] [--case N]``; its exit code is 1 if it found something."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from .run import Failure, run_cases
from .targets import TARGETS

BATCH = 200


def main() -> int:
    """Fuzz the targets in turn until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"all if not given: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default="", help="made up and printed if not given")
    parser.add_argument("--case", type=int, help="only this one")
    asked = parser.parse_args()
    seed, targets = asked.seed or str(random.randrange(10**6)), asked.targets or list(TARGETS)
    print(f"seed {seed}", flush=True)
    found: list[Failure] = []
    cases = 0
    with tempfile.TemporaryDirectory(prefix="deepseg-fuzz-") as folder:
        place, first, end = Path(folder) / "cases", asked.case or 0, time.monotonic() + asked.seconds
        while True:
            for target in targets:
                count = 1 if asked.case is not None else BATCH
                failures = run_cases(target, seed, first, count, place)
                cases += count
                print("".join(f"{failure}\n\n" for failure in failures), end="", flush=True)
                found += failures
                if asked.case is None and time.monotonic() > end:
                    break
            first += BATCH
            if asked.case is not None or time.monotonic() > end:
                break
    print(f"{cases} cases, {len(found)} failures")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
