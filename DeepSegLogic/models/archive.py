"""Zip files from elsewhere, unpacked without trusting them."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import ModelError
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from .download import check_free_space

MAX_FILES = 20_000
MAX_RATIO = 30  # weights hardly compress; a bomb does, a thousand times and more
SMALL = 100 << 20  # below this the ratio does not matter
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

    Everything is checked before the first byte is written: no absolute path, no ``..``, no link or device,
    no password, no bomb, enough room on the disk. Checksums are verified while reading.

    Raises:
        ModelError: the archive is broken or not to be trusted.
        ResourceError: the disk is too small.
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
                zlib.error,
                lzma.LZMAError,
            ) as error:
                raise _bad(archive, f"{member.filename} cannot be read: {error}") from error


def file_sizes(archive: Path) -> dict[str, int]:
    """Bytes of the files in a zip file, by the names that :func:`extract` gives them.

    Raises:
        ModelError: it is broken or not to be trusted.
    """
    with _opened(archive) as zipped:
        return {"/".join(parts): member.file_size for member, parts in _checked(zipped, archive)}


def _opened(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise _bad(archive, f"it is not a complete zip file ({error})") from error


def _checked(zipped: zipfile.ZipFile, archive: Path) -> list[tuple[zipfile.ZipInfo, tuple[str, ...]]]:
    """The files of the archive with the parts of their paths."""
    members = []
    for member in zipped.infolist():
        name = member.orig_filename
        path = PurePosixPath(name.replace("\\", "/"))
        outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name
        if outside:
            raise _bad(archive, f"{name!r} would be written outside its folder")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _bad(archive, f"{name!r} is a link or a device")
        if member.flag_bits & 1:
            raise _bad(archive, f"{name!r} is encrypted")
        if not member.is_dir():
            members.append((member, path.parts))
    total = sum(m.file_size for m, _ in members)
    if len(members) > MAX_FILES or total > max(SMALL, MAX_RATIO * archive.stat().st_size):
        raise _bad(archive, f"it would unpack to {len(members)} files of {total / 1e9:.1f} GB, as a zip bomb does")
    return members


def _bad(archive: Path, why: str) -> ModelError:
    return ModelError(
        f"The archive {archive} was not unpacked: {why}.",
        "Get it again from a source that you trust.",
        code="model.archive",
    )
