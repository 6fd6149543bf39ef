"""Settings of OpenMP, whose threads torch computes with, for processes of our own.

OpenMP reads them once, when it is loaded, so they must be in the environment before torch is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .control_groups import control_groups

_PASSIVE = {
    # By default threads that have nothing to do wait by spinning, which takes the cores from other programs and, if
    # these need them, from the threads that they wait for.
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's OpenMP spin for 200 ms without this
}


def openmp_settings() -> dict[str, str]:
    """Environment variables for a process that computes; those that the user has set keep their values.

    The command line and workers set them by themselves. A script that segments in its own process sets them before
    torch is loaded; later they have no effect.

    Returns:
        Threads wait without spinning, which takes cores from other programs; and where fewer cores may be used than the
        machine has, the number of threads.

    Example:
        >>> import os
        >>> from DeepSegLogic import openmp_settings
        >>> environment = {**openmp_settings(), **os.environ}  # or os.environ.update(openmp_settings())
        >>> "OMP_WAIT_POLICY" in environment
        True
    """
    settings = dict(_PASSIVE)
    if (cores := usable_cores()) < (os.cpu_count() or 1):
        settings["OMP_NUM_THREADS"] = str(cores)
    return {name: value for name, value in settings.items() if name not in os.environ}


def usable_cores() -> int:
    """Cores that this process may use, which Slurm, ``taskset`` or a container may have limited."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, round(min([allowed, *cpu_limits()])))


def cpu_limits(root: Path = Path("/")) -> Iterator[float]:
    """Cores that each control group with a limit allows on average, as of ``docker run --cpus``.

    Args:
        root: of the file system.
    """
    for version, folder in control_groups("cpu", root):
        try:
            if version == 2:
                quota, period = (folder / "cpu.max").read_text("utf-8").split()
            else:
                quota, period = ((folder / f"cpu.cfs_{n}_us").read_text("utf-8") for n in ("quota", "period"))
            cores = int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):  # no limit ("max"), or not visible inside a container
            continue
        if cores > 0:  # version 1 says -1 for no limit
            yield cores
