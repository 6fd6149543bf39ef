"""The drawer's list of computers that networks can run on."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import call


def place_choice(app) -> None:
    """Not there without a saved server. What leaves the machine is asked about once, see ``places.py``."""
    chosen = call(app, app.places.choose, "[$event]")
    v3.VSelect(
        v_if=("places.length > 1",),
        model_value=("place",),
        update_modelValue=f"place_questions[$event] ? asking = place_questions[$event] : {chosen}",
        items=("places",),
        label="Run on",
        density="compact",
        variant="outlined",
        hide_details=True,
        disabled=("run.busy",),
        classes="mt-2",
    )
    html.Div("{{ places_note }}", v_if=("places_note",), classes="ds-note mt-1")
