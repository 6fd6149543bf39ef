"""Enhancing the CT before a run: the choice, and a look at what the model saw."""

from __future__ import annotations

from trame.widgets import vuetify3 as v3


def enhance_choice() -> None:
    """How to enhance; not there without the packages that it needs."""
    v3.VSelect(
        v_if=("enhancements.length > 1",),
        v_model=("enhance",),
        items=("enhancements",),
        label="Enhance CT first",
        density="compact",
        variant="outlined",
        hide_details=True,
        disabled=("run.busy",),
        classes="mt-2",
    )


def enhanced_switch() -> None:
    """Shows the enhanced volume in the slices in place of the CT."""
    v3.VSwitch(
        v_if=("has_enhanced",),
        v_model=("see_enhanced",),
        label="Show the enhanced CT in slices",
        color="primary",
        density="compact",
        hide_details=True,
    )
