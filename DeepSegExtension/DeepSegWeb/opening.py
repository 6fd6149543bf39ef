"""The page's input: uploads, files of the allowed folder, and the source that the command line names."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from DeepSegLib import storedResult

from DeepSegLogic.data.volume_checks import is_label_map_of
from DeepSegLogic.io.segmentations import holds_segmentation
from DeepSegLogic.io.slicer_scene import SlicerScene
from DeepSegLogic.session import WayOut
from DeepSegLogic.util.errors import DeepSegError, UsageError
from DeepSegLogic.worker.isolated import read_scene_or_volume, read_volume

from .shelf import Shelf

_LOOK_S = 0.08
T = TypeVar("T")


class Opening:
    """The page's input.

    Args:
        state: of the page.
        scene: shows the input.
        say: shows an error to the user.
        scratch: for unpacked scenes, and for uploaded series while they are shown.
        folder: that the page may list; None for none.
    """

    def __init__(self, state, scene, say: Callable[[Exception], None], scratch: Path, folder: Path | None):
        self.state, self.scene, self._say, self._scratch = state, scene, say, scratch
        self._expected = ""  # name of a channel
        self._shelf = Shelf(folder) if folder is not None else None
        state.update({"has_shelf": folder is not None, "browsing": False, "shelf": {"folders": [], "files": []}})
        state.shelf_for = ""  # name of a channel; empty for the input

    async def open(self, source: Path) -> None:
        """Show a volume, or a scene with its result, instead of the current one; or a segmentation on it."""
        try:
            self.check_free()
            self.scene.work.session.jobs.check_free()
            segments = await asyncio.to_thread(holds_segmentation, source)
        except Exception as error:
            self._say(error)
            return
        if segments:
            await self._open_segmentation(source)
            return
        of_shown = False

        def show(opened: SlicerScene) -> None:
            nonlocal of_shown
            shown = self.scene.work.session.choices.volume
            of_shown = shown is not None and opened.label_map is None and is_label_map_of(opened.volume, shown)
            if not of_shown:
                self._show_other(opened)

        await self._read(source.name, partial(read_scene_or_volume, source, self._scratch), show)
        if of_shown:
            await self._open_segmentation(source)

    async def _open_segmentation(self, source: Path) -> None:
        """Read a segmentation of the current volume; returns when that is done, or failed."""
        work = self.scene.work
        try:
            self.check_free()
            with self.state:
                self.state.alert = None
                work.openSegmentation(source)
        except Exception as error:
            self._say(error)
        while work.session.jobs.run.busy:
            await asyncio.sleep(_LOOK_S)

    def expect(self, channel: str) -> None:
        """The next upload to the address ``channel`` is for this channel of the model."""
        self._expected = channel

    async def receive_channel(self, source: Path) -> None:
        """Take an upload as the image of the channel that was named last."""
        await self.open_channel(source, self._expected)

    async def open_channel(self, source: Path, channel: str) -> None:
        """Read a volume as the image of a further channel of the model."""
        if channel not in self.scene.work.session.choices.channels.names:
            self._say(UsageError("The model has no such channel.", "Choose the model again.", code="usage.channel"))
            return
        await self._read(source.name, partial(read_volume, source), partial(self.scene.set_channel, channel))

    async def take_way_out(self, way: str) -> None:
        """Go on with a volume made from the one that is shown, see :class:`~DeepSegLogic.session.WayOut`."""
        volume = self.scene.work.session.choices.volume
        await self._read(volume.name, lambda: SlicerScene(WayOut(way).apply(volume)), self._show)

    def check_free(self) -> None:
        """Check that no input is being read.

        Raises:
            UsageError: one is.
        """
        if self.state.reading:
            raise UsageError("A volume is being read.", "Wait until it is shown.", code="usage.busy")

    async def _read(self, name: str, get: Callable[[], T], take: Callable[[T], None]) -> None:
        """Read something elsewhere, and take it, while nothing else goes on."""
        work, state = self.scene.work, self.state
        try:
            self.check_free()
            work.session.jobs.check_free()  # its result belongs to the volume that is shown
        except UsageError as error:
            self._say(error)
            return
        with state:
            state.reading, state.alert, state.tab = name, None, "segment"
        try:
            work.session.choices.expect_volume()
            take(await asyncio.to_thread(get))
            work.session.choices.ask_scan()
            work.session.choices.ask_estimate()
        except Exception as error:
            self._say(error)
        finally:
            with state:
                state.reading = ""

    def _show_other(self, opened: SlicerScene) -> None:
        """Show what may be another patient: images of further channels would not belong to it."""
        for name in self.scene.work.session.choices.channels.names:
            self.scene.set_channel(name, None)
        self._show(opened)

    def _show(self, opened: SlicerScene) -> None:
        work = self.scene.work
        work.forgetResult()
        self.scene.show_volume(opened.volume)
        self.state.in_hu = self.scene.in_hu
        if opened.label_map is not None:
            known = {
                name: getattr(opened, name)
                for name in ("confidence", "boundary_margin", "phase", "warnings", "ignored", "as_run")
            }
            plan = storedResult.planOf(opened.plan, opened.volume.name)
            work.adopt(opened.label_map, opened.provenance, plan=plan, **known)
        if opened.corrector:
            work.session.choices.choose_corrector(opened.corrector)
        self.scene.set_rendering(self.state.rendering)

    async def receive(self, source: Path) -> None:
        """Open an upload. The files of a DICOM series stay until another volume is shown: exports refer to them.

        Args:
            source: a folder, or a file in a folder with nothing but the upload.
        """
        upload = source if source.is_dir() else source.parent
        kept = self.new_folder()
        await asyncio.to_thread(shutil.move, upload, kept)
        await self.open_kept(kept / source.relative_to(upload.parent))

    def new_folder(self) -> Path:
        """An empty folder for files to open with :meth:`open_kept`."""
        return Path(mkdtemp(prefix="series", dir=self._scratch))

    async def open_kept(self, source: Path) -> None:
        """Open files in a :meth:`new_folder`. They stay while the volume is shown; those of others are removed."""
        await self.open(source)
        volume = self.scene.work.session.choices.volume
        series = Path(volume.source) if volume is not None and volume.source else self._scratch
        used = (series, *series.parents)
        for folder in self._scratch.glob("series*"):
            if folder not in used:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def browse(self, path: str = "") -> None:
        """List a folder inside the allowed one."""
        try:
            shown = await asyncio.to_thread(self._allowed().look, path)
        except DeepSegError as error:
            self._say(error)
            return
        with self.state:
            self.state.shelf, self.state.browsing = shown, True

    async def take(self, path: str, channel: str = "") -> None:
        """Open a volume inside the allowed folder, as the input or for a further channel of the model."""
        with self.state:
            self.state.browsing = False
        try:
            source = await asyncio.to_thread(self._allowed().find, path)
        except DeepSegError as error:
            self._say(error)
            return
        await (self.open_channel(source, channel) if channel else self.open(source))

    def _allowed(self) -> Shelf:
        if self._shelf is None:
            raise UsageError(
                "The page may not open files of the server.", "Upload the file instead.", code="usage.folder"
            )
        return self._shelf
