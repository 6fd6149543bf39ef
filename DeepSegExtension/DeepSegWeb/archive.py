"""The page and the archive (PACS): series to open, and results to send back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from DeepSegLogic.io.dicom.web_archive import FoundSeries
from DeepSegLogic.refinement.undo import Entry
from DeepSegLogic.results.label_files import DICOM_FORMATS
from DeepSegLogic.session import Phase, Run
from DeepSegLogic.util.errors import UsageError
from DeepSegLogic.util.words import counted

from .correcting import Correcting
from .opening import Opening
from .scene import PageScene


class PageArchive:
    """Commands of the page.

    Args:
        state: of the page.
        scene: what is sent.
        opening: opens what was fetched.
        correcting: knows what was exported.
        saying: shows errors to the user.
        allowed: whether the page may use the archive that the server's environment names.
    """

    def __init__(
        self,
        state,
        scene: PageScene,
        opening: Opening,
        correcting: Correcting,
        saying: Callable[[], AbstractContextManager],
        allowed: bool,
    ):
        self.state, self._work, self._opening, self._correcting = state, scene.work, opening, correcting
        self._saying, self._allowed = saying, allowed
        self._sent: tuple[Entry, ...] = ()
        self._opened: asyncio.Task | None = None
        session = scene.work.session
        self._archive, self._jobs = session.archive, session.jobs
        state.update({"has_archive": allowed, "searching": False, "patient": "", "study": "", "found": None})
        session.archive.found_changed.connect(self._show)
        session.archive.fetched.connect(self._open)
        session.jobs.ended.connect(self._ended)

    def find(self, patient: str, study: str) -> None:
        """List the series of a patient or a study, by their IDs."""
        with self._saying():
            self._check_allowed()
            self.state.found, self.state.alert = None, None
            self._archive.find(patient, study)

    def fetch(self, series: str) -> None:
        """Fetch a series that was found, and open it."""
        with self._saying():
            self._check_allowed()
            self._opening.check_free()
            self.state.alert, self.state.tab = None, "segment"
            self._archive.fetch(series, self._opening.new_folder())

    def send(self, formats: list[str]) -> None:
        """Send the result as it is now, in those of the formats that are DICOM."""
        with self._saying():
            self._check_allowed()
            self.state.alert = None
            chosen = [kind for kind in DICOM_FORMATS if kind in formats]
            label_map, steps = self._work.labelMap(), self._correcting.steps
            self._work.session.send(chosen, label_map, corrected=self._work.everCorrected)
            self._sent = steps

    def _check_allowed(self) -> None:
        if not self._allowed:
            raise UsageError("The page may not use an archive.", "Upload the file instead.", code="usage.archive")

    def _show(self, found: list[FoundSeries]) -> None:
        self.state.found = [
            {
                "uid": one.series,
                "title": " · ".join(filter(None, (one.modality, one.description))),
                "subtitle": " · ".join(
                    filter(None, (_date(one.date), counted(one.images, "image") if one.images else ""))
                ),
            }
            for one in found
        ]

    def _open(self, fetched: tuple[FoundSeries, Path]) -> None:
        self._opened = asyncio.ensure_future(self._opening.open_kept(fetched[1]))

    def _ended(self, run: Run) -> None:
        if run.task == "send" and run.phase is Phase.DONE:
            self._correcting.exported(self._sent)


def _date(text: str) -> str:
    """A date of DICOM as ISO 8601 writes it; other texts as they are."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text
