"""``python -m fuzz.child TARGET SEED FIRST COUNT FOLDER``: reads the cases one by one, within limits.

On standard output: the number of each case before it is read; after it a line of JSON if an error was unforeseen or a
file stayed behind.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

from . import run


def main(target: str, seed: str, first: int, count: int, folder: Path) -> None:
    """Read the cases from ``first`` on."""
    from DeepSegLogic.util.errors import DeepSegError

    from .targets import TARGETS

    warnings.simplefilter("ignore")
    place, scratch = folder / "case", folder / "scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    scratch.mkdir()
    make, read = TARGETS[target]
    lay_out = make(folder)
    tempfile.tempdir = str(scratch)
    _limit_memory()
    for number in range(first, first + count):
        print(number, flush=True)
        place.mkdir()
        given = lay_out(random.Random(f"{target} {seed} {number}"), place)
        problem = ""
        with _limited_time():
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    read(given)
            except DeepSegError:
                pass
            except BaseException:
                problem = traceback.format_exc()
        left = sorted(path.name for path in scratch.iterdir())
        if problem or left:
            print(json.dumps({"problem": problem or f"left behind: {left}"}), flush=True)
            shutil.rmtree(scratch)
            scratch.mkdir()
        shutil.rmtree(place)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError):  # Windows has no such limits, and macOS keeps none
        import resource

        import psutil

        limit = psutil.Process().memory_info().vms + run.MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _limited_time():
    """A case that takes longer ends the process, whatever library it is in."""
    try:
        from signal import ITIMER_PROF, setitimer
    except ImportError:  # Windows
        yield
        return
    setitimer(ITIMER_PROF, run.CPU_S)
    yield
    setitimer(ITIMER_PROF, 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
