"""The page's list of what can compute a correction."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3


def corrector_list() -> None:
    """Hidden while there is only DeepSeg's solver; ``binding`` tells what it shows."""
    with html.Div(v_if=("correctors.length > 1 || corrector_text",), classes="mb-2"):
        v3.VSelect(
            v_if=("correctors.length > 1",),
            v_model=("corrector",),
            items=("correctors",),
            label="Correct with",
            density="compact",
            variant="outlined",
            hide_details=True,
            disabled=("run.busy",),
        )
        html.Div("{{ corrector_text }}", classes="ds-note mt-1", raw_attrs=['aria-live="polite"'])
