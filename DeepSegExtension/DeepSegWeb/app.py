"""The web application: binds the view model to the page and runs the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from pathlib import Path

import trame_slicer.module
from trame.app import get_server

from DeepSegLogic.errors import DeepSegError, ResourceError, UsageError
from DeepSegLogic.io import read_volume
from DeepSegLogic.viewmodel.session import Phase, Session

from . import binding
from .editing import Editing
from .gate import Gate
from .page import ASSETS, build_page
from .scene import Scene
from .transfers import Transfers
from .views import make_views

POLL_S = 0.08
SETTLE_S = 0.8  # after the last stroke, before measures and surfaces are made anew


class WebApp:
    """One session in a browser.

    Args:
        source: what to open at once, or None.
    """

    def __init__(self, source: Path | None = None):
        self.server = get_server("deepseg", client_type="vue3")
        self.state = self.server.state
        self.server.enable_module(trame_slicer.module)
        self.server.enable_module(ASSETS)
        self.gate = Gate()
        self.transfers = Transfers(self.open, self._say)
        self.session = Session()
        self.scene = Scene()
        self.editing = Editing(self.scene.app.segmentation_editor, self._edited)
        self._source = source
        self._corrected = None  # label map after strokes, if there were any
        self._stroke_at: float | None = None
        self.state.trame__title, self.state.trame__favicon = "DeepSeg", "deepseg/icon.svg"
        self.state.update(binding.initial())
        self.state.client_only("uploading")
        for part in ("input", "models", "structures"):
            self._show(part)
        self.session.changed.connect(self._show)
        self._bind()
        self._start_download = build_page(self, make_views(self.server, self.scene.app))

    def start(self, host: str, port: int, ready) -> None:
        """Serve until it is stopped; ``ready(url)`` is called once.

        Raises:
            ResourceError: the address is taken.
        """

        @self.server.controller.add("on_server_bind")
        def _(web_server):
            self.gate.attach(web_server.app)
            self.transfers.attach(web_server.app)

        @self.server.controller.add_task("on_server_ready")
        async def _(**_state):
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{self.server.port}/index.html?token={self.gate.token}")
            if self._source is not None:
                await self.open(self._source)
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

    async def open(self, source: Path) -> None:
        """Read a volume and show it instead of the one before."""
        if self.session.run.busy:  # its result belongs to the volume that is shown
            self._say(UsageError("A task is under way.", "Wait for it, or cancel it.", code="usage.busy"))
            return
        with self.state:
            self.state.reading, self.state.alert = source.name, None
        try:
            volume = await asyncio.to_thread(read_volume, source)
            self.session.forget_result()
            self.session.set_volume(volume)
            self.scene.show_volume(volume, self.state.greys if self.session.preflight.ready else None)
            self.session.ask_estimate()
        except DeepSegError as error:
            error.message = error.message.replace(f"{source.parent}{os.sep}", "")  # users know the file by its name
            self._say(error)
        finally:
            with self.state:
                self.state.reading = ""

    def segment(self) -> None:
        """Start to segment."""
        self.state.alert = None
        with self._saying():
            self.session.segment()

    def cancel(self) -> None:
        """Stop the task."""
        self.session.cancel()

    def install(self, model: str) -> None:
        """Download a model; the page has shown its licence and size."""
        self.state.choosing_model = False
        with self._saying():
            self.session.install(model)

    def choose_all(self) -> None:
        """Choose all structures of the model."""
        self.session.choose_structures(self.session.model.structures if self.session.model else [])

    def choose_preset(self, preset: str) -> None:
        """Choose those of a preset."""
        self.session.choose_preset(preset)

    def jump_to(self, name: str) -> None:
        """Make a structure the current one and centre the views on it."""
        self.state.current = name
        self.scene.jump_to(name)

    def undo(self) -> None:
        """Take the last stroke back."""
        self.editing.undo()

    def redo(self) -> None:
        """Do the stroke again."""
        self.editing.redo()

    def export(self) -> None:
        """Write the formats chosen; the download starts when they are ready."""
        self.state.exporting, self.state.alert = False, None
        with self._saying():
            self._settle()
            self.session.export(self.transfers.export_folder(), list(self.state.formats), self._corrected)

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

        @change("fill", "solid")
        def _(fill, solid, **_):
            self.scene.set_opacity(fill, solid)

        @change("greys")
        def _(greys, **_):
            self.scene.set_window(greys)

        @change("tool", "current", "brush")
        def _(tool, current, brush, **_):
            self.editing.use(tool or "", current, brush)

    def _show(self, part: str) -> None:
        session, state = self.session, self.state
        to_state = getattr(binding, f"{part}_state", None)
        if to_state is not None:
            state.update(to_state(session))
        if part == "result":
            self._drop_result()
        if part == "result" and session.result is not None:
            self.scene.show_result(session.result.label_map, session.model.id)
            self.scene.set_opacity(state.fill, state.solid)
            state.visible = [s.name for s in session.result.label_map.structures]
            session.show_surfaces()
        elif part == "measurements" and self.scene.segmentation_node is not None:
            state.update(binding.result_state(session))
            state.tab = "result"
        elif part == "surfaces" and session.surfaces is not None:
            self.scene.show_surfaces(session.surfaces, look=self._corrected is None)
        elif part == "exported":
            asyncio.ensure_future(self._deliver())  # noqa: RUF006
        elif part == "run" and session.run.phase is Phase.FAILED:
            self._say(session.run.error)
        state.why_not = session.why_not

    async def _deliver(self) -> None:
        with self._saying():
            url = await self.transfers.offer(self.session.exported, f"{self.session.result_volume.name}-deepseg")
            self._start_download.exec(url)

    def _drop_result(self) -> None:
        self.scene.clear_segmentation()
        self._corrected = self._stroke_at = None
        self.state.update({"rows": [], "tool": "", "current": ""})

    def _edited(self) -> None:
        self.state.update(self.editing.state)
        if self.scene.segmentation_node is not None and (self.editing.state["can_undo"] or self._corrected):
            self._stroke_at = time.monotonic()

    def _settle(self) -> None:
        """Take strokes into account."""
        if self._stroke_at is not None:
            self._stroke_at = None
            self._corrected = self.scene.label_map(self.session.result_volume)
            self.session.measure(self._corrected)
            self.session.show_surfaces(self._corrected)

    async def _poll(self) -> None:
        while True:
            try:
                with self.state:
                    self.session.poll()
                    if self._stroke_at is not None and time.monotonic() - self._stroke_at > SETTLE_S:
                        self._settle()
            except Exception as error:  # whatever it is, the page goes on
                traceback.print_exc()
                what = f"Something unforeseen went wrong ({type(error).__name__}: {error})."
                self._say(DeepSegError(what, "The terminal where `deepseg web` runs says more."))
            await asyncio.sleep(POLL_S)

    def _say(self, error: DeepSegError) -> None:
        with self.state:
            self.state.alert = binding.alert(error)

    @contextlib.contextmanager
    def _saying(self):
        try:
            yield
        except DeepSegError as error:
            self._say(error)
