"""Free memory, also in a container or a batch job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .control_groups import control_groups

_FILES = {  # by version of Linux' control groups: limit, use, and the part of it that the kernel can reclaim
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory() -> int:
    """Bytes that are free on the machine, in every control group (Linux) of the process, and for the process itself."""
    import psutil

    return min([psutil.virtual_memory().available, *left_in_groups(), *_left_to_process()])  # most desktops: the first


def _left_to_process() -> Iterator[int]:
    """Bytes that a limit of the process, as ``ulimit -v`` sets it, leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return
    import psutil

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms


def left_in_groups(root: Path = Path("/")) -> Iterator[int]:
    """Free bytes of each control group that has a limit, from that of the process outwards.

    Args:
        root: of the file system.
    """
    for version, folder in control_groups("memory", root):
        limit, used, spare = _FILES[version]
        try:
            left = int((folder / limit).read_text("utf-8")) - int((folder / used).read_text("utf-8"))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text("utf-8").splitlines())
        except (OSError, ValueError):  # no limit ("max"), or not visible inside a container
            continue
        yield left + int(stat.get(spare, 0))
