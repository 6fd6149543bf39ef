"""What the page opens: uploads, files of the folder that was allowed, and what the command line named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from DeepSegLogic.bundle import SUFFIX, Bundle, read_bundle
from DeepSegLogic.errors import DeepSegError, UsageError
from DeepSegLogic.io import read_volume
from DeepSegLogic.io.header import check_enclosed
from DeepSegLogic.viewmodel import WayOut

from .shelf import Shelf


class Opening:
    """The page's input.

    Args:
        state: of the page.
        scene: shows what was opened.
        say: tells the user what went wrong.
        scratch: where scenes are unpacked.
        folder: what the page may list; None for nothing.
    """

    def __init__(self, state, scene, say: Callable[[Exception], None], scratch: Path, folder: Path | None):
        self.state, self.scene, self._say, self._scratch = state, scene, say, scratch
        self._shelf = Shelf(folder) if folder is not None else None
        state.update({"has_shelf": folder is not None, "browsing": False, "shelf": {"folders": [], "files": []}})

    async def open(self, source: Path) -> None:
        """Read a volume, or a scene with its result, and show it instead of the one before."""
        await self._show(source.name, partial(self._read, source))

    async def take_way_out(self, way: str) -> None:
        """Go on with a volume made from the one that is shown, see :class:`~DeepSegLogic.viewmodel.WayOut`."""
        volume = self.scene.work.session.volume
        await self._show(volume.name, lambda: Bundle(WayOut(way).apply(volume)))

    def check_free(self) -> None:
        """Whether the input is at rest.

        Raises:
            UsageError: it is being read.
        """
        if self.state.reading:
            raise UsageError("A volume is being read.", "Wait for it.", code="usage.busy")

    async def _show(self, name: str, get: Callable[[], Bundle]) -> None:
        work, state = self.scene.work, self.state
        try:
            self.check_free()
            work.session.check_free()  # its result belongs to the volume that is shown
        except UsageError as error:
            self._say(error)
            return
        with state:
            state.reading, state.alert, state.tab = name, None, "segment"
        try:
            opened = await asyncio.to_thread(get)
            work.forgetResult()
            self.scene.show_volume(opened.volume)
            if opened.label_map is not None:
                known = {"confidence": opened.confidence, "boundary_margin": opened.boundary_margin}
                work.adopt(opened.label_map, opened.provenance, ignored=opened.ignored, **known)
            if opened.corrector:
                work.session.choose_corrector(opened.corrector)
            if work.session.preflight.ready:
                self.scene.set_window(state.greys)
            self.scene.set_rendering(state.rendering)
            work.session.ask_estimate()
        except Exception as error:
            self._say(error)
        finally:
            with state:
                state.reading = ""

    async def receive(self, source: Path) -> None:
        """Open what was uploaded."""
        if source.is_file():
            check_enclosed(source)
        await self.open(source)

    async def browse(self, path: str = "") -> None:
        """List a folder below the one that was allowed."""
        try:
            shown = await asyncio.to_thread(self._allowed().look, path)
        except DeepSegError as error:
            self._say(error)
            return
        with self.state:
            self.state.shelf, self.state.browsing = shown, True

    async def take(self, path: str) -> None:
        """Open a volume below the folder that was allowed."""
        with self.state:
            self.state.browsing = False
        try:
            source = await asyncio.to_thread(self._allowed().find, path)
        except DeepSegError as error:
            self._say(error)
            return
        await self.open(source)

    def _allowed(self) -> Shelf:
        if self._shelf is None:
            raise UsageError("No folder was allowed.", "Start `deepseg web` with --folder.", code="usage.folder")
        return self._shelf

    def _read(self, source: Path) -> Bundle:
        if source.suffix.lower() == SUFFIX:
            return read_bundle(source, self._scratch)
        return Bundle(read_volume(source))
