"""The page: bar, drawer, views, dialog."""

from __future__ import annotations

from pathlib import Path

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v3

from . import panels
from .scene import WINDOWS

ASSETS = {
    "serve": {"deepseg": str(Path(__file__).with_name("serve"))},
    "scripts": ["deepseg/deepseg.js"],
    "styles": ["deepseg/deepseg.css"],
}
SURFACE_FORMATS = {"stl": "STL", "glb": "GLB", "obj": "OBJ", "ply": "PLY", "3mf": "3MF"}
OTHER_FORMATS = {"seg.nrrd": "Segmentation, SEG.NRRD", "nii.gz": "Label map, NIfTI", "csv": "Measurements, CSV"}
WHOLE_FORMATS = {"html": "Report to pass on, HTML", "mrb": "Whole scene for 3D Slicer, MRB"}
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


def build_page(app, layouts) -> client.JSEval:
    """Build the page of an application; returns what starts a download, given its address."""
    with VAppLayout(app.server, vuetify_config=_THEME, full_height=True) as layout:
        with v3.VAppBar(density="compact", flat=True, color="surface"):
            _bar(app)
        with v3.VNavigationDrawer(permanent=True, width=330, color="surface"):
            _drawer(app)
        with v3.VMain(style="height: 100vh"), html.Div(classes="ds-views d-flex"):
            layouts.initialize_layout_grid(layout)
        _export(app)
        _models(app)
        return client.JSEval(exec="window.deepseg.download($event)")


def _bar(app) -> None:
    v3.VAppBarTitle("DeepSeg", classes="flex-0-0 font-weight-medium mr-4")
    busy = ("run.busy || !!reading || !!uploading",)
    v3.VBtn("Open file", prepend_icon="mdi-file-outline", click="window.deepseg.pick(false)", disabled=busy)
    v3.VBtn("DICOM folder", prepend_icon="mdi-folder-outline", click="window.deepseg.pick(true)", disabled=busy)
    v3.VBtn("Export", prepend_icon="mdi-download", click="exporting = true", disabled=("run.busy || !rows.length",))
    html.Span("{{ volume_name }}", classes="text-body-2 text-medium-emphasis text-truncate ml-4")
    v3.VSpacer()
    with v3.VBtnToggle(v_model=("greys",), density="compact", mandatory=True, variant="text", classes="mr-3"):
        for name in WINDOWS:
            v3.VBtn(name, value=name, size="small", raw_attrs=[f'aria-label="Grey values: {name}"'])
    v3.VChip("Research use only", size="small", color="warning", variant="tonal", classes="mr-3")


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


def _export(app) -> None:
    with v3.VDialog(v_model=("exporting",), max_width=420), v3.VCard(title="Export"):
        with v3.VCardText():
            html.Div("Surfaces, one closed mesh for each structure", classes="ds-section mt-0")
            with html.Div(classes="d-flex flex-wrap"):
                _boxes(SURFACE_FORMATS)
            html.Div("Voxels and numbers", classes="ds-section")
            _boxes(OTHER_FORMATS)
            html.Div("All in one file", classes="ds-section")
            _boxes(WHOLE_FORMATS)
            html.Div(
                "Files are in LPS, as other programs expect. Research use only.",
                classes="ds-note mt-2",
            )
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="exporting = false")
            v3.VBtn("Download", color="primary", variant="flat", click=app.export, disabled=("!formats.length",))


def _models(app) -> None:
    with (
        v3.VDialog(v_model=("choosing_model",), max_width=640, scrollable=True),
        v3.VCard(title="Models", style="max-height: 85vh"),
    ):
        with html.Div(classes="px-6 pb-2"):
            v3.VTextField(
                v_model=("model_words",),
                label="Find a model by name or structure",
                prepend_inner_icon="mdi-magnify",
                density="compact",
                variant="outlined",
                hide_details=True,
                clearable=True,
            )
        with v3.VCardText():
            html.Div("Nothing found.", v_if=("!models.length",))
            with html.Div(v_for="m in models", key=("m.value",), classes="d-flex align-center ga-3 py-2"):
                with html.Div(classes="flex-grow-1"):
                    html.Div("{{ m.title }}", classes="font-weight-medium")
                    html.Div("{{ m.subtitle }} · {{ m.size }}", classes="ds-note")
                    html.Div("Has {{ m.found }}", v_if=("m.found",), classes="ds-note")
                    html.Div("From {{ m.source }}. {{ m.use }}", v_if=("!m.installed",), classes="ds-note")
                html.Span("Installed", v_if=("m.installed",), classes="ds-note")
                v3.VBtn("Install", v_else=True, size="small", variant="tonal", click=(app.install, "[m.value]"))
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="choosing_model = false; model_words = ''")


def _boxes(formats: dict[str, str]) -> None:
    for value, label in formats.items():
        v3.VCheckbox(
            v_model=("formats",), value=value, label=label, density="compact", hide_details=True, classes="mr-3"
        )
