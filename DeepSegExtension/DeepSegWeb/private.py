"""A temporary folder that goes with the server, even if that was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import filelock

PREFIX = "deepseg-web-"
LOCK = ".lock"
_BEING_MADE_S = 60.0


class PrivateFolder:
    """A folder that only its owner may enter. Those of servers that were killed are removed first.

    A server holds a lock in its folder; the operating system lets go of it when the server ends, however it does.

    Attributes:
        path: of the folder.
    """

    def __init__(self):
        _remove_stale(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = filelock.FileLock(self.path / LOCK)
        self._lock.acquire()

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        lock = folder / LOCK
        try:
            age = time.time() - lock.stat().st_mtime
            own = not folder.is_symlink() and (os.name == "nt" or folder.stat().st_uid == os.getuid())
            if own and age > _BEING_MADE_S:  # a younger one may not have been locked yet
                with filelock.FileLock(lock, timeout=0):
                    pass
                shutil.rmtree(folder, ignore_errors=True)
        except (OSError, filelock.Timeout):  # another user's, or in use
            continue
