"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` with its suffixes; renamed to ``path`` when all went well.

    On any error the temporary file is removed and what stood at ``path`` stays. The folder is made.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    path = Path(path)
    _must_be_unicode(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".deepseg-", dir=path.parent))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        temporary = folder / path.name
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(folder: Path | str) -> Iterator[Path]:
    """A temporary folder whose files and sub-folders move into ``folder`` when all went well, all or none.

    Files of ``folder`` that have no successor stay; a sub-folder is replaced as a whole.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    _must_be_unicode(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".deepseg-", dir=folder))
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield temporary
        _move_all(temporary, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    except OutputError as error:  # of a file within: named as it would have been called
        error.message = error.message.replace(str(temporary), str(folder))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_all(source: Path, folder: Path) -> None:
    """Move what is in ``source`` into ``folder``; where that fails half-way, e.g. at a file that is open on Windows,
    all is put back."""
    items, retired, moves = sorted(source.iterdir()), source / ".retired", []
    retired.mkdir()
    try:
        for item in items:
            target = folder / item.name
            for origin, goal in ((target, retired / item.name), (item, target)):
                if os.path.lexists(origin):
                    origin.replace(goal)
                    moves.append((origin, goal))
    except BaseException:
        for origin, goal in reversed(moves):
            goal.replace(origin)
        raise


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a file or folder that cannot be written, with its reason."""
    if error.errno in _NO_ROOM:
        reason = "The disk is full" if error.errno == errno.ENOSPC else f"There is no room ({error.strerror})"
        return OutputError(
            f"{reason}: {path} was not written; what was there before is unchanged.",
            "Make room or choose another folder.",
            code="output.disk_full",
        )
    reason = error.strerror or str(error)
    return OutputError(
        f"{path} cannot be written ({reason}).", "Choose a folder that you may write to.", code="output.not_writable"
    )


def _must_be_unicode(path: Path) -> None:
    if not is_unicode(path):
        raise OutputError(f"{path} has a name that is not Unicode.", "Choose another name.", code="output.name")


def is_unicode(path: Path) -> bool:
    """Whether a path can be given to ITK and other libraries, which end the program where it cannot."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
