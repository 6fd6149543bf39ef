"""The process of :mod:`DeepSegLogic.worker.isolated`: it reads one file, within limits."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .job_loop import Handler, Job

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..data.volume import Volume


def read_volume(job: Job, *, path: str, scratch: str) -> Volume:
    """:func:`DeepSegLogic.io.read.read_volume`."""
    from ..io.read import read_volume

    _limit(scratch)
    return read_volume(path)


def read_label_map(job: Job, *, path: str, scratch: str, source: str) -> LabelMap:
    """:func:`DeepSegLogic.io.read.read_label_map`."""
    from ..io.read import read_label_map

    _limit(scratch)
    return read_label_map(path, source or None)


def read_slicer_scene(job: Job, *, path: str, scratch: str) -> dict[str, Any]:
    """The fields of :func:`DeepSegLogic.io.slicer_scene.read_slicer_scene`'s result."""
    from ..io.slicer_scene import read_slicer_scene

    _limit(scratch)
    found = read_slicer_scene(Path(path), Path(scratch))
    return {**vars(found), "ignored": sorted(found.ignored)}


def _limit(scratch: str) -> None:
    """Put temporary files into one folder, which the client removes; no core dumps; no more memory than is free."""
    tempfile.tempdir = scratch
    if sys.platform != "linux":  # elsewhere there are no such limits, or they are not enforced
        return
    import resource

    import psutil

    from ..util.free_memory import free_memory

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = psutil.Process().memory_info().vms + max(free_memory(), 0)
    if hard == resource.RLIM_INFINITY or allowed < hard:
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))


HANDLERS: dict[str, Handler] = {
    "read_volume": read_volume,
    "read_label_map": read_label_map,
    "read_slicer_scene": read_slicer_scene,
}
