"""Blocks of shared memory whose names both sides can derive, so that none is left behind.

The blocks of one sender are numbered: ``<prefix>0``, ``<prefix>1``, … The receiver removes a block's name as
soon as it has read it. If one side dies, the other removes what is left by counting on. If both die at once, the
next program that starts a worker removes it: on Linux a sender holds a lock on each of its blocks.

Python's own ``SharedMemory`` serves on Windows only. Elsewhere, before Python 3.13, it always starts a tracker process
(inside Slicer: a second Slicer), which then removes blocks that the other side still uses (cpython#82300).
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path

NAME = "deepseg_"
"""How the names of all our blocks begin."""

_FOLDER = Path("/dev/shm")  # where Linux shows them as files

if sys.platform == "win32":
    from multiprocessing.shared_memory import SharedMemory as Block
else:
    import _posixshmem

    class Block:
        """A block that is open in this process, with the part of ``SharedMemory``'s interface that is used here.

        Args:
            name: of the block.
            create: make it, of ``size`` bytes; else open the one that is there, with its own size.

        Raises:
            FileNotFoundError: there is no such block.
            ValueError: its maker died before giving it a size.
            OSError: there is not that much shared memory.
        """

        def __init__(self, name: str, create: bool = False, size: int = 0):
            self.name = name
            flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
            file = _posixshmem.shm_open(f"/{name}", flags, mode=0o600)
            try:
                if create:
                    _reserve(file, size)
                self._memory = mmap.mmap(file, size if create else os.fstat(file).st_size)
            except BaseException:
                if create:
                    remove(name)
                raise
            finally:
                os.close(file)  # the mapping keeps the file open, and with it the lock
            self.buf = memoryview(self._memory)

        def close(self) -> None:
            """Leave the block; others may still use it."""
            self.buf.release()
            self._memory.close()


class _SweptAway(Exception):
    """Another program swept the block before it was locked."""


def create(name: str, size: int) -> Block:
    """Make a block of ``size`` bytes.

    Raises:
        OSError: there is not that much shared memory, for example in a container.
    """
    while True:
        with suppress(_SweptAway):
            return Block(name, create=True, size=size)


def attach(name: str) -> Block:
    """Open the block that the other side made.

    Raises:
        FileNotFoundError: it is gone.
    """
    return Block(name)


def remove(name: str) -> bool:
    """Free the block of this name; False if there is none. On Windows the last one to close it frees it."""
    if sys.platform != "win32":
        with suppress(FileNotFoundError):
            _posixshmem.shm_unlink(f"/{name}")
            return True
    return False


def remove_from(prefix: str, number: int) -> None:
    """Free the blocks ``<prefix><number>``, ``<prefix><number + 1>``, … of a sender that died."""
    while remove(f"{prefix}{number}"):
        number += 1


def sweep() -> int:
    """Free the blocks whose sender was killed and that nobody else frees; returns their number."""
    freed = 0
    if sys.platform != "linux":
        return freed
    for file in _FOLDER.glob(f"{NAME}*"):
        with suppress(OSError):  # in use, gone meanwhile, or another user's
            if file.is_symlink() or file.stat().st_uid != os.getuid():
                continue
            with file.open("r+b") as stream:
                _flock(stream.fileno(), wait=False)
                file.unlink()
                freed += 1
    return freed


def _reserve(file: int, size: int) -> None:
    """Give a new block its size. On Linux, lock it and take its memory now: a missing page would be a SIGBUS later.

    Raises:
        _SweptAway: another program removed it before it was locked.
        OSError: there is not that much shared memory.
    """
    if sys.platform == "linux":
        _flock(file)
        if os.fstat(file).st_nlink == 0:
            raise _SweptAway
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


def _flock(file: int, wait: bool = True) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
