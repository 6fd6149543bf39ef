"""File names that are valid on every system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?")  # Windows drops a trailing dot
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?", re.IGNORECASE)
"""Devices of Windows, not files: with any ending, and with spaces before it."""

_NO_NAME = '<>:"|?*'  # on Windows; a colon would name a hidden stream of another file
_LONGEST = 120  # bytes of a name made here; systems take 255, and some names get a number


def is_file_name(name: str) -> bool:
    """Whether a name can be a file or folder on every system, and is no path."""
    return bool(_NAME.fullmatch(name)) and not is_device(name)


def is_device(name: str) -> bool:
    """Whether this name is a device on Windows."""
    return bool(_DEVICE.fullmatch(name))


def is_windows_name(name: str) -> bool:
    """Whether Windows, which allows the fewest names, allows this one for a file or folder."""
    return not (is_device(name) or set(name) & set(_NO_NAME) or name[-1] in ". ")


def safe_name(name: str) -> str:
    """A file name from the last part of an untrusted path: letters, digits, points, dashes and underscores only.

    Example:
        >>> safe_name("C:\\\\scans\\\\a b?.nii")
        'a_b_.nii'
    """
    safe = re.sub(r"[^\w.\-]+", "_", _last(name)).strip("._")
    return _not_a_device(safe.encode()[:_LONGEST].decode(errors="ignore").rstrip("._"))


def kept_name(name: str) -> str:
    """The last part of an untrusted path, changed only where it is no file name: image headers name other files."""
    kept = "".join(c if unicodedata.category(c)[0] != "C" and c not in f"{_NO_NAME}%" else "_" for c in _last(name))
    return _not_a_device(kept.encode()[-_LONGEST:].decode(errors="ignore").strip(". "))


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _not_a_device(name: str) -> str:
    return f"_{name}" if is_device(name) else name or "file"
