"""The page's list of correction methods."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3


def corrector_list() -> None:
    """Hidden while there is only DeepSeg's solver."""
    with html.Div(v_if=("correctors.length > 1 || corrector_text",), classes="mb-2"):
        v3.VSelect(
            v_if=("correctors.length > 1",),
            v_model=("corrector",),
            items=("correctors",),
            label="Correction method",
            density="compact",
            variant="outlined",
            hide_details=True,
            disabled=("run.busy",),
        )
        html.Div("{{ corrector_text }}", classes="ds-note mt-1", raw_attrs=['aria-live="polite"'])
