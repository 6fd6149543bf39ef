"""Untrusted zip files, unpacked safely."""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from .disk_space import check_free_space
from .errors import ModelError
from .file_names import is_windows_name
from .progress import Cancel, Progress, check, ignore_progress, never_cancel

MAX_FILES, MAX_DEPTH = 20_000, 32  # of an archive, and of a model folder
MAX_NAME, MAX_PATH = 200, 1000  # bytes of a file's name and of its path; systems allow 255, and 260 to 4096
MAX_DIRECTORY = 8 << 20  # bytes of the list of files, which zipfile reads whole
MAX_RATIO = 30  # weights hardly compress; a zip bomb does, by a factor of a thousand and more
SMALL = 100 << 20  # bytes; below this the ratio does not matter
_BLOCK = 1 << 20


def extract(
    archive: Path,
    folder: Path,
    *,
    only: set[str] | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> None:
    """Unpack the zip file ``archive``, or ``only`` these of its files, into ``folder``, which has none of them yet.

    Everything is checked before the first byte is written: no absolute path, no ``..``, no link or device, no name
    that is too long, no encryption, no zip bomb, not too many files, enough disk space. Checksums are verified while
    reading.

    Raises:
        ModelError: the archive is damaged or unsafe.
        ResourceError: not enough disk space.
        Cancelled: the user cancelled.
    """
    with _opened(archive) as zipped:
        members = [(m, p) for m, p in _checked(zipped, archive) if only is None or "/".join(p) in only]
        total = sum(m.file_size for m, _ in members)
        folder.mkdir(parents=True, exist_ok=True)
        check_free_space(folder, total)
        done = 0
        for member, parts in members:
            target = folder.joinpath(*parts)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(member) as source, target.open("xb") as out:
                    while block := source.read(_BLOCK):
                        check(cancel)
                        out.write(block)
                        done += len(block)
                        progress("extract", done / total, f"Unpacking {archive.name}")
            except (
                zipfile.BadZipFile,
                EOFError,
                NotImplementedError,
                FileExistsError,
                NotADirectoryError,
                UnicodeError,
                struct.error,
                zlib.error,
                lzma.LZMAError,
            ) as error:
                raise _bad(archive, f"{member.filename} cannot be read: {error}") from error


def file_sizes(archive: Path) -> dict[str, int]:
    """Sizes in bytes of the files in a zip file, by the names that :func:`extract` gives them.

    Raises:
        ModelError: the archive is damaged or unsafe.
    """
    with _opened(archive) as zipped:
        return {"/".join(parts): member.file_size for member, parts in _checked(zipped, archive)}


class _Bounded(io.BufferedReader):
    """A file of which no more is read at once than a normal archive's list of files."""

    def read(self, size: int | None = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        size = left if size is None or size < 0 else min(size, left)
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(size)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_Bounded(io.FileIO(archive)))
            zipped = stack.enter_context(zipfile.ZipFile(file))
        except UnicodeError as error:
            raise _bad(archive, "it has a file whose name is not UTF-8") from error
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, struct.error) as error:
            raise _bad(archive, f"it is not a complete zip file ({error})") from error
        yield zipped


def _checked(zipped: zipfile.ZipFile, archive: Path) -> list[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """The files of the archive with the parts of their paths."""
    members = []
    if len(zipped.infolist()) > MAX_FILES:
        raise _bad(archive, f"it has {len(zipped.infolist())} entries, like a zip bomb")
    for member in zipped.infolist():
        name = member.orig_filename
        path = PurePosixPath(name.replace("\\", "/"))
        outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name
        if outside:
            raise _bad(archive, f"{_short(name)} would be written outside its folder")
        if reason := _unusable(path.parts):
            raise _bad(archive, f"{_short(name)} {reason}")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _bad(archive, f"{_short(name)} is a link or a device")
        if member.flag_bits & 1:
            raise _bad(archive, f"{_short(name)} is encrypted")
        if not member.is_dir():
            members.append((member, path.parts))
    if any(not 0 <= m.header_offset < archive.stat().st_size for m, _ in members):
        raise _bad(archive, "its list of files is damaged")
    total = sum(m.file_size for m, _ in members)
    if len(members) > MAX_FILES or total > max(SMALL, MAX_RATIO * archive.stat().st_size):
        raise _bad(archive, f"it would unpack to {len(members)} files of {total / 1e9:.1f} GB, like a zip bomb")
    return members


def _unusable(parts: tuple[str, ...]) -> str:
    """Why a file cannot have this path; empty if it can."""
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "is a name that is not UTF-8"
    if max(lengths, default=0) > MAX_NAME or sum(lengths) > MAX_PATH or len(parts) > MAX_DEPTH:
        return "is a name that is too long"
    if any(ord(letter) < 32 for part in parts for letter in part):
        return "is a name with characters that cannot be shown"
    if os.name == "nt" and not all(map(is_windows_name, parts)):
        return "is a name that Windows does not allow"
    return ""


def _short(name: str) -> str:
    return ascii(name if len(name) <= 60 else f"{name[:57]}…")


def _bad(archive: Path, why: str) -> ModelError:
    return ModelError(
        f"The archive {archive} was not unpacked: {why}.",
        "Get the archive again from a source that you trust.",
        code="model.archive",
    )
