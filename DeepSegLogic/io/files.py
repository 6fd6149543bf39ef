"""Files as input: opened safely, refused in the same words by all readers."""

from __future__ import annotations

import os
import re
import stat
from io import BufferedReader
from os import PathLike
from pathlib import Path

from ..util.atomic_write import is_unicode
from ..util.errors import InputError, ResourceError, UsageError


def opened(path: Path) -> BufferedReader:
    """Open a file for reading. Pipes and devices are refused: they can block a reader forever.

    Raises:
        InputError: the file is missing or cannot be opened.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise not_a_file(path)
        return path.open("rb")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened ({error.strerror or error}).",
            "Check the file and its permissions.",
            code="input.missing",
        ) from error


def _missing(path: Path) -> InputError:
    return InputError(f"There is no file {path}.", "Check the path.", code="input.missing")


def not_a_file(path: Path) -> InputError:
    """The error for a path that is neither a file nor a folder."""
    return InputError(
        f"{path} is neither a file nor a folder.", "Write its content to a file first.", code="input.format"
    )


def truncated(path: Path) -> InputError:
    """The error for a file that ends too early."""
    return InputError(
        f"{path} is truncated: it holds less data than its header announces.",
        "Copy or export the file again.",
        code="input.truncated",
    )


def refers_elsewhere(path: Path) -> InputError:
    """The error for a header whose voxels are in several files, or not beside it."""
    return InputError(
        f"{path} leads to other files than itself.",
        "Save the volume as one file, for example .nrrd or .nii.gz.",
        code="input.outside",
    )


def beside(path: Path, name: str) -> Path:
    """The file called ``name`` in the folder of ``path``.

    Raises:
        InputError: there is no such file, or it is a link that leads out of the folder.
    """
    target, plain = path.parent / name, 0 < len(name) <= 255 and not re.search(r"[/\\\0]|^\.\.?$", name)
    try:
        inside = plain and target.resolve().parent in (path.parent.resolve(), path.resolve().parent)
        there = inside and target.is_file()
    except (OSError, RuntimeError):  # circular links
        inside = there = False
    if not inside or not (there or target.suffix):
        raise refers_elsewhere(path)
    if not there:
        raise InputError(
            f"{path} refers to its data file {name}, which is not beside it.",
            "Put both files into one folder.",
            code="input.missing",
        )
    return target


def must_fit(path: Path, announced: int) -> None:
    """Raise :class:`ResourceError` if the free memory is too small for ``announced`` bytes of voxels."""
    from ..util.free_memory import free_memory

    needed, free = 2 * announced, free_memory()  # once as the library reads them, once as our array
    if needed > free:
        raise ResourceError(
            f"{path} announces {announced / 1e9:.1f} GB of voxels. Reading them takes {needed / 1e9:.1f} GB of memory, "
            f"but only {max(free, 0) / 1e9:.1f} GB are free.",
            "Close other programs, or crop the volume. If it should be small, its header is damaged.",
            code="resource.memory",
        )


def as_path(path: Path | str) -> Path:
    """What a script gives as the path of a file or folder; ``~`` is the home folder.

    Raises:
        UsageError: it is no path.
    """
    if not isinstance(path, str | PathLike):
        raise UsageError(
            f"One path is wanted, not a {type(path).__name__}.",
            "Give the path of the file. A DICOM series is given by its folder, or by one of its slices.",
            code="usage.path",
        )
    return Path(path).expanduser()


def must_exist(path: Path) -> None:
    """Check that there is something to read.

    Raises:
        InputError: the file or folder is missing, empty, neither of both, or cannot be opened.
    """
    if not os.path.exists(path):  # noqa: PTH110 (raises in a folder that may not be entered)
        raise _missing(path)
    must_be_unicode(path)
    if not (path.is_file() or path.is_dir()):
        raise not_a_file(path)
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be opened.", "Check its permissions.", code="input.missing")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes).", "Copy or export the file again.", code="input.truncated")


def must_be_unicode(path: Path) -> None:
    """Raise :class:`InputError` for a name that is not Unicode: it would make ITK end the program."""
    if not is_unicode(path):
        raise InputError(f"{path} has a name that is not Unicode.", "Rename the file or its folder.", code="input.name")


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM: with the preamble or, as in old archives, without.

    Raises:
        InputError: the file cannot be opened.
    """
    with opened(path) as file:
        head = file.read(132)
    first_element = head[:2] in (b"\x02\0", b"\x08\0") and head[3:4] == b"\0"
    return len(head) == 132 and (head[128:] == b"DICM" or first_element)


def is_slice(path: Path) -> bool:
    """As :func:`is_dicom`; False for a file that cannot be opened."""
    try:
        return is_dicom(path)
    except InputError:
        return False
