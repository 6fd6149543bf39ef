"""Staging folders, in which files are made before they move into place, and the cleanup after killed programs.

A program holds a lock in each of its folders; the operating system releases it however the program ends. The next
program in the same place, and ``deepseg doctor``, :func:`sweep` the folders without a lock: complete files move into
place, all others are removed. Folders of other users and of other machines are not touched, nor what cannot be locked.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

PREFIX = ".deepseg-"
"""Prefix of the names of staging folders for results."""

_TEMPORARY = "deepseg-"
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
# Names inside a staging folder.
_LOCK, _FILES, _COMPLETE, _RETIRED, _OUTDATED = ".lock", "files", "complete", "retired", "outdated"
_TRIES = 5
_PATIENCE_S, _POLL_S = 1.0, 0.02


@contextmanager
def staging_folder(parent: Path, prefix: str = PREFIX) -> Iterator[Path]:
    """A new, empty folder in ``parent`` that only its owner may enter. It is removed at the end, or by a sweep.

    ``parent`` is made if need be; at the end, what was made of it is removed again, unless something lies in it.

    Raises:
        OSError: it cannot be created.
    """
    with ExitStack() as kept:
        kept.callback(_remove_empty, [place for place in (parent, *parent.parents) if not os.path.lexists(place)])
        for _ in range(_TRIES):
            place = _new_folder(parent, prefix)
            kept.callback(shutil.rmtree, place, ignore_errors=True)
            locked = kept.enter_context(_locked(place))
            if locked and (place / _LOCK).exists():
                break  # else a sweep removed it before it was locked, or locks do not work here
        else:
            (place / _LOCK).touch()
        (place / _FILES).mkdir()
        yield place / _FILES


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A :func:`staging_folder` in ``parent``, by default the system's temporary folder, which is swept first."""
    sweep_temporary()
    with staging_folder(parent or Path(tempfile.gettempdir()), _TEMPORARY) as folder:
        yield folder


def is_there(staging: Path) -> bool:
    """Whether a staging folder still exists: someone may have deleted the folder around it."""
    return (staging.parent / _LOCK).exists()


def staging_of(path: Path) -> Path | None:
    """The staging folder in which a path lies, or None."""
    return next((p / _FILES for p in path.parents if p.name.startswith(PREFIX)), None)


def sweep(folder: Path, pattern: str = f"{PREFIX}*") -> list[str]:
    """Clear what killed programs left in a folder of results. Complete files move into place.

    Returns:
        one sentence for each staging folder.
    """
    return [told for left in _left_in(folder, pattern) if (told := _settle(left, folder))]


def sweep_below(folder: Path) -> list[str]:
    """:func:`sweep` a folder and all folders in it, for example that of a cohort."""
    found = [sweep(Path(place)) for place, _, _ in os.walk(folder)]
    return [told for sentences in found for told in sentences]


def sweep_temporary() -> list[str]:
    """As :func:`sweep`, for the system's temporary folder."""
    return sweep(Path(tempfile.gettempdir()), f"{_TEMPORARY}{_HOST}-*")


def put_in_place(staging: Path, folder: Path, last: str = "", outdated: Sequence[str] = ()) -> None:
    """Move all files and sub-folders of a staging folder into ``folder``; they replace those of the same names.

    Before that they are flushed to disk and marked as complete: if the program is killed during the move,
    :func:`sweep` completes it. If a move fails, for example for a file that is open on Windows, all is undone.

    Args:
        last: name of the file that is moved after all others.
        outdated: paths of files in ``folder``, with ``/``, that are removed in the same step.

    Raises:
        OSError: a file cannot be moved; ``folder`` is unchanged.
    """
    place = staging.parent
    flush(staging)
    new = {item.name for item in staging.iterdir()}
    gone = [name for name in outdated if PurePosixPath(name).parts[0] not in new]
    (place / _OUTDATED).write_text(json.dumps(gone), "utf-8")
    flush(place / _OUTDATED)
    (place / _COMPLETE).touch()
    flush(place, deep=False)
    try:
        _move_all(place, folder, last)
    finally:
        (place / _COMPLETE).unlink(missing_ok=True)  # before its files are removed one by one


