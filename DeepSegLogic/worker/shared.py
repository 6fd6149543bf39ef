"""Blocks of shared memory with names that both sides can foretell, so that none is left behind.

The blocks of one sender are numbered: ``<prefix>0``, ``<prefix>1``, … The receiver removes a block's name as
soon as it has read it; when one side dies, the other removes what is left by counting on.
"""

from __future__ import annotations

import os
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

NAME = "deepseg_"
"""How the names of all our blocks begin."""

if sys.version_info >= (3, 13):
    _UNTRACKED = {"track": False}
else:
    # Before 3.13 every SharedMemory starts a tracker process (from inside Slicer: a second Slicer), which
    # then removes blocks that the other side still uses (cpython#82300). Keep it from hearing of ours.
    _UNTRACKED = {}

    def _except_ours(call):
        def filtered(name, rtype):
            if not name.lstrip("/").startswith(NAME):
                call(name, rtype)

        return filtered

    resource_tracker.register = _except_ours(resource_tracker.register)
    resource_tracker.unregister = _except_ours(resource_tracker.unregister)


def create(name: str, size: int) -> SharedMemory:
    """A new block of ``size`` bytes.

    Raises:
        OSError: there is not that much shared memory, e.g. in a container.
    """
    block = SharedMemory(name, create=True, size=size, **_UNTRACKED)
    file = Path("/dev/shm") / name
    if file.exists():  # Linux: claim the pages now; writing to one that is not there would be a SIGBUS
        try:
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, size)
        except OSError:
            block.close()
            block.unlink()
            raise
    return block


def attach(name: str) -> SharedMemory:
    """The block that the other side made.

    Raises:
        FileNotFoundError: it is gone.
    """
    return SharedMemory(name, **_UNTRACKED)


def remove(name: str) -> bool:
    """Free the block of this name (on Windows the last handle does); False if there is none."""
    try:
        block = attach(name)
    except (FileNotFoundError, ValueError):  # ValueError: its maker died before giving it a size
        return False
    block.close()
    try:
        block.unlink()
    except FileNotFoundError:
        return False
    return True


def remove_from(prefix: str, number: int) -> None:
    """Free the blocks ``<prefix><number>``, ``<prefix><number + 1>``, … of a sender that died."""
    while os.name != "nt" and remove(f"{prefix}{number}"):
        number += 1
