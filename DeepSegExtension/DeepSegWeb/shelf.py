"""A folder of the server from which the page may open volumes, and nothing else."""

from __future__ import annotations

from pathlib import Path

from DeepSegLogic.bundle import SUFFIX
from DeepSegLogic.errors import InputError
from DeepSegLogic.io.header import check_enclosed, is_dicom, is_slice
from DeepSegLogic.io.reading import SUFFIXES as VOLUMES

SUFFIXES = (*VOLUMES, SUFFIX)


class Shelf:
    """What lies below one folder. Links that lead out of it are as if they were not there.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self._root = root.resolve()

    def look(self, path: str) -> dict:
        """What is in a folder, for the page.

        Args:
            path: below the root, with ``/``; empty for the root itself.

        Returns:
            ``path``; ``up``, the folder above, None at the root; ``name``; ``folders`` and ``files``, names in order;
            ``series``, whether slices of DICOM lie there.

        Raises:
            InputError: there is no such folder.
        """
        folder = self._inside(path)
        if not folder.is_dir():
            raise _missing(path)
        try:
            entries = sorted((e for e in folder.iterdir() if e.name[0] != "."), key=lambda e: e.name.lower())
        except OSError as error:
            raise InputError(
                f"{folder.name} cannot be listed ({error.strerror}).", "Check its permissions.", code="input.missing"
            ) from error
        entries = [entry for entry in entries if self._holds(entry)]
        files = [entry for entry in entries if entry.is_file()]
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
            InputError: there is none, or it leads to files outside.
        """
        found = self._inside(path)
        if found.is_dir():
            if not all(self._holds(file) for file in found.rglob("*")):
                raise InputError(
                    f"{found.name} has links that lead out of it.", "Choose another folder.", code="input.outside"
                )
        elif not found.name.lower().endswith(SUFFIXES) or is_dicom(found):  # slices lead to those beside them
            raise InputError(f"{found.name} is no volume.", "Open its folder, for DICOM.", code="input.format")
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
        except (OSError, ValueError, RuntimeError):  # not there; not a path; links in a circle
            return False


def _missing(path: str) -> InputError:
    return InputError(f"There is no {path} in the folder.", "Choose what the page lists.", code="input.missing")
