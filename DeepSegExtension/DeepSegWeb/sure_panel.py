"""The drawer's part on why the model says so, and how sure it is."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.session.sureness import METHODS

from .widgets import title


def sure_panel(app) -> None:
    """Explain the current structure; ask for a second opinion, look where it differs, and take structures from it."""
    sure = app.sureness
    title("Why and how sure")
    with html.Div(classes="d-flex align-center ga-2"):
        _choice("sure_method", [{"title": t, "value": n} for n, t in METHODS.items()], "Explain by")
        _button("Explain", (sure.explain, "[sure_method]"), "Show which parts of the image speak for it")
    with html.Div(classes="d-flex align-center ga-2 mt-2"):
        _choice("sure_other", None, "Second opinion of")
        _button("Ask", (sure.ask, "[sure_other]"), "Segment again in another way, and show where the results differ")
    html.Div("{{ sure_told }}", v_if=("sure_told",), classes="ds-note mt-1", raw_attrs=['aria-live="polite"'])
    v3.VCheckbox(
        v_if=("sure_overlay",),
        v_model=("sure_visible",),
        label=("'Overlay: ' + sure_overlay",),
        density="compact",
        hide_details=True,
    )
    with (
        html.Div(v_if=("sure_rows.length",), classes="ds-scroll mt-1"),
        html.Table(classes="ds-table", raw_attrs=['aria-label="Where the second opinion differs"']),
    ):
        with html.Thead(), html.Tr():
            html.Th("Structure")
            html.Th("Dice", classes="num")
            html.Th("Differs, ml", classes="num")
            html.Th()
        with html.Tbody(), html.Tr(v_for="row in sure_rows", key=("row.name",), raw_attrs=[':title="row.note"']):
            with html.Td():
                html.Button("{{ row.title }}", classes="name", click=(sure.jump_to, "[row.name]"))
            html.Td("{{ row.dice }}", classes="num")
            html.Td("{{ row.ml }}", classes="num")
            with html.Td():
                v3.VBtn(
                    "Take",
                    size="x-small",
                    variant="text",
                    disabled=("run.busy",),
                    click=(sure.take, "[row.name]"),
                    raw_attrs=[":aria-label=\"'Take ' + row.title\""],
                )


def _choice(name: str, items, label: str) -> None:
    v3.VSelect(
        v_model=(name,),
        items=("sure_others",) if items is None else (f"{name}_items", items),
        label=label,
        density="compact",
        variant="outlined",
        hide_details=True,
        disabled=("run.busy",),
    )


def _button(label: str, click, tip: str) -> None:
    v3.VBtn(
        label,
        size="small",
        variant="tonal",
        click=click,
        disabled=("!!sure_why_not",),
        raw_attrs=[f":title=\"sure_why_not || '{tip}'\""],
    )
