"""Free disk space, checked before it is used."""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import ResourceError

_DOWNLOAD = "Free some space, or set DEEPSEG_MODELS to a folder on another disk. A partial download is kept."


def check_free_space(folder: Path, needed: int, remedy: str = _DOWNLOAD) -> None:
    """Raise :class:`ResourceError` unless ``needed`` bytes are free where ``folder`` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise disk_full(folder, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free", remedy)


def disk_full(folder: Path, detail: str, remedy: str = _DOWNLOAD) -> ResourceError:
    """The error for a folder whose disk has too little room."""
    return ResourceError(f"The disk of {folder} is too full: {detail}.", remedy, code="resource.disk")
