"""Downloads of the page: what is written for them, and how they start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from DeepSegLogic.refinement.undo import Entry
from DeepSegLogic.util.errors import UsageError
from DeepSegLogic.util.file_names import safe_name

from .correcting import Correcting
from .detecting import Detecting
from .scene import PageScene
from .transfers import Transfers, pack

SCENE_FORMAT = "mrb"
LABEL_FORMATS = {"seg.nrrd", "nii.gz", "dcm-seg", "dcm-labelmap", "rtstruct", SCENE_FORMAT}
"""They hold what was corrected; the others only show it."""


class Exporting:
    """Writes files and offers them for download.

    Args:
        state: of the page.
        scene: with the session on it.
        correcting: is told which corrections were exported.
        detecting: writes its findings.
        transfers: has the folder of the files.
        saying: shows errors of what is done within.

    Attributes:
        start_download: of the page, given an address; set once the page is built.
    """

    def __init__(
        self,
        state,
        scene: PageScene,
        correcting: Correcting,
        detecting: Detecting,
        transfers: Transfers,
        saying: Callable[[], AbstractContextManager[None]],
    ):
        self.start_download: Callable[[str], None]
        self._state, self._scene, self._saying = state, scene, saying
        self._correcting, self._detecting, self._transfers = correcting, detecting, transfers
        self._deliver_next: Callable[[], Coroutine] | None = None
        self._delivery: asyncio.Task | None = None
        scene.work.session.outcome.files_exported.connect(self._hand_over)

    def export(self) -> None:
        """Write the chosen formats; the download starts when they are ready."""
        self._state.alert = None
        with self._saying():
            work = self._scene.work
            work.session.jobs.check_free()
            if self._state.delivering:
                raise UsageError("A download is being prepared.", "Wait for it.", code="usage.busy")
            chosen, label_map = self._state.formats, work.labelMap()
            folder, name = self._transfers.empty("export"), safe_name(f"{work.session.outcome.volume.name}-deepseg")
            scene = None
            if SCENE_FORMAT in chosen:  # as it is now, like the rest
                scene = self._transfers.empty("scene")
                self._scene.save(scene / name)
            steps = self._correcting.steps if LABEL_FORMATS & {*chosen} else None
            self._deliver_next = partial(self._deliver, folder, name, scene, steps)
            formats = [f for f in chosen if f != SCENE_FORMAT]
            if formats:
                work.session.export(folder, formats, label_map, corrected=work.everCorrected)
            else:
                self._hand_over([])

    def save_findings(self) -> None:
        """Write the lesions found; the download starts when they are ready."""
        self._state.alert = None
        with self._saying():
            self._scene.work.session.jobs.check_free()
            folder = self._transfers.empty("findings")
            self._deliver_next = partial(self._deliver, folder, "findings")
            self._detecting.write(folder)

    async def save_report(self) -> None:
        """Download the report of the comparison with an earlier scan."""
        with self._saying():
            self.start_download(await self._transfers.offer(self._transfers.folder / "follow-up", "follow-up"))

    def deliver_pictures(self, folder: Path) -> None:
        """Offer pictures that are written."""
        self._deliver_next = partial(self._deliver, folder, "pictures")
        self._hand_over([])

    def _hand_over(self, _paths: list[Path]) -> None:
        """The files are written: offer them for download."""
        self._delivery = asyncio.ensure_future(self._deliver_next())

    async def _deliver(
        self, folder: Path, name: str, scene: Path | None = None, steps: tuple[Entry, ...] | None = None
    ) -> None:
        with self._state:
            self._state.delivering = True
        with self._saying():
            if scene is not None:
                await pack(scene, folder / f"{name}.{SCENE_FORMAT}")
            self.start_download(await self._transfers.offer(folder, name))
            if steps is not None:
                self._correcting.exported(steps)
        with self._state:
            self._state.delivering = False
