"""The drawer's draft of a report: only where a language model is set up."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import title


def draft_panel(app) -> None:
    """A button, and the draft to correct; the report of an export holds it."""
    with html.Section(v_if=("draft_offered",), raw_attrs=['aria-label="Draft of the report"']):
        title("Draft of the report")
        v3.VBtn(
            "Draft report",
            size="small",
            variant="tonal",
            disabled=("run.busy || delivering",),
            click=app.drafting.write,
            raw_attrs=['title="A language model words volumes, changes, distances and findings"'],
        )
        html.Div("{{ draft_model }}", classes="ds-note mt-1")
        with html.Div(v_if=("drafted",)):
            html.Div("{{ draft_mark }}", classes="ds-note text-warning mt-1")
            v3.VTextarea(
                v_model=("draft_text",),
                auto_grow=True,
                rows=4,
                density="compact",
                variant="outlined",
                hide_details=True,
                classes="mt-1",
                raw_attrs=['aria-label="Draft of the findings"'],
            )
            html.Div("[?]: struck out, since it is not in the table of measurements.", classes="ds-note mt-1")
            html.Div("{{ note }}", v_for="note in draft_notes", key=("note",), classes="ds-note")
            html.Div("Not in the table: {{ draft_unknown }}.", v_if=("draft_unknown",), classes="ds-note")
            html.Div("Export it with the report (HTML).", classes="ds-note")
