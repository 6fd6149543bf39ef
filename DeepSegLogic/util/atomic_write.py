"""Files and folders that are written completely or not at all."""

from __future__ import annotations

import errno
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from .errors import DeepSegError, OutputError
from .staging import PREFIX, flush, is_there, move, put_in_place, staging_folder, staging_of, sweep

log = logging.getLogger(__name__)
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_SOME_ROOM = 1 << 20  # bytes
_LONG_ON_WINDOWS = 200  # letters of a path, which has at most 259 there, with all files in a folder
_IN_USE = {5, 32, 33, 1224}  # of Windows: denied (also for a folder with an open file in it), open, locked, mapped


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path``, with its name; it is moved to ``path`` at the end.

    After an error, the temporary file is removed and an earlier file at ``path`` is unchanged. The folder is created,
    and removed again if nothing is written. Leftovers of killed programs in it are cleared.

    Raises:
        OutputError: the file or its folder cannot be written.
    """
    path = Path(path)
    staged = staging_of(path) is not None  # then all of it is flushed and cleared together
    with _made_in(path.parent, path, _plain_folder if staged else staging_folder) as folder:
        temporary = folder / path.name
        yield temporary
        if not staged:
            flush(temporary)
        move(temporary, path)
        if not staged:
            flush(path.parent, deep=False)


@contextmanager
def atomic_folder(folder: Path | str, last: str = "", outdated: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder whose files and sub-folders move into ``folder`` at the end, all or none.

    Other files in ``folder`` stay; a sub-folder is replaced as a whole. ``folder`` is created, and removed again if
    nothing is written. If the program is killed during the move, the next one that writes there, or ``deepseg doctor``,
    completes it.

    Args:
        last: name of the file that is moved after all others; it marks a complete result.
        outdated: paths of files in ``folder``, with ``/``, that are removed in the same step unless they are replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    with _made_in(folder, folder, staging_folder) as temporary:
        yield temporary
        if not is_there(temporary):
            raise _gone(folder)
        put_in_place(temporary, folder, last, outdated)


def check_output_folder(folder: Path) -> None:
    """Check before a long run that its results can be written; nothing is left of the check.

    Raises:
        OutputError: they cannot.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder.", "Choose another folder.", code="output.not_writable")
    with atomic_folder(folder):
        pass


def check_output_file(path: Path) -> None:
    """Check before a long run that a file can be written, as :func:`check_output_folder` does."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder, not a file.", "Choose a file.", code="output.not_writable")
    with atomic_folder(path.parent):
        pass


@contextmanager
def _made_in(parent: Path, goal: Path, make: Callable[[Path], AbstractContextManager[Path]]) -> Iterator[Path]:
    """A temporary folder in ``parent``; errors name ``goal``, which could not be written."""
    _must_be_unicode(goal)
    outer = staging_of(goal)
    if outer is not None and not is_there(outer):
        raise _gone(parent)
    try:
        if outer is None:
            for sentence in sweep(parent):
                log.warning(sentence)
        with make(parent) as temporary:
            try:
                yield temporary
            except Exception as error:
                raised = _as_output_error(error, goal, temporary, is_there(outer or temporary))
                if raised is error:
                    raise
                raise raised from error
    except OSError as error:
        raise cannot_write(goal, error) from error


@contextmanager
def _plain_folder(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _as_output_error(error: Exception, goal: Path, temporary: Path, there: bool) -> Exception:
    """The error to raise instead: an :class:`OutputError` if the goal could not be written."""
    if isinstance(error, DeepSegError) and not isinstance(error, OutputError):
        return error
    if isinstance(error, OSError | OutputError) and not there:
        return _gone(goal)
    if isinstance(error, OSError) and error.errno:
        return cannot_write(goal, error)
    # Libraries report a full disk in their own ways, or not at all.
    if getattr(error, "code", "") != "output.disk_full" and (full := _no_room(temporary)):
        return cannot_write(goal, full)
    if isinstance(error, OSError):
        return cannot_write(goal, error)
    if isinstance(error, OutputError):  # of a file inside: name its final path
        error.message = error.message.replace(str(temporary), str(goal))
    return error


def _no_room(temporary: Path) -> OSError | None:
    """The error of writing a file slightly larger than the largest one there; None if that works."""
    try:
        size = max((p.stat().st_size for p in temporary.rglob("*") if p.is_file()), default=0)
        with (temporary / ".probe").open("wb") as file:
            file.seek(size)
            file.write(bytes(_SOME_ROOM))
    except OSError as error:
        return error if error.errno in _NO_ROOM else None
    (temporary / ".probe").unlink()
    return None


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a file or folder that cannot be written, with its reason."""
    if error.errno in _NO_ROOM:
        reason = "The disk is full" if error.errno == errno.ENOSPC else f"There is no room ({error.strerror})"
        return OutputError(
            f"{reason}: {path} was not written; what was there before is unchanged.",
            "Free disk space or choose another folder.",
            code="output.disk_full",
        )
    reason = error.strerror or str(error)
    remedy = "Choose a folder with write permission."
    if getattr(error, "winerror", None) in _IN_USE:
        remedy = f"Close the programs that have {error.filename or path} open, or {remedy[0].lower()}{remedy[1:]}"
    elif _is_too_long(path, error):
        remedy = "Choose a folder with a shorter path: on Windows, paths of files have at most 259 characters."
    return OutputError(f"{path} cannot be written ({reason}).", remedy, code="output.not_writable")


def _is_too_long(path: Path, error: OSError) -> bool:
    """Whether Windows probably refuses the length of a path, of which it says "not found" or "invalid"."""
    unclear = error.errno in (None, errno.ENOENT, errno.EINVAL)
    return sys.platform == "win32" and unclear and len(str(path.absolute())) > _LONG_ON_WINDOWS


def _gone(path: Path) -> OutputError:
    return OutputError(
        f"{path} was deleted or moved while results were written to it; they are lost.",
        "Run again.",
        code="output.gone",
    )


def _must_be_unicode(path: Path) -> None:
    if not is_unicode(path):
        raise OutputError(f"{path} has a name that is not Unicode.", "Choose another name.", code="output.name")


def is_unicode(path: Path) -> bool:
    """Whether a path is valid Unicode. ITK and other libraries end the program on other paths."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
