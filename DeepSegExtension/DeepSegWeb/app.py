"""The web application: binds the view model to the page and runs the server."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import trame_slicer.module
from trame.app import get_server
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.errors import DeepSegError
from DeepSegLogic.io import read_volume
from DeepSegLogic.viewmodel.session import Phase, Session

from . import binding, panels
from .gate import Gate
from .scene import Scene
from .views import make_views

POLL_S = 0.08
_ASSETS = {"serve": {"deepseg": str(Path(__file__).with_name("serve"))}, "scripts": ["deepseg/deepseg.js"]}
_ASSETS["styles"] = ["deepseg/deepseg.css"]
_THEME = {
    "theme": {
        "defaultTheme": "deepseg",
        "themes": {
            "deepseg": {
                "dark": True,
                "colors": {
                    "background": "#15181c",
                    "surface": "#1c2127",
                    "primary": "#4aa3df",
                    "warning": "#e0a84a",
                    "error": "#e07070",
                },
            }
        },
    }
}


class WebApp:
    """One session in a browser.

    Args:
        source: what to open at once, or None.
    """

    def __init__(self, source: Path | None = None):
        self.server = get_server("deepseg", client_type="vue3")
        self.state = self.server.state
        self.server.enable_module(trame_slicer.module)
        self.server.enable_module(_ASSETS)
        self.gate = Gate()
        self.session = Session()
        self.scene = Scene()
        self._layouts = make_views(self.server, self.scene.app)
        self._source = source
        self.state.trame__title = "DeepSeg"
        self.state.update(binding.initial())
        for part in ("input", "models", "structures"):
            self._show(part)
        self.session.changed.connect(self._show)
        self._bind()
        self._build()

    def start(self, host: str, port: int, ready) -> None:
        """Serve until it is stopped; ``ready(url)`` is called once."""
        self.server.controller.on_server_bind.add(lambda web_server: self.gate.attach(web_server.app))

        @self.server.controller.add_task("on_server_ready")
        async def _(**_state):
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{self.server.port}/index.html?token={self.gate.token}")
            if self._source is not None:
                await self.open(self._source)
            await self._poll()

        try:
            self.server.start(
                host=host,
                port=port,
                open_browser=False,
                show_connection_info=False,
                disable_logging=True,
                timeout=0,
            )
        finally:
            self.session.close()

    # --- commands of the page ----------------------------------------------------------------------------------

    async def open(self, source: Path) -> None:
        """Read a volume and show it."""
        with self.state:
            self.state.reading, self.state.alert = source.name, None
        try:
            volume = await asyncio.to_thread(read_volume, source)
            self.scene.show_volume(volume)
            self.session.set_volume(volume)
            self.session.ask_estimate()
        except DeepSegError as error:
            self.state.alert = binding.alert(error)
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

    def choose_all(self) -> None:
        """Choose all structures of the model."""
        self.session.choose_structures(self.session.model.structures if self.session.model else [])

    def choose_preset(self, preset: str) -> None:
        """Choose those of a preset."""
        self.session.choose_preset(preset)

    def jump_to(self, name: str) -> None:
        """Centre the views on a structure."""
        self.state.current = name
        self.scene.jump_to(name)

    # --- binding -----------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        session, change = self.session, self.state.change

        @change("model")
        def _(model, **_):
            if model and (session.model is None or model != session.model.id):
                with self._saying():
                    session.choose_model(model)
                    session.ask_estimate()

        @change("chosen")
        def _(chosen, **_):
            if chosen != session.chosen:
                session.choose_structures(chosen)

        @change("force")
        def _(force, **_):
            session.force = force
            self.state.why_not = session.why_not

        @change("visible")
        def _(visible, **_):
            if self.scene.segmentation_node is not None:
                self.scene.set_visible(set(visible))

        @change("fill", "solid")
        def _(fill, solid, **_):
            self.scene.set_opacity(fill, solid)

    def _show(self, part: str) -> None:
        session, state = self.session, self.state
        to_state = getattr(binding, f"{part}_state", None)
        if to_state is not None:
            state.update(to_state(session))
        if part == "result":
            self.scene.show_result(session.result.label_map, session.model.id)
            self.scene.set_opacity(state.fill, state.solid)
            state.visible = [s.name for s in session.result.label_map.structures]
            session.show_surfaces()
        elif part == "measurements":
            state.update(binding.result_state(session))
            state.tab = "result"
        elif part == "surfaces" and session.surfaces is not None:
            self.scene.show_surfaces(session.surfaces)
        elif part == "run" and session.run.phase is Phase.FAILED:
            state.alert = binding.alert(session.run.error)
        state.why_not = session.why_not

    async def _poll(self) -> None:
        while True:
            with self.state:
                self.session.poll()
            await asyncio.sleep(POLL_S)

    @contextlib.contextmanager
    def _saying(self):
        """Errors are said on the page."""
        try:
            yield
        except DeepSegError as error:
            self.state.alert = binding.alert(error)

    # --- page --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        with VAppLayout(self.server, vuetify_config=_THEME, full_height=True) as layout:
            with v3.VAppBar(density="compact", flat=True, color="surface"):
                v3.VAppBarTitle("DeepSeg", classes="flex-0-0 font-weight-medium mr-4")
                html.Span("{{ volume_name }}", classes="text-body-2 text-medium-emphasis text-truncate")
                v3.VSpacer()
                v3.VChip("Research use only", size="small", color="warning", variant="tonal", classes="mr-3")
            with v3.VNavigationDrawer(permanent=True, width=330, color="surface"):
                with v3.VTabs(v_model=("tab",), density="compact", grow=True, color="primary"):
                    v3.VTab("Segment", value="segment")
                    v3.VTab("Result", value="result")
                with html.Div(v_show=("tab === 'segment'",), classes="px-4 pb-4"):
                    panels.segment_panel(self)
                with html.Div(v_show=("tab === 'result'",), classes="px-4 pb-4"):
                    panels.result_panel(self)
                with v3.Template(v_slot_append=True), html.Div(classes="pa-4"):
                    with v3.VAlert(
                        v_if=("alert",),
                        type="error",
                        variant="tonal",
                        density="compact",
                        closable=True,
                        click_close="alert = null",
                        classes="mb-3 ds-note",
                    ):
                        html.Div("{{ alert.message }}")
                        html.Div("{{ alert.remedy }}", classes="mt-1")
                    panels.run_panel(self)
            with v3.VMain(style="height: 100vh"), html.Div(classes="ds-views d-flex"):
                self._layouts.initialize_layout_grid(layout)
