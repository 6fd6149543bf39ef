"""The web application: binds the view model to the page and runs the server."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from pathlib import Path

import trame_slicer.module
from trame.app import get_server

from DeepSegLogic.errors import DeepSegError, ResourceError, UsageError
from DeepSegLogic.viewmodel import Phase

from . import binding
from .correcting import Correcting
from .gate import Gate
from .opening import Opening
from .page import ASSETS, build_page
from .probe import Probe
from .scene import Scene
from .transfers import Transfers, pack, safe_name
from .views import make_views

POLL_S = 0.08
SCENE_FORMAT = "mrb"


class WebApp:
    """One session in a browser.

    Args:
        source: what to open at once, or None.
        folder: of this machine; the page may open what is below it. None for no listing at all.
    """

    def __init__(self, source: Path | None = None, folder: Path | None = None):
        self.server = get_server("deepseg", client_type="vue3")
        self.state = self.server.state
        self.server.enable_module(trame_slicer.module)
        self.server.enable_module(ASSETS)
        self.gate = Gate()
        self.scene = Scene()
        self.work, self.session = self.scene.work, self.scene.work.session
        self.correcting = Correcting(self.state, self.scene)
        self.transfers = Transfers(self._say)
        self.opening = Opening(self.state, self.scene, self._say, self.transfers.folder, folder)
        self._source = source
        known = (self.transfers.folder, source and source.parent, folder and folder.resolve())
        self._folders = [place for place in known if place]
        self._export: tuple[Path, str, Path | None] | None = None  # where it goes, its name, the scene in it
        self._delivery: asyncio.Task | None = None
        self.state.trame__title, self.state.trame__favicon = "DeepSeg", "deepseg/icon.svg"
        self.state.update(binding.initial())
        self.state.client_only("uploading", "exporting", "choosing_model", "asking")  # a new tab has no dialog open
        for part in ("input", "models", "correctors", "structures"):
            self._show(part)
        self.session.changed.connect(self._show)
        self.server.trigger("browse")(self.opening.browse)
        self.server.trigger("take")(self.opening.take)
        self._bind()
        Probe(self.state, self.scene)
        self._start_download = build_page(self, make_views(self.server, self.scene.app))

    def start(self, host: str, port: int, ready) -> None:
        """Serve until it is stopped; ``ready(url)`` is called once.

        Raises:
            ResourceError: the address is taken.
        """

        @self.server.controller.add("on_server_bind")
        def _(web_server):
            self.gate.attach(web_server.app)
            self.transfers.attach(web_server.app, {"upload": self.opening.receive, "model": self.import_model})

        @self.server.controller.add_task("on_server_ready")
        async def _(**_state):
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{self.server.port}/index.html?token={self.gate.token}")
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
        self.session.cancel()

    def install(self, model: str) -> None:
        """Download a model; the page has shown its licence and size."""
        self.state.alert = None
        with self._saying():
            self.session.install(model)

    def remove(self, model: str) -> None:
        """Delete a model that was downloaded or imported; the page has asked."""
        self.state.alert = None
        with self._saying():
            self.session.remove_model(model)

    async def import_model(self, source: Path) -> None:
        """Take a model that was uploaded; returns when that is done, or failed."""
        with self.state:
            self.state.alert = None
            self.session.import_model(source)
        while self.session.run.busy:
            await asyncio.sleep(POLL_S)

    def choose_all(self) -> None:
        """Choose all structures of the model."""
        self.session.choose_structures(self.session.model.structures if self.session.model else [])

    def choose_preset(self, preset: str) -> None:
        """Choose those of a preset."""
        self.session.choose_preset(preset)

    def jump_to(self, name: str) -> None:
        """Make a structure the current one and centre the views on it."""
        self.state.current = name
        self.work.jumpTo(name)

    def look_at(self, reason: str) -> None:
        """Centre the views on what the review found, and make its structure the current one."""
        finding = next(f for f in self.session.findings if f.reason == reason)
        if any(row["name"] == finding.structure for row in self.state.rows):
            self.state.current = finding.structure
        self.work.jumpToPoint(finding.ras)

    def ignore(self, reason: str) -> None:
        """Take a line off the review."""
        self.session.ignore(next(f for f in self.session.findings if f.reason == reason))

    def export(self, shown: dict) -> None:
        """Write the formats that the page shows chosen; the download starts when they are ready."""
        self._take(shown)
        self.state.alert = None
        with self._saying():
            self.session.check_free()
            if self.state.delivering:
                raise UsageError("A download is being prepared.", "Wait for it.", code="usage.busy")
            label_map, folder = self.work.labelMap(), self.transfers.empty("export")
            name, scene = safe_name(f"{self.session.result_volume.name}-deepseg"), None
            if SCENE_FORMAT in shown["formats"]:  # as it is now, like the rest
                scene = self.transfers.empty("scene")
                self.scene.save(scene / name)
            self._export = folder, name, scene
            formats = [f for f in shown["formats"] if f != SCENE_FORMAT]
            if formats:
                self.session.export(folder, formats, label_map)
            else:
                self._show("exported")

    # --- binding -----------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        session, change = self.session, self.state.change

        @change("model")
        def _(model, **_):
            if model and (session.model is None or model != session.model.id):
                with self._saying():
                    session.choose_model(model)
                    session.ask_estimate()

        @change("model_words")
        def _(model_words, **_):
            session.search_models(model_words or "")

        @change("corrector")
        def _(corrector, **_):
            if corrector != session.correctors.chosen.id:
                session.choose_corrector(corrector)

        @change("quality")
        def _(quality, **_):
            if quality != session.quality:
                session.set_quality(quality)
                session.ask_estimate()

        @change("chosen")
        def _(chosen, **_):
            if chosen != session.chosen:
                session.choose_structures(chosen)

        @change("force")
        def _(force, **_):
            if force != session.force:
                session.set_force(force)

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

    def _show(self, part: str) -> None:
        session, state = self.session, self.state
        to_state = getattr(binding, f"{part}_state", None)
        if to_state is not None:
            state.update(to_state(session))
        if part == "run" and session.run.task == "correct":
            self.correcting.tell_run()
        if part == "result":
            state.update({"rows": [], "findings": [], "tool": "", "current": ""})
            if session.result is None:
                self.scene.clear_result()
            else:
                self.scene.edit_result()
                self.scene.set_look(state.fill, state.outline, state.solid)
                state.visible = [s.name for s in session.result.label_map.structures]
                self.work.showSurfaces()
            self.correcting.begin()
        elif part == "measurements" and session.result is not None:
            if not state.rows:
                state.tab = "result"
            state.update(binding.result_state(session))
        elif part == "surfaces" and session.surfaces is not None:
            if not self.work.resultCorrected:
                self.scene.look_at_surfaces()
            session.review(self.work.labelMap())
        elif part == "exported":
            self._delivery = asyncio.ensure_future(self._deliver(*self._export))
        elif part == "run" and session.run.phase is Phase.FAILED:
            self._say(session.run.error)
        elif part == "run" and session.run.task in ("segment", "install") and not session.run.busy:
            session.ask_estimate()
        state.why_not = session.why_not

    async def _deliver(self, folder: Path, name: str, scene: Path | None) -> None:
        with self.state:
            self.state.delivering = True
        with self._saying():
            if scene is not None:
                await pack(scene, folder / f"{name}.{SCENE_FORMAT}")
            self._start_download.exec(await self.transfers.offer(folder, name))
        with self.state:
            self.state.delivering = False

    async def _poll(self) -> None:
        while True:
            with self._saying(), self.state:
                self.session.poll()
            await asyncio.sleep(POLL_S)

    def _take(self, shown: dict) -> None:
        """The page tells a press at once, but a change only when the line is free: that may come too late."""
        self.state.update(shown)
        self.state.flush()

    def _say(self, error: Exception) -> None:
        if not isinstance(error, DeepSegError):
            traceback.print_exception(error)
            what = f"Something unforeseen went wrong ({type(error).__name__}: {error})."
            error = DeepSegError(what, "The terminal where `deepseg web` runs says more.")
        with self.state:
            self.state.alert = binding.alert(error, self._folders)

    @contextlib.contextmanager
    def _saying(self):
        try:
            yield
        except Exception as error:  # whatever it is, the page goes on
            self._say(error)
