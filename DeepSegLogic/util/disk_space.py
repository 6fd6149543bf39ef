"""Free disk space, checked before it is used."""

from __future__ import annotations

import shutil
from pathlib import Path

from .errors import ResourceError


def check_free_space(folder: Path, needed: int) -> None:
    """Raise :class:`ResourceError` unless ``needed`` bytes are free where ``folder`` is."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise disk_full(folder, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")


def disk_full(folder: Path, detail: str) -> ResourceError:
    """The error for a folder whose disk has too little room."""
    return ResourceError(
        f"The disk of {folder} is too full: {detail}.",
        "Free some space, or set DEEPSEG_MODELS to a folder on another disk. A partial download is kept.",
        code="resource.disk",
    )
