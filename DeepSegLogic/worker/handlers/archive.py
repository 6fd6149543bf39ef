"""The requests of a worker that talk to the archive (PACS) of the environment, see
:class:`~DeepSegLogic.io.dicom.archive_settings.ArchiveSettings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..job_loop import Job
from .results import export

if TYPE_CHECKING:
    from ...io.dicom.web_archive import Archive, FoundSeries


def find_series(job: Job, *, patient: str, study: str) -> list[FoundSeries]:
    """:meth:`~DeepSegLogic.io.dicom.web_archive.Archive.find`, of all modalities."""
    job.progress("find", 0.0)
    return _archive().find(patient=patient, study=study)


def fetch_series(job: Job, *, series: str, folder: str) -> str:
    """:meth:`~DeepSegLogic.io.dicom.web_archive.Archive.fetch`; returns the folder."""
    return str(_archive().fetch(series, folder, progress=job.progress, cancel=job.cancel))


def send_result(job: Job, **exported: Any) -> int:
    """Write a result in DICOM formats and send the files; returns how many.

    Args:
        exported: as for :func:`~DeepSegLogic.worker.handlers.results.export`, without the folder.
    """
    from ...util.staging import temporary_folder

    archive = _archive()
    with temporary_folder() as folder:
        files = export(job, folder=str(folder / "result"), **exported)
        return archive.send(files, progress=job.progress, cancel=job.cancel)


def _archive() -> Archive:
    from ...io.dicom.archive_settings import ArchiveSettings
    from ...io.dicom.web_archive import Archive

    return Archive(ArchiveSettings.from_environment())
