"""The drawer's part in which a model learns from corrections."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import button, call, dialog, title


def learn_panel(app) -> None:
    """The collected cases, the table of a new version, and their buttons."""
    learning = app.learning
    title("Learn from corrections")
    with html.Div(v_for="c in cases", key=("c.digest",), classes="d-flex align-center ga-2"):
        html.Div("{{ c.name }}: {{ c.text }} ({{ c.size }})", classes="flex-grow-1 ds-note")
        v3.VBtn(
            icon="mdi-delete-outline",
            size="x-small",
            variant="text",
            disabled=("run.busy",),
            click="asking = {kind: 'Delete', title: 'Delete a corrected case', digest: c.digest, "
            "text: 'Delete ' + c.name + ' from the server?'}",
            raw_attrs=[":aria-label=\"'Delete ' + c.name\""],
        )
    v3.VTextField(
        v_model=("case_patient",),
        label="Patient",
        placeholder="the same code for each visit",
        disabled=("!!learning.collect",),
        density="compact",
        variant="outlined",
        hide_details=True,
        classes="mt-2",
        raw_attrs=[
            'autocomplete="off"',
            'title="Any code: cases of one patient are held out together, and only a digest of the code is kept"',
        ],
    )
    with html.Div(classes="d-flex flex-wrap ga-2 align-center mt-1"):
        button("Collect result", learning.ask, "!!learning.collect", "learning.collect")
        button("Go back", learning.back, "!!learning.back", "learning.back")
    with html.Div(classes="d-flex ga-2 align-center mt-2"):
        button("Learn", (learning.learn, "[minutes]"), "!!learning.learn", "learning.learn")
        html.Input(
            v_model=("minutes",),
            type="number",
            min=1,
            max=1440,
            classes="ds-number",
            raw_attrs=['aria-label="Minutes to learn"'],
        )
        html.Span("min", classes="ds-note")
    html.Div("{{ learning.note }}", v_if=("learning.note",), classes="ds-note mt-1")
    with html.Div(v_if=("offer",), classes="mt-2"):
        html.Div("A new version is offered. {{ offer?.notes.join(' ') }}", classes="ds-note")
        with html.Table(classes="ds-table", raw_attrs=['aria-label="Dice before and after"']):
            with html.Thead(), html.Tr():
                for name, classes in (("Structure", ""), ("Compared", ""), ("Before", "num"), ("After", "num")):
                    html.Th(name, classes=classes)
            with html.Tbody(), html.Tr(v_for="row in offer?.rows", key=("row[0] + row[1]",)):
                html.Td("{{ row[1] }}")
                html.Td("{{ row[0] }}")
                html.Td("{{ row[3] }}", classes="num")
                html.Td("{{ row[4] }}", classes="num")
        with html.Div(classes="d-flex ga-2 mt-1"):
            button("Accept", learning.accept, "run.busy")
            discard = "asking = {kind: 'Discard', title: 'Discard', text: 'Delete the new version?'}"
            button("Discard", discard, "run.busy")
    _consent(app)


def _consent(app) -> None:
    with (
        dialog(
            'aria-label="Collect result"',
            model_value=("!!collecting",),
            update_modelValue="collecting = ''",
            max_width=460,
        ),
        v3.VCard(title="Collect result"),
    ):
        v3.VCardText("{{ collecting }}", style="white-space: pre-line")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Cancel", click="collecting = ''")
            v3.VBtn("Collect", color="primary", variant="flat", click=call(app, app.learning.collect, "[]"))
