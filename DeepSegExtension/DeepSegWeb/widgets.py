"""Pieces that the drawer is made of."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3


def call(app, method, values: str) -> str:
    """What calls a method of the server, for a list of values of the page, where more is to be done at a click."""
    return f"trigger('{app.server.trigger_name(method)}', {values})"


def careful(app, method, values: str = "[]") -> str:
    """The same, but what would cost corrections is asked about first."""
    return f"window.deepseg.careful(() => {call(app, method, values)})"


def dialog(label: str, **options) -> v3.VDialog:
    """A dialog.

    Args:
        label: its name for screen readers, as an attribute in a template has it: ``aria-label="Export"``.
        options: see ``VDialog``.
    """
    return v3.VDialog(scrollable=True, raw_attrs=[label, '@after-leave="window.deepseg.giveBack()"'], **options)


def title(text: str) -> None:
    """A heading."""
    html.Div(text, classes="ds-section", raw_attrs=['role="heading"', 'aria-level="2"'])


def slider(name: str, label: str, low: float = 0, high: float = 1, step: float = 0.05) -> None:
    """A slider of a number of the state; its name is the label up to a comma."""
    html.Div(label, classes="ds-note")
    v3.VSlider(
        v_model=(name,),
        min=low,
        max=high,
        step=step,
        density="compact",
        hide_details=True,
        raw_attrs=[f'aria-label="{label.partition(",")[0]}"'],
    )


def button(label: str, click, disabled: str = "false", tip: str = "''") -> None:
    """A small button; ``disabled`` and ``tip`` are expressions of the page."""
    v3.VBtn(label, size="small", variant="tonal", click=click, disabled=(disabled,), raw_attrs=[f':title="{tip}"'])
