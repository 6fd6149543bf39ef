"""The one folder of the server from which the page may open volumes."""

from __future__ import annotations

from pathlib import Path

from DeepSegLogic.io.archive import SUFFIX as ZIP
from DeepSegLogic.io.files import is_dicom, is_slice
from DeepSegLogic.io.headers import check_enclosed
from DeepSegLogic.io.read import SUFFIXES as VOLUMES
from DeepSegLogic.io.slicer_scene import SUFFIX
from DeepSegLogic.util.errors import InputError

SUFFIXES = (*VOLUMES, SUFFIX, ZIP)


class Shelf:
    """The content of one folder. Links that lead out of it are treated as missing.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self._root = root.resolve()

    def look(self, path: str) -> dict:
        """List a folder for the page.

        Args:
            path: relative to the root, with ``/``; empty for the root itself.

        Returns:
            ``path``; ``up``, the parent folder, None at the root; ``name``; ``folders`` and ``files``, sorted names;
            ``series``, whether it contains DICOM slices.

        Raises:
            InputError: there is no such folder.
        """
        folder = self._inside(path)
        if not folder.is_dir():
            raise _missing(path)
        try:
            entries = sorted((e for e in folder.iterdir() if _is_shown(e)), key=lambda e: e.name.lower())
        except OSError as error:
            raise InputError(
                f"{folder.name} cannot be listed ({error.strerror}).", "Check its permissions.", code="input.missing"
            ) from error
        entries = [entry for entry in entries if self._holds(entry)]
        files = [entry for entry in entries if entry.is_file()]  # no pipes and devices
        place = folder.relative_to(self._root)
        return {
            "path": "" if folder == self._root else place.as_posix(),
            "up": None if folder == self._root else place.parent.as_posix(),
            "name": folder.name,
            "folders": [entry.name for entry in entries if entry.is_dir()],
            "files": [entry.name for entry in files if entry.name.lower().endswith(SUFFIXES)],
            "series": any(is_slice(file) for file in files),
        }

    def find(self, path: str) -> Path:
        """The file or folder to open.

        Raises:
            InputError: it does not exist, or refers to files outside.
        """
        found = self._inside(path)
        if found.is_dir():
            inside = list(found.rglob("*"))
            if not all(self._holds(entry) for entry in inside):
                raise InputError(
                    f"{found.name} contains links that lead out of it.", "Choose another folder.", code="input.outside"
                )
            if not all(_is_plain(entry) for entry in inside):
                raise InputError(
                    f"{found.name} contains pipes, sockets or devices.", "Choose another folder.", code="input.format"
                )
        elif not (found.is_file() and found.name.lower().endswith(SUFFIXES)) or is_dicom(found):  # a slice is no volume
            raise InputError(f"{found.name} is not a volume.", "For DICOM, open the folder.", code="input.format")
        else:
            check_enclosed(found)
        return found

    def _inside(self, path: str) -> Path:
        found = self._root / str(path)
        if not self._holds(found):
            raise _missing(path)
        return found.resolve()

    def _holds(self, path: Path) -> bool:
        try:
            return path.resolve(strict=True).is_relative_to(self._root)
        except (OSError, ValueError, RuntimeError):  # missing; not a path; circular links
            return False


def _is_shown(path: Path) -> bool:
    """Whether the page lists it: no hidden files, and no names that are not Unicode."""
    return path.name[0] != "." and path.name.encode(errors="ignore").decode() == path.name


def _is_plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _missing(path: str) -> InputError:
    return InputError(f"There is no {path} in the folder.", "Choose an entry of the list.", code="input.missing")
