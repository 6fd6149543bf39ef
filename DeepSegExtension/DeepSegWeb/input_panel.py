"""The input in the drawer: the volume, further images of the model, warnings."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import call, careful, title


def input_panel(app) -> None:
    """What is known about the input, and what can be done about it."""
    title("Input")
    with html.Div(v_if=("!facts",), classes="ds-note"):
        html.Span("No CT loaded. Open a file, a DICOM folder or a scene (.mrb).")
    with html.Div(v_else=True):
        html.Div("{{ volume_name }}", classes="text-body-2 font-weight-medium text-truncate")
        with html.Div(classes="d-flex ga-3"):
            with html.Div():
                html.Div("{{ facts }}", classes="ds-note")
                html.Div("{{ shows }}", v_if=("shows",), classes="ds-note")
            html.Img(
                v_if=("field_of_view",),
                src=("field_of_view",),
                alt="The part of the body that the scan seems to show",
                height=100,
            )
    _channels(app)
    with v3.VAlert(
        v_for="(note, i) in notes",
        key=("i",),
        type=("note.blocking ? 'warning' : 'info'",),
        variant="tonal",
        density="compact",
        classes="mt-2 ds-note",
    ):
        html.Span("{{ note.text }} {{ note.remedy }}")
    with html.Div(v_if=("ways_out.length",), classes="d-flex ga-2 mt-2"):
        v3.VBtn(
            "{{ way }}",
            v_for="way in ways_out",
            key=("way",),
            size="small",
            variant="tonal",
            disabled=("run.busy || !!reading",),
            click=careful(app, app.opening.take_way_out, "[way]"),
        )
    v3.VCheckbox(
        v_if=("notes.some((n) => n.blocking)",),
        v_model=("force",),
        label="Segment anyway",
        density="compact",
        hide_details=True,
    )


def _channels(app) -> None:
    """A line for each further image that the model sees; none for most models."""
    with html.Div(v_for="channel in channels", key=("channel.name",), classes="d-flex align-center mt-1"):
        html.Span("{{ channel.name }}: {{ channel.volume || 'none' }}", classes="ds-note text-truncate flex-grow-1")
        for label, icon, click in (
            ("open file", "mdi-file-outline", "window.deepseg.pick(false, 'channel')"),
            ("DICOM folder", "mdi-folder-outline", "window.deepseg.pick(true, 'channel')"),
            ("open on server", "mdi-server-outline", call(app, app.opening.browse, "[shelf.path || ``]")),
        ):
            on_server = {"v_if": ("has_shelf",)} if "server" in label else {}
            v3.VBtn(
                icon=icon,
                size="x-small",
                variant="text",
                disabled=("run.busy || !!reading || !!uploading",),
                click=f"{call(app, app.opening.expect, '[channel.name]')}; shelf_for = channel.name; {click}",
                raw_attrs=[f":aria-label=\"channel.name + ': {label}'\"", f":title=\"channel.name + ': {label}'\""],
                **on_server,
            )
