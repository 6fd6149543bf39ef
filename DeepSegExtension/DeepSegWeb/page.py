"""The page: bar, drawer, views."""

from __future__ import annotations

from pathlib import Path

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.util.words import minus_text

from . import dialogs, panels
from .archive_dialog import archive_button, archive_dialog
from .scene import AUTO, WINDOWS
from .widgets import call

ASSETS = {
    "serve": {"deepseg": str(Path(__file__).with_name("serve"))},
    "scripts": ["deepseg/deepseg.js", "deepseg/windowing.js"],
    "styles": ["deepseg/deepseg.css"],
}
_COLORS = {
    "background": "#15181c",
    "surface": "#1c2127",
    "primary": "#4aa3df",
    "on-primary": "#06121b",
    "info": "#8fb8d8",
    "warning": "#e0a84a",
    "error": "#f08a8a",
}
_THEME = {"theme": {"defaultTheme": "deepseg", "themes": {"deepseg": {"dark": True, "colors": _COLORS}}}}
_NARROW = "700"  # pixels of a page whose drawer lies over the views
_TIGHT = "$vuetify.display.width < (has_shelf || has_archive ? 1320 : 860)"  # windows get a line of their own


def build_page(app, layouts) -> client.JSEval:
    """Build the page of an application; returns what starts a download, given its address."""
    with VAppLayout(app.server, vuetify_config=_THEME, full_height=True) as layout:
        with v3.VAppBar(density="compact", flat=True, color="surface", extended=(_TIGHT,), extension_height=40):
            _bar(app)
        with v3.VNavigationDrawer(
            v_model=("drawer",),
            mobile_breakpoint=(_NARROW,),
            width=330,
            color="surface",
            raw_attrs=[':inert="!drawer"'],
        ):
            _drawer(app)
        with v3.VMain(style="height: 100vh"), html.Div(classes="ds-views d-flex"):
            layouts.initialize_layout_grid(layout)
        dialogs.add_dialogs(app)
        archive_dialog(app)
        return client.JSEval(exec="window.deepseg.download($event)")


def _bar(app) -> None:
    v3.VBtn(
        icon="mdi-dock-left",
        size="small",
        click="drawer = !drawer",
        raw_attrs=['aria-label="Panel"', ':aria-pressed="drawer"', 'title="Show or hide the panel"'],
    )
    v3.VAppBarTitle("DeepSeg", tag="h1", classes="flex-0-0 font-weight-medium mr-4")
    busy = ("run.busy || !!reading || !!uploading",)
    v3.VBtn("Open file", prepend_icon="mdi-file-outline", click="window.deepseg.pick(false)", disabled=busy)
    v3.VBtn("DICOM folder", prepend_icon="mdi-folder-outline", click="window.deepseg.pick(true)", disabled=busy)
    v3.VBtn(
        "Open on server",
        prepend_icon="mdi-server-outline",
        v_if=("has_shelf",),
        click=f"shelf_for = ''; {call(app, app.opening.browse, '[shelf.path || ``]')}",
        disabled=busy,
    )
    archive_button(busy)
    v3.VBtn(
        "Export",
        prepend_icon="mdi-download",
        click="exporting = true",
        disabled=("run.busy || delivering || !rows.length",),
    )
    html.Span("{{ volume_name }}", classes="ds-wide text-body-2 text-medium-emphasis text-truncate ml-4")
    v3.VSpacer()
    _windows(app, v_if=(f"!({_TIGHT})",), classes="mr-3")
    v3.VChip("Research use only", size="small", color="warning", variant="tonal", classes="mr-3")
    with v3.Template(v_slot_extension=True):
        _windows(app, v_if=(_TIGHT,), classes="ml-auto mr-3")


def _windows(app, **place) -> None:
    """What drags in a slice do without another tool, and the presets; with keys of their own."""
    with html.Div(classes=f"d-flex align-center {place.pop('classes')}", **place):
        pressed = "!tool && !plan_drawn"
        tip = "Window/level: drag in a slice, to the side for the window, up or down for the level (W)"
        attributes = ['aria-label="Window/level"', f':aria-pressed="{pressed}"', 'aria-keyshortcuts="W"']
        v3.VBtn(
            icon="mdi-contrast-circle",
            size="small",
            active=(pressed,),
            click=app.take_window,
            raw_attrs=[*attributes, f'title="{tip}"'],
        )
        with v3.VBtnGroup(density="compact", variant="text"):
            ranges = (
                f"{minus_text(level - width / 2)} to {minus_text(level + width / 2)} HU"
                for width, level in WINDOWS.values()
            )
            tips = dict(zip(WINDOWS, ranges, strict=True)) | {AUTO: "From the grey values of this image"}
            for key, (name, range_tip) in enumerate(tips.items(), 1):
                tip = f"{range_tip} ({key})"
                shown = f"greys === '{name}'"
                attributes = [f'aria-label="Window: {name}"', f':aria-pressed="{shown}"', f'aria-keyshortcuts="{key}"']
                v3.VBtn(
                    name,
                    active=(shown,),
                    click=(app.windowing.choose, f"['{name}']"),
                    size="small",
                    raw_attrs=[*attributes, f'title="{tip}"'],
                )


def _drawer(app) -> None:
    with v3.Template(v_slot_prepend=True), v3.VTabs(v_model=("tab",), density="compact", grow=True, color="primary"):
        v3.VTab("Segment", value="segment")
        v3.VTab("Result", value="result")
    with html.Div(v_show=("tab === 'segment'",), classes="px-4 pb-4"):
        panels.segment_panel(app)
    with html.Div(v_show=("tab === 'result'",), classes="px-4 pb-4"):
        panels.result_panel(app)
    with v3.Template(v_slot_append=True), html.Div(classes="pa-4 ds-run"):
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
        panels.run_panel(app)
