"""The archive (PACS): series to open, and where results go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..util.errors import UsageError
from ..util.i18n import tr as _
from .jobs import Jobs
from .signal import Signal

if TYPE_CHECKING:
    from ..io.dicom.web_archive import FoundSeries

SEGMENTATIONS = ("SEG", "RTSTRUCT")
"""Modalities of series that hold a segmentation of another one."""
_OPENED = ("CT", "MR", "PT", *SEGMENTATIONS)


class SessionArchive:
    """The archive that the environment names, see :class:`~DeepSegLogic.io.dicom.archive_settings.ArchiveSettings`.

    Args:
        jobs: asks the worker.

    Attributes:
        found: series that can be opened, by the last search; no names of patients.
        found_changed: carries them.
        fetched: carries a series and the folder with its files.
    """

    def __init__(self, jobs: Jobs) -> None:
        self.found: list[FoundSeries] = []
        self.found_changed: Signal[list[FoundSeries]] = Signal()
        self.fetched: Signal[tuple[FoundSeries, Path]] = Signal()
        self._jobs = jobs

    def find(self, patient: str, study: str = "") -> None:
        """Look for series, as :meth:`~DeepSegLogic.io.dicom.web_archive.Archive.find` does.

        Raises:
            UsageError: a task is running.
        """
        self._jobs.start("find", "find_series", self._take, patient=patient.strip(), study=study.strip())

    def fetch(self, uid: str, folder: Path) -> None:
        """Fetch one of the series that were found.

        Args:
            uid: Series Instance UID.
            folder: new or empty.

        Raises:
            UsageError: it was not found, or a task is running.
        """
        series = next((one for one in self.found if one.series == uid), None)
        if series is None:
            raise UsageError(_("This series was not found."), _("Search again."), code="usage.archive")
        self._jobs.start(
            "fetch",
            "fetch_series",
            lambda written: self.fetched.emit((series, Path(written))),
            series=uid,
            folder=str(folder),
        )

    def _take(self, found: list[FoundSeries]) -> None:
        self.found = [one for one in found if one.modality in _OPENED]
        self._jobs.run.summary = _("{} series found.").format(len(self.found))
        self.found_changed.emit(self.found)
