"""The files in a model's folder, none of which is trusted, and their digests.

Links, devices and more files than a model can have are refused. Python's bytecode (``__pycache__``, ``.pyc``) is not
part of a model: it is neither counted nor copied, so it never runs. Digests are written ``"<algorithm>:<hex>"``.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ..util.digests import file_digest
from ..util.errors import ModelError
from ..util.safe_zip import MAX_DEPTH, MAX_FILES

CARD_FILE = "card.json"
MAX_BYTES = 64 << 30
MAX_TEXT = 64 << 20  # bytes of a JSON or text file
_BLOCK = 1 << 20
_BYTECODE = (".pyc", ".pyo")


def model_files(folder: Path) -> dict[str, Path]:
    """The files of a model by their path in its folder (with ``/``), without its card.

    Raises:
        ModelError: one is a link or a device, a name has control characters, or there are too many.
        OSError: the folder cannot be read.
    """
    files: dict[str, Path] = {}
    total = 0
    for file, size in _walk(Path(folder), Path(folder), 0):
        files[file.relative_to(folder).as_posix()] = file
        total += size
        if len(files) > MAX_FILES or total > MAX_BYTES:
            raise _refused(folder, f"it has more than {MAX_FILES} files or {MAX_BYTES >> 30} GB")
    files.pop(CARD_FILE, None)
    return dict(sorted(files.items()))


def check_regular(folder: Path, *files: Path) -> None:
    """Raise :class:`ModelError` if a file, or a folder between it and ``folder``, is a link or a device."""
    for file in files:
        for path in [file, *file.parents][: len(file.relative_to(folder).parts)]:
            if os.path.lexists(path) and not _is_plain(os.lstat(path)):
                raise _refused(folder, f"{path.relative_to(folder).as_posix()} is a link or a device")


def opened(path: Path) -> BinaryIO:
    """A regular file, opened for reading; never a link or a device, even if one takes its place meanwhile.

    Raises:
        OSError: it is not a regular file, or cannot be read.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise OSError(f"{path.name} is a link, a folder or a device")
    flags = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    number = os.open(path, os.O_RDONLY | sum(flags))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path.name} is no longer a file")
    return os.fdopen(number, "rb")


def read_text(path: Path) -> str:
    """The content of a UTF-8 text file.

    Raises:
        OSError: it is missing, not a regular file, or cannot be read.
        ValueError: it is too long, or not UTF-8.
    """
    with opened(path) as file:
        # No buffer of the largest size: also what is said of too little memory is looked up in files.
        content = file.read(min(MAX_TEXT, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > MAX_TEXT:
        raise ValueError(f"it is longer than {MAX_TEXT >> 20} MB")
    return content.decode("utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError, ValueError: as :func:`read_text`, or it is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def copy_files(files: Mapping[str, Path], target: Path) -> dict[str, str]:
    """Copy :func:`model_files` to an empty folder.

    Returns:
        SHA-256 (``"sha256:…"``) of each copy, by name.

    Raises:
        OSError: a file cannot be read or written.
    """
    digests: dict[str, str] = {}
    for name, file in files.items():
        copy, state = target / name, hashlib.sha256()
        copy.parent.mkdir(parents=True, exist_ok=True)
        with opened(file) as source, copy.open("xb") as out:
            while block := source.read(_BLOCK):
                state.update(block)
                out.write(block)
        digests[name] = f"sha256:{state.hexdigest()}"
    return digests


def file_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file.

    Raises:
        ModelError: one cannot be read.
    """
    try:
        return {name: file_digest(file) for name, file in files.items()}
    except OSError as error:
        raise ModelError(
            f"The model file {error.filename} cannot be read ({error.strerror}).",
            "Make it readable.",
            code="model.unreadable",
        ) from error


def folder_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a model.

    Raises:
        ModelError: one is a link or a device, or cannot be read.
    """
    return file_digests(model_files(folder))


def model_digest(digests: Mapping[str, str]) -> str:
    """One SHA-256 for all files of a model."""
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(digests.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _walk(root: Path, folder: Path, depth: int) -> Iterator[tuple[Path, int]]:
    """The files in a folder tree and their sizes in bytes; links are not followed."""
    if depth > MAX_DEPTH:
        raise _refused(root, f"it is more than {MAX_DEPTH} folders deep")
    with os.scandir(folder) as entries:
        for entry in entries:
            found, path = entry.stat(follow_symlinks=False), folder / entry.name
            if entry.name == "__pycache__" or entry.name.endswith(_BYTECODE):
                continue
            if not entry.name.isprintable():  # it could forge the list of digests, or a line in a terminal
                raise _refused(root, f"the name {entry.name!r} has characters that cannot be shown")
            if not _is_plain(found):
                raise _refused(root, f"{path.relative_to(root).as_posix()} is a link or a device")
            if stat.S_ISDIR(found.st_mode):
                yield from _walk(root, path, depth + 1)
            else:
                yield path, found.st_size


def _is_plain(found: os.stat_result) -> bool:
    """Whether it is a regular file or folder; a junction on Windows counts as a link."""
    junction = getattr(found, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
    return (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) and not junction


def _refused(folder: Path, why: str) -> ModelError:
    return ModelError(
        f"The model folder {folder} cannot be used: {why}.",
        "Replace links by copies of the files, and keep only the model's own files there.",
        code="model.files",
    )


def missing(path: Path) -> ModelError:
    """The error for a file of a model that is not there."""
    return ModelError(f"The model file {path} is missing.", "Install the model again.", code="model.missing")
