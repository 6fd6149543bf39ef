"""The web application: takes the commands of the page and runs the server."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import trame_slicer.module
from trame.app import get_server

from DeepSegLogic.adaptation.cases import corrections_root
from DeepSegLogic.refinement.undo import Entry
from DeepSegLogic.util.errors import DeepSegError, InputError, ResourceError, UsageError
from DeepSegLogic.util.file_names import safe_name
from DeepSegLogic.worker.isolated import read_label_map, read_scene_or_volume

from . import binding
from .archive import PageArchive
from .correcting import Correcting
from .detecting import Detecting
from .drafting import PageDraft
from .learning import Learning
from .opening import Opening
from .page import ASSETS, build_page
from .places import PagePlaces
from .planning import PagePlan
from .probe import Probe
from .scene import PageScene
from .serving import guard
from .showing import Showing
from .sureness import PageSureness
from .transfers import Transfers, pack
from .views import make_views

POLL_S = 0.08
SCENE_FORMAT = "mrb"
LABEL_FORMATS = {"seg.nrrd", "nii.gz", "dcm-seg", "dcm-labelmap", "rtstruct", SCENE_FORMAT}
"""They hold what was corrected; the others only show it."""


class WebApp:
    """One session in a browser.

    Args:
        source: what to open first, or None.
        folder: a folder of this machine from which the page may open volumes; None for none.
        archive: whether the page may use the archive that the environment names.
    """

    def __init__(self, source: Path | None = None, folder: Path | None = None, archive: bool = False):
        self.server = get_server("deepseg", client_type="vue3")
        self.state = self.server.state
        self.server.enable_module(trame_slicer.module)
        self.server.enable_module(ASSETS)
        self.scene = PageScene()
        self.work, self.session = self.scene.work, self.scene.work.session
        self.correcting = Correcting(self.state, self.scene)
        self.detecting = Detecting(self.state, self.scene, self._saying, self.correcting.refresh)
        self.learning = Learning(self.state, self.work, self._saying)
        self.sureness = PageSureness(self.state, self.work, self._saying, self.correcting.refresh)
        self.transfers = Transfers()
        folder_of = partial(self.transfers.empty, "pictures")
        self.planning = PagePlan(
            self.state, self.scene, self._saying, self.correcting.refresh, self._hand_over_pictures, folder_of
        )
        self.opening = Opening(self.state, self.scene, self._say, self.transfers.folder, folder)
        self.archive = PageArchive(self.state, self.scene, self.opening, self.correcting, self._saying, archive)
        self._source = source
        known = (self.transfers.folder, source and source.parent, folder and folder.resolve(), corrections_root())
        self._folders = [place for place in known if place]
        self._export: Callable[[], Coroutine] | None = None  # delivers it, once its files are written
        self._delivery: asyncio.Task | None = None
        self.state.trame__title, self.state.trame__favicon = "DeepSeg", "deepseg/icon.svg"
        self.state.update(binding.initial())
        self.places = PagePlaces(self.state, self.session, self._saying)
        self.drafting = PageDraft(self.state, self.work, self._saying)
        dialogs = ("uploading", "exporting", "choosing_model", "asking", "searching")
        self.state.client_only(*dialogs)  # a new tab has none open
        Showing(self.state, self.scene, self.correcting, self._say)
        self.session.outcome.files_exported.connect(self._hand_over)
        self.server.trigger("browse")(self.opening.browse)
        self.server.trigger("take")(self.opening.take)
        self.server.trigger("find")(self.archive.find)
        self.server.trigger("fetch")(self.archive.fetch)
        self.server.trigger("send")(self.archive.send)
        self.server.trigger("drawn")(self.correcting.drawn)
        self.server.trigger("picture")(self.planning.picture)
        self._bind()
        Probe(self.state, self.scene)
        self._start_download = build_page(self, make_views(self.server, self.scene.app))

    def start(self, host: str, port: int, ready: Callable[[str, Callable[[], str]], None]) -> None:
        """Serve until it is stopped.

        Args:
            ready: is called once, with the link to print and what makes one for a command line, see :class:`Gate`.

        Raises:
            ResourceError: the address is taken.
        """
        receivers = {
            "upload": self.opening.receive,
            "channel": self.opening.receive_channel,
            "model": self.import_model,
            "reference": self.compare,
            "earlier": self.compare_with_earlier,
            "plan": self.planning.receive,
        }
        gate = guard(self.server, host, self.transfers, receivers, self._say)

        @self.server.controller.add_task("on_server_ready")
        async def _(**_state):
            ready(gate.link(self.server.port), partial(gate.one_time_link, self.server.port))
            if self._source is not None:
                await self.opening.open(self._source)
            await self._poll()

        options = {"open_browser": False, "show_connection_info": False, "disable_logging": True, "timeout": 0}
        try:
            self.server.start(host=host, port=port, **options)
        except OSError as error:
            raise ResourceError(
                f"Cannot listen on {host}:{port} ({error.strerror}).", "Choose another port.", code="resource.port"
            ) from error
        finally:
            self.session.close()
            self.transfers.close()

    # --- commands of the page ----------------------------------------------------------------------------------

    def segment(self, shown: dict) -> None:
        """Start to segment, with what the page shows."""
        self._take(shown)
        self.state.alert = None
        with self._saying():
            self.opening.check_free()  # else the result would belong to another volume than the one shown then
            self.work.segment()

    def cancel(self) -> None:
        """Stop the task."""
        self.session.jobs.cancel()

    def install(self, model: str) -> None:
        """Download a model; the page has shown its licence and size."""
        self.state.alert = None
        with self._saying():
            self.session.choices.install(model)

    def remove(self, model: str) -> None:
        """Delete a model that was downloaded or imported; the page has asked."""
        self.state.alert = None
        with self._saying():
            self.session.choices.remove_model(model)

    async def import_model(self, source: Path) -> None:
        """Import an uploaded model; returns when that is done, or failed."""
        with self.state:
            self.state.alert = None
            self.session.choices.import_model(source)
        while self.session.jobs.run.busy:
            await asyncio.sleep(POLL_S)

    async def compare(self, source: Path) -> None:
        """Compare the result with an uploaded reference segmentation; returns when that is done, or failed."""
        reference = await asyncio.to_thread(read_label_map, source)
        with self.state:
            self.state.alert = None
            self.session.compare(reference, self.work.labelMap())
        while self.session.jobs.run.busy:
            await asyncio.sleep(POLL_S)

    async def compare_with_earlier(self, source: Path) -> None:
        """Compare the result with an uploaded scene, or segmentation, of an earlier scan; returns when that is done."""
        volume = None
        if source.suffix.lower() == f".{SCENE_FORMAT}":
            opened = await asyncio.to_thread(read_scene_or_volume, source, self.transfers.folder)
            volume, earlier = opened.volume, opened.label_map
            if earlier is None:
                raise InputError(
                    f"{source.name} has no segmentation.", "Segment the earlier scan first.", code="input.scene"
                )
        else:
            earlier = await asyncio.to_thread(read_label_map, source)
        with self.state:
            self.state.alert = None
            days, folder = self._days(), self.transfers.empty("follow-up")
            self.session.compare_with_earlier(earlier, volume, folder, days, self.work.labelMap())
        while self.session.jobs.run.busy:
            await asyncio.sleep(POLL_S)

    async def save_report(self) -> None:
        """Download the report of the comparison with an earlier scan."""
        with self._saying():
            self._start_download.exec(await self.transfers.offer(self.transfers.folder / "follow-up", "follow-up"))

    def _days(self) -> float | None:
        try:
            return float(self.state.days) if self.state.days else None
        except ValueError as error:
            raise UsageError("The days between the scans are not a number.", "Correct them.") from error

    def choose_all(self) -> None:
        """Choose all structures of the model."""
        self.session.choices.choose_structures(self.session.choices.structures.known)

    def choose_preset(self, preset: str) -> None:
        """Choose the structures of a preset."""
        self.session.choices.choose_preset(preset)

    def jump_to(self, name: str) -> None:
        """Make a structure the current one and centre the views on it."""
        self.state.current = name
        self.work.jumpTo(name)

    def look_at(self, reason: str) -> None:
        """Center the views on a finding, and make its structure the current one."""
        finding = next(f for f in self.session.outcome.findings if f.reason == reason)
        if any(row["name"] == finding.structure for row in self.state.rows):
            self.state.current = finding.structure
        self.work.jumpToPoint(finding.ras)

    def ignore(self, reason: str) -> None:
        """Do not show a finding again."""
        self.session.outcome.ignore(next(f for f in self.session.outcome.findings if f.reason == reason))

    def export(self, shown: dict) -> None:
        """Write the chosen formats; the download starts when they are ready."""
        self._take(shown)
        self.state.alert = None
        with self._saying():
            self.session.jobs.check_free()
            if self.state.delivering:
                raise UsageError("A download is being prepared.", "Wait for it.", code="usage.busy")
            label_map, folder = self.work.labelMap(), self.transfers.empty("export")
            name, scene = safe_name(f"{self.session.outcome.volume.name}-deepseg"), None
            if SCENE_FORMAT in shown["formats"]:  # as it is now, like the rest
                scene = self.transfers.empty("scene")
                self.scene.save(scene / name)
            steps = self.correcting.steps if LABEL_FORMATS & {*shown["formats"]} else None
            self._export = partial(self._deliver, folder, name, scene, steps)
            formats = [f for f in shown["formats"] if f != SCENE_FORMAT]
            if formats:
                self.session.export(folder, formats, label_map, corrected=self.work.everCorrected)
            else:
                self._hand_over([])

    def save_findings(self) -> None:
        """Write the findings; the download starts when they are ready."""
        self.state.alert = None
        with self._saying():
            self.session.jobs.check_free()
            folder = self.transfers.empty("findings")
            self._export = partial(self._deliver, folder, "findings", None, None)
            self.detecting.write(folder)

    # --- binding -----------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        session, change = self.session, self.state.change

        @change("model")
        def _(model, **_):
            if model and (session.choices.model is None or model != session.choices.model.id):
                with self._saying():
                    session.choices.choose_model(model)
                    session.choices.ask_estimate()

        @change("model_words")
        def _(model_words, **_):
            session.choices.search_models(model_words or "")

        @change("corrector")
        def _(corrector, **_):
            if corrector != session.choices.correctors.chosen.id:
                session.choices.choose_corrector(corrector)

        @change("quality")
        def _(quality, **_):
            if quality != session.choices.settings.quality:
                session.choices.set_quality(quality)
                session.choices.ask_estimate()

        @change("enhance")
        def _(enhance, **_):
            if enhance != session.choices.settings.enhance:
                session.choices.set_enhance(enhance)

        @change("see_enhanced")
        def _(see_enhanced, **_):
            self.scene.show_enhanced(see_enhanced)

        @change("chosen")
        def _(chosen, **_):
            if tuple(chosen) != session.choices.structures.chosen:
                session.choices.choose_structures(chosen)

        @change("force")
        def _(force, **_):
            if force != session.choices.settings.force:
                session.choices.set_force(force)

        @change("visible")
        def _(visible, **_):
            self.scene.set_visible(set(visible))

        @change("fill", "outline", "solid")
        def _(fill, outline, solid, **_):
            self.scene.set_look(fill, outline, solid)

        @change("rendering")
        def _(rendering, **_):
            self.scene.set_rendering(rendering)

        @change("greys")
        def _(greys, **_):
            self.scene.set_window(greys)

        @change("tool", "current", "shape", "brush", "limited", "low", "high")
        def _(**_):
            self.correcting.use_tool()

        @change("reach")
        def _(**_):
            self.correcting.set_reach()

    def _hand_over(self, _paths: list[Path]) -> None:
        """The files of an export are written: offer them for download."""
        self._delivery = asyncio.ensure_future(self._export())

    def _hand_over_pictures(self, folder: Path) -> None:
        """The pictures are written: offer them for download."""
        self._export = partial(self._deliver, folder, "pictures", None, None)
        self._hand_over([])

    async def _deliver(self, folder: Path, name: str, scene: Path | None, steps: tuple[Entry, ...] | None) -> None:
        with self.state:
            self.state.delivering = True
        with self._saying():
            if scene is not None:
                await pack(scene, folder / f"{name}.{SCENE_FORMAT}")
            self._start_download.exec(await self.transfers.offer(folder, name))
            if steps is not None:
                self.correcting.exported(steps)
        with self.state:
            self.state.delivering = False

    async def _poll(self) -> None:
        while True:
            with self._saying(), self.state:
                self.work.poll()
            await asyncio.sleep(POLL_S)

    def _take(self, shown: dict) -> None:
        """A press arrives at once, a change only when the connection is idle: that may be too late."""
        self.state.update(shown)
        self.state.flush()

    def _say(self, error: Exception) -> None:
        if not isinstance(error, DeepSegError):
            traceback.print_exception(error)  # with paths, which are not the browser's business
            what = f"Unexpected error ({type(error).__name__})."
            error = DeepSegError(what, "See the terminal in which the server runs.")
        with self.state:
            self.state.alert = binding.alert(error, self._folders)

    @contextlib.contextmanager
    def _saying(self):
        try:
            yield
        except Exception as error:  # whatever it is, the page goes on
            self._say(error)