def move(origin: Path, goal: Path) -> None:
    """Move a file or folder; a file at ``goal`` is replaced.

    On Windows, nobody can move what another program has open. A search index or a virus scanner opens each new file for
    a moment, so the move is tried again for a second.

    Raises:
        OSError: it cannot be moved.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            origin.replace(goal)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() > end:
                raise
        time.sleep(_POLL_S)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two files or folders in one step. False, with nothing changed, if the system cannot do that."""
    if sys.platform != "linux":
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0


def flush(path: Path, deep: bool = True) -> None:
    """Flush a file, or a folder with all files in it, to the disk.

    Raises:
        OSError: that failed; some disks and shares only now report that they are full.
    """
    if path.is_symlink():
        return
    if not path.is_dir():
        file = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        return
    for inside in path.iterdir() if deep else ():
        flush(inside)
    if os.name != "nt":  # Windows cannot flush folders
        file = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network shares cannot either
                os.fsync(file)
        finally:
            os.close(file)


def _new_folder(parent: Path, prefix: str, tries: int = _TRIES) -> Path:
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{prefix}{_HOST}-", dir=parent))
    except FileNotFoundError:  # another program had made the parent, and removed it at this moment
        if tries == 1:
            raise
        return _new_folder(parent, prefix, tries - 1)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove a folder and its parents, as far as they are empty."""
    with suppress(OSError):  # not empty
        for folder in folders:
            folder.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Try to lock the folder for the ``with`` block; whether that worked."""
    import filelock

    lock = filelock.FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except (filelock.Timeout, NotImplementedError, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _left_in(parent: Path, pattern: str) -> list[Path]:
    """Staging folders in ``parent`` that this user made on this machine."""
    with suppress(OSError):
        return [p for p in sorted(parent.glob(pattern)) if not p.is_symlink() and p.is_dir() and _is_ours(p)]
    return []


def _is_ours(folder: Path) -> bool:
    host = re.fullmatch(r"\.?deepseg-([0-9a-f]{6})-.*", folder.name)
    same_user = os.name == "nt" or folder.stat().st_uid == os.getuid()
    return same_user and (host is None or host[1] == _HOST)


def _settle(left: Path, folder: Path) -> str:
    """Complete or remove a staging folder, unless it is in use; returns what was done."""
    with ExitStack() as lock:
        if not lock.enter_context(_locked(left)):
            return ""
        told = f"An interrupted run had left unfinished files in {folder}; they were removed."
        if (left / _COMPLETE).exists():
            try:
                _move_all(left, folder)
            except OSError as error:
                return f"Results of an interrupted run are still in {left}: {error.filename} cannot be moved."
            (left / _COMPLETE).unlink()
            told = f"A run was interrupted while it moved its results into {folder}; the move is now complete."
        if os.name == "nt":  # where open files cannot be removed
            lock.close()
        shutil.rmtree(left, ignore_errors=True)
        return told


def _move_all(place: Path, folder: Path, last: str = "") -> None:
    """Move the remaining files, and what is outdated away; all or none, unless the program is killed."""
    retired, moves = Path(tempfile.mkdtemp(prefix=_RETIRED, dir=place)), []
    outdated = _outdated(place, folder)
    try:
        for path in outdated:
            (retired / path).parent.mkdir(parents=True, exist_ok=True)
            move(folder / path, retired / path)
            moves.append((folder / path, retired / path))
        for item in sorted((place / _FILES).iterdir(), key=lambda p: (p.name == last, p.name)):
            target = folder / item.name
            for origin, goal in ((target, retired / item.name), (item, target)):
                if os.path.lexists(origin):
                    move(origin, goal)
                    moves.append((origin, goal))
        flush(folder, deep=False)
    except BaseException:
        for origin, goal in reversed(moves):
            move(goal, origin)
        raise
    for inner in {path.parent for path in outdated} - {Path()}:
        with suppress(OSError):  # not empty
            (folder / inner).rmdir()


def _outdated(place: Path, folder: Path) -> list[Path]:
    """The files in ``folder`` that a staging folder lists to be removed. The list may be crafted, as in a results
    folder from elsewhere: what it says of other folders does not count."""
    with suppress(OSError, ValueError, TypeError):
        paths = [Path(name) for name in json.loads((place / _OUTDATED).read_text("utf-8"))]
        plain = [path for path in paths if not path.is_absolute() and ".." not in path.parts]
        inside = [path for path in plain if (folder / path).parent.resolve().is_relative_to(folder.resolve())]
        return [path for path in inside if (folder / path).is_file()]
    return []
