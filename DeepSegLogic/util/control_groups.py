"""Control groups (Linux): limits of containers and batch jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[tuple[int, Path]]:
    """The groups of this process that may limit ``controller``, from its own outwards: version (1 or 2) and folder.

    Args:
        controller: ``"memory"`` or ``"cpu"``.
        root: of the file system.
    """
    try:
        groups = [line.split(":", 2)[1:] for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines()]
    except OSError:  # not Linux
        return
    for controllers, path in groups:
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = top / path.strip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(top.parts)]):
            yield (1 if controllers else 2), folder
