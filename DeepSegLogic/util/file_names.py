"""File names that are valid on every system."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?")  # Windows drops a trailing dot
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # devices of Windows, not files
_LONGEST = 120  # bytes of a name made here; systems take 255, and some names get a number


def is_file_name(name: str) -> bool:
    """Whether a name can be a file or folder on every system, and is no path."""
    return bool(_NAME.fullmatch(name)) and not is_device(name)


def is_device(name: str) -> bool:
    """Whether this name is a device on Windows."""
    return bool(_DEVICE.fullmatch(name))


def safe_name(name: str) -> str:
    """A file name from the last part of an untrusted path: letters, digits, points, dashes and underscores only.

    Example:
        >>> safe_name("C:\\\\scans\\\\a b?.nii")
        'a_b_.nii'
    """
    safe = re.sub(r"[^\w.\-]+", "_", _last(name)).strip("._")
    return _not_a_device(safe.encode()[:_LONGEST].decode(errors="ignore"))


def kept_name(name: str) -> str:
    """The last part of an untrusted path, changed only where it is no file name: image headers name other files."""
    kept = "".join(c if unicodedata.category(c)[0] != "C" and c not in '<>:"|?*%' else "_" for c in _last(name))
    return _not_a_device(kept.encode()[-_LONGEST:].decode(errors="ignore").strip(". "))


def _last(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _not_a_device(name: str) -> str:
    return f"_{name}" if is_device(name) else name or "file"
