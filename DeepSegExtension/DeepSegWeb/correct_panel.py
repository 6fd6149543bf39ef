"""The Correct part of the drawer."""

from __future__ import annotations

import json

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.session.reach import MOST_NOTCHES, NOTCHES

from .correctors import corrector_list
from .editing import BRUSHES, LIMITED, PROMPTS
from .widgets import slider, title


def correct_panel(app) -> None:
    """Tools for the current structure; ``deepseg.js`` reads their keys from ``aria-keyshortcuts``."""
    title("Correct")
    html.Div("Select a structure in the list first.", v_if=("!current",), classes="ds-note")
    with html.Div(v_else=True):
        with html.Div(classes="d-flex align-center justify-space-between mb-1"):
            current = "{{ rows.find((r) => r.name === current)?.title }}"
            html.Span(current, classes="text-body-2 font-weight-medium")
            with html.Div():
                _icon("mdi-undo", "Undo", "Control+Z", app.correcting.undo, "!can_undo")
                _icon("mdi-redo", "Redo", "Control+Y Control+Shift+Z", app.correcting.redo, "!can_redo")
                _icon("mdi-close", "Deselect tool", "Escape", app.correcting.put_down, "!tool")
        corrector_list()
        with _group():
            _tool(app, "add", "Add", "A", "mdi-plus")
            _tool(app, "remove", "Remove", "R", "mdi-minus")
        with _group(v_if=(_among(PROMPTS),)):
            _shape(app, "stroke", "Click or stroke", "S", "mdi-gesture")
            _shape(app, "box", "Box", "X", "mdi-rectangle-outline")
            _shape(app, "lasso", "Lasso", "L", "mdi-lasso")
        with _group():
            _tool(app, "paint", "Paint", "P", "mdi-brush")
            _tool(app, "erase", "Erase", "E", "mdi-eraser")
            _tool(app, "draw", "Draw", "D", "mdi-draw")
            _tool(app, "cut", "Cut", "C", "mdi-content-cut")
        with html.Div(v_if=(_among(PROMPTS),), classes="mt-2"):
            told = "Reach, {{ (2 ** reach).toPrecision(2) }}"
            slider("reach", told, -MOST_NOTCHES / NOTCHES, MOST_NOTCHES / NOTCHES, 1 / NOTCHES)
        html.Div("{{ told }}", classes="ds-note", raw_attrs=['aria-live="polite"'])
        with html.Div(v_if=(_among(BRUSHES),)):
            slider("brush", "Brush, {{ brush }} mm", 2, 60, 1)
        with html.Div(v_if=(_among(LIMITED),), classes="d-flex align-center ga-1"):
            label = "in_hu ? 'Limit to HU range' : 'Limit to grey values'"
            v3.VCheckbox(v_model=("limited",), label=(label,), density="compact", hide_details=True)
            _number("low", "Lowest")
            html.Span("to", classes="ds-note")
            _number("high", "Highest")
        with html.Div(classes="d-flex flex-wrap ga-2 mt-2"):
            _tool(app, "piece", "Delete island", "I", variant="tonal")
            v3.VBtn("Keep largest", size="small", variant="tonal", click=app.correcting.keep_largest)
            v3.VBtn("Smooth", size="small", variant="tonal", click=app.correcting.smooth)


def _among(tools) -> str:
    return f"{json.dumps(list(tools))}.includes(tool)".replace('"', "'")


def _group(**options) -> v3.VBtnGroup:
    return v3.VBtnGroup(density="compact", variant="outlined", classes="ds-tools", **options)


def _tool(app, value: str, label: str, key: str, icon: str | None = None, **options) -> None:
    _choice(app.correcting.take_tool, "tool", value, label, key, prepend_icon=icon, **options)


def _shape(app, value: str, label: str, key: str, icon: str) -> None:
    _choice(app.correcting.take_shape, "shape", value, label, key, prepend_icon=icon)


def _choice(take, name: str, value: str, label: str, key: str, **options) -> None:
    pressed = f"{name} === '{value}'"  # set by the server: else a press in a view could arrive before its tool
    v3.VBtn(
        label,
        active=(pressed,),
        click=(take, f"['{value}']"),
        size="small",
        raw_attrs=[f':aria-pressed="{pressed}"', f'aria-keyshortcuts="{key}"', f'title="{label} ({key})"'],
        **options,
    )


def _icon(icon: str, label: str, keys: str, click, disabled: str) -> None:
    v3.VBtn(
        icon=icon,
        size="small",
        variant="text",
        click=click,
        disabled=(disabled,),
        raw_attrs=[
            f'aria-label="{label}"',
            f'aria-keyshortcuts="{keys}"',
            f'title="{label} ({keys.split()[0].replace("Control", "Ctrl")})"',
        ],
    )


def _number(name: str, label: str) -> None:
    html.Input(
        v_model=(name,),
        type="number",
        step=10,
        classes="ds-number",
        disabled=("!limited",),
        raw_attrs=[f":aria-label=\"'{label} ' + (in_hu ? 'HU' : 'grey value')\""],
    )
