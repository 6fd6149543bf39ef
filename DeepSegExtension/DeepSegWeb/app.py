"""The web application: takes the commands of the page and runs the server."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trame_slicer.module
from trame.app import get_server

from DeepSegLogic.util.errors import DeepSegError, ResourceError

from . import binding
from .archive import PageArchive
from .comparing import Comparing
from .correcting import Correcting
from .detecting import Detecting
from .drafting import PageDraft
from .exporting import Exporting
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
from .transfers import Transfers
from .views import make_views
from .windowing import Windowing

POLL_S = 0.08


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
        self.exporting = Exporting(
            self.state, self.scene, self.correcting, self.detecting, self.transfers, self._saying
        )
        self.comparing = Comparing(self.state, self.work, self.transfers, self._end_of_task)
        folder_of, deliver = partial(self.transfers.empty, "pictures"), self.exporting.deliver_pictures
        self.planning = PagePlan(self.state, self.scene, self._saying, self.correcting.refresh, deliver, folder_of)
        self.opening = Opening(self.state, self.scene, self._say, self.transfers.folder, folder)
        self.archive = PageArchive(self.state, self.scene, self.opening, self.correcting, self._saying, archive)
        self._source = source
        self._known = self.transfers.folder, source and source.parent, folder and folder.resolve()
        self.state.trame__title, self.state.trame__favicon = "DeepSeg", "deepseg/icon.svg"
        self.state.update(binding.initial())
        self.windowing = Windowing(self.state, self.scene)
        self.places = PagePlaces(self.state, self.session, self._saying)
        self.drafting = PageDraft(self.state, self.work, self._saying)
        dialogs = ("uploading", "exporting", "choosing_model", "asking", "searching")
        self.state.client_only(*dialogs, "drawer")  # a new tab has only the drawer open
        Showing(self.state, self.scene, self.correcting, self._say)
        self.server.trigger("browse")(self.opening.browse)
        self.server.trigger("take")(self.opening.take)
        self.server.trigger("find")(self.archive.find)
        self.server.trigger("fetch")(self.archive.fetch)
        self.server.trigger("send")(self.archive.send)
        self.server.trigger("drawn")(self.correcting.drawn)
        self.server.trigger("following")(self.correcting.following)
        self.server.trigger("dropped")(self.correcting.drop)
        self.server.trigger("window")(self.windowing.drag)
        self.server.trigger("picture")(self.planning.picture)
        self._bind()
        Probe(self.state, self.scene)
        self.exporting.start_download = build_page(self, make_views(self.server, self.scene)).exec

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
            "reference": self.comparing.with_reference,
            "earlier": self.comparing.with_earlier,
            "plan": self.planning.receive,
        }
        gate = guard(self.server, host, self.transfers, receivers, self._say, self.correcting.drop)

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

    def find(self, detector: str, shown: dict) -> None:
        """Start to search for lesions, with what the page shows."""
        self._take(shown)
        self.detecting.find(detector)

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
        await self._end_of_task()

    def choose_all(self) -> None:
        """Choose all structures of the model."""
        self.session.choices.choose_structures(self.session.choices.structures.known)

    def choose_preset(self, preset: str) -> None:
        """Choose the structures of a preset."""
        self.session.choices.choose_preset(preset)

    def take_window(self) -> None:
        """Let drags in a slice change window and level: no other tool is taken."""
        self.correcting.put_down()
        self.work.plan.placing.stop()

    def jump_to(self, name: str) -> None:
        """Make a structure the current one and centre the views on it."""
        self.state.current = name
        self.work.jumpTo(name)

    def look_at(self, reason: str) -> None:
        """Center the views on a finding, and make its structure the current one."""
        for finding in self._findings(reason):
            if any(row["name"] == finding.structure for row in self.state.rows):
                self.state.current = finding.structure
            self.work.jumpToPoint(finding.ras)

    def ignore(self, reason: str) -> None:
        """Do not show a finding again."""
        for finding in self._findings(reason):
            self.session.outcome.ignore(finding)

    def _findings(self, reason: str) -> list:
        """That of this reason; none if a new result has come since it was shown."""
        return [finding for finding in self.session.outcome.findings if finding.reason == reason]

    def export(self, shown: dict) -> None:
        """Write the chosen formats; the download starts when they are ready."""
        self._take(shown)
        self.exporting.export()

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

        @change("case_patient")
        def _(case_patient, **_):
            session.adaptation.patient = case_patient or ""

        @change("visible")
        def _(visible, **_):
            self.scene.set_visible(set(visible))

        @change("fill", "outline", "solid")
        def _(fill, outline, solid, **_):
            self.scene.set_look(fill, outline, solid)

        @change("rendering")
        def _(rendering, **_):
            self.scene.set_rendering(rendering)

        @change("tool", "current", "shape", "brush", "limited", "low", "high")
        def _(**_):
            self.correcting.use_tool()

        @change("tool")
        def _(tool, **_):
            if tool:  # a click is for one of them
                self.work.plan.placing.stop()

        self.work.plan.placing.drawing.connect(lambda what: what and self.correcting.put_down())

        @change("reach")
        def _(**_):
            self.correcting.set_reach()

    async def _end_of_task(self) -> None:
        while self.session.jobs.run.busy:
            await asyncio.sleep(POLL_S)

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
        from DeepSegLogic.adaptation.cases import corrections_root

        folders = [place for place in (*self._known, corrections_root()) if place]
        with self.state:
            self.state.alert = binding.alert(error, folders)

    @contextlib.contextmanager
    def _saying(self):
        try:
            yield
        except Exception as error:  # whatever it is, the page goes on
            self._say(error)
