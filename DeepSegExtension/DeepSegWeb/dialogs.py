"""Dialogs: export, models, the server's folder, and questions."""

from __future__ import annotations

from functools import partial

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.surfaces.formats import FORMATS

from .panels import search_field
from .widgets import call, dialog

SURFACE_FORMATS = {kind.suffix: kind.title for kind in FORMATS.values()}
OTHER_FORMATS = {
    "seg.nrrd": "Segmentation (.seg.nrrd)",
    "nii.gz": "Label map (NIfTI)",
    "csv": "Measurements (CSV)",
    "plan": "Plan (JSON)",
}
DICOM_FORMATS = {
    "dcm-seg": "DICOM SEG",
    "dcm-labelmap": "DICOM LABELMAP",
    "rtstruct": "RTSTRUCT",
    "sr": "DICOM SR",
    "dcm-stl": "DICOM STL",
}
WHOLE_FORMATS = {"html": "Report (HTML)", "mrb": "Scene for 3D Slicer (MRB)"}


def add_dialogs(app) -> None:
    """Add them all to the page."""
    _export(app)
    _models(app)
    _question(app)
    _shelf(app)


def _export(app) -> None:
    with (
        dialog('aria-label="Export"', v_model=("exporting",), max_width=420),
        v3.VCard(title="Export", style="max-height: 90vh"),
    ):
        with v3.VCardText():
            html.Div("Surfaces: one closed mesh per structure", classes="ds-section mt-0")
            with html.Div(classes="d-flex flex-wrap"):
                _boxes(SURFACE_FORMATS)
            html.Div("Label maps and measurements", classes="ds-section")
            _boxes(OTHER_FORMATS)
            html.Div("DICOM, beside the series of the CT", classes="ds-section")
            _boxes(DICOM_FORMATS, disabled=("!!no_dicom",))
            html.Div("{{ no_dicom }}", v_if=("no_dicom",), classes="ds-note")
            html.Div("Everything in one file", classes="ds-section")
            _boxes(WHOLE_FORMATS)
            html.Div(
                "Structures that are hidden in the views are exported, too.",
                v_if=("rows.some((r) => r.found && !visible.includes(r.name))",),
                classes="ds-note mt-2",
            )
            html.Div(
                "Surfaces are in LPS coordinates. For research use only.",
                classes="ds-note mt-2",
            )
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="exporting = false")
            v3.VBtn(
                "Send to archive",
                v_if=("has_archive",),
                click=f"exporting = false; {call(app, app.archive.send, '[formats]')}",
                disabled=(f"!formats.some((f) => {[*DICOM_FORMATS]}.includes(f))",),
                raw_attrs=['title="Send the DICOM formats that are ticked"'],
            )
            v3.VBtn(
                "Download",
                color="primary",
                variant="flat",
                click=f"exporting = false; {call(app, app.export, '[{formats, draft_text}]')}",
                disabled=("!formats.length",),
            )


def _models(app) -> None:
    with (
        dialog('aria-label="Models"', v_model=("choosing_model",), max_width=640),
        v3.VCard(title="Models", style="max-height: 85vh"),
    ):
        with html.Div(classes="px-6 pb-2"):
            search_field("model_words", "Search by name or structure")
        with v3.VCardText():
            html.Div("No matches.", v_if=("!models.length",))
            with html.Div(v_for="m in models", key=("m.value",), classes="d-flex align-center ga-3 py-2"):
                with html.Div(classes="flex-grow-1"):
                    html.Div("{{ m.title }}", classes="font-weight-medium")
                    html.Div("{{ m.subtitle }} · {{ m.size }}", classes="ds-note")
                    html.Div("Matches: {{ m.found }}", v_if=("m.found",), classes="ds-note")
                    html.Div("Source: {{ m.source }}. {{ m.use }}", v_if=("!m.installed",), classes="ds-note")
                html.Span("Installed", v_if=("m.installed && !m.missing",), classes="ds-note")
                _ask("Install", "m.missing")
                _ask("Remove", "m.remove")
        with v3.VCardActions():
            v3.VBtn("Import from file", prepend_icon="mdi-file-import-outline", click="window.deepseg.pickModel()")
            v3.VSpacer()
            v3.VBtn("Close", click="choosing_model = false; model_words = ''")


def _ask(what: str, condition: str) -> None:
    v3.VBtn(
        what,
        v_if=(condition,),
        size="small",
        variant="tonal",
        click=f"asking = m.{what.lower()}",
        raw_attrs=[f":aria-label=\"'{what} ' + m.title\""],
    )


def _question(app) -> None:
    with (
        dialog(
            ':aria-label="asking?.text"',
            model_value=("!!asking",),
            update_modelValue="asking = null",
            max_width=460,
        ),
        v3.VCard(title=("asking?.title",)),
    ):
        v3.VCardText("{{ asking?.text }}", style="white-space: pre-line")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click="asking = null")
            for kind, click in {
                "Install": f"{call(app, app.install, '[asking.model]')}; choosing_model = false",
                "Remove": call(app, app.remove, "[asking.model]"),
                "Import": "window.deepseg.sendModel(); choosing_model = false",
                "Replace": "window.deepseg.goOn()",
                "Delete": call(app, app.learning.remove, "[asking.digest]"),
                "Discard": call(app, app.learning.discard, "[]"),
                "Run there": call(app, app.places.choose, "[asking.url]"),
            }.items():
                v3.VBtn(
                    kind,
                    v_if=(f"asking?.kind === '{kind}'",),
                    color="primary",
                    variant="flat",
                    click=f"{click}; asking = null",
                )


def _shelf(app) -> None:
    with (
        dialog('aria-label="Open on server"', v_model=("browsing",), max_width=560),
        v3.VCard(title=("shelf.name",), subtitle="Open on server", style="max-height: 85vh"),
    ):
        with v3.VCardText(classes="px-2"):
            html.Div(
                "No files to open.",
                v_if=("!shelf.folders.length && !shelf.files.length && !shelf.series",),
                classes="ds-note px-4",
            )
            with v3.VList(density="compact", raw_attrs=['aria-label="Folders and files"']):
                v3.VListItem(
                    v_if=("shelf.path",),
                    title="Parent folder",
                    prepend_icon="mdi-arrow-up",
                    click=(app.opening.browse, "[shelf.up]"),
                )
                _entries("shelf.folders", "mdi-folder-outline", partial(call, app, app.opening.browse))
                _entries("shelf.files", "mdi-file-outline", partial(_taking, app))
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="browsing = false")
            v3.VBtn(
                "Open this DICOM folder",
                v_if=("shelf.series",),
                color="primary",
                variant="flat",
                click=_taking(app, "[shelf.path]"),
            )


def _taking(app, values: str) -> str:
    """Open what was chosen: instead of the input, or for a channel."""
    taken = call(app, app.opening.take, f"{values}.concat(shelf_for)")
    return f"shelf_for ? {taken} : window.deepseg.careful(() => {taken})"


def _entries(names: str, icon: str, action) -> None:
    v3.VListItem(
        v_for=f"name in {names}",
        key=("name",),
        title=("name",),
        prepend_icon=icon,
        click=action("[(shelf.path ? shelf.path + '/' : '') + name]"),
    )


def _boxes(formats: dict[str, str], **options) -> None:
    for value, label in formats.items():
        v3.VCheckbox(
            v_model=("formats",),
            value=value,
            label=label,
            density="compact",
            hide_details=True,
            classes="mr-3",
            **options,
        )
