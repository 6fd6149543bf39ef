"""How much memory can still be had, in a container or a batch job too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FILES = {  # by version of Linux' control groups: limit, use, and the part of it that the kernel gives back
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory() -> int:
    """Bytes that are free on the machine, and in every control group (Linux) that the process is in."""
    import psutil

    return min(psutil.virtual_memory().available, *left_in_groups())


def left_in_groups(root: Path = Path("/")) -> Iterator[int]:
    """Bytes that each control group with a limit leaves, from that of the process outwards.

    Args:
        root: of the file system.
    """
    try:
        groups = [line.split(":", 2)[1:] for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines()]
    except OSError:  # no Linux
        return
    for controllers, path in groups:
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        limit, used, spare = _FILES[1 if controllers else 2]
        group = top / path.strip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            try:
                left = int((folder / limit).read_text("utf-8")) - int((folder / used).read_text("utf-8"))
                stat = dict(line.split() for line in (folder / "memory.stat").read_text("utf-8").splitlines())
            except (OSError, ValueError):  # no limit ("max"), or not to be seen from inside of a container
                continue
            yield left + int(stat.get(spare, 0))
