"""The drawer's part that finds lesions."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import button, slider, title


def detect_panel(app) -> None:
    """The detector, the table of findings with its score slider, and the buttons for the chosen one."""
    detecting = app.detecting
    with html.Section(v_if=("detect_on",), raw_attrs=['aria-label="Find lesions"']):
        title("Find lesions")
        with html.Div(classes="d-flex ga-2 align-center"):
            v3.VSelect(
                v_model=("detector",),
                items=("detectors",),
                label="Detector",
                density="compact",
                variant="outlined",
                hide_details=True,
                no_data_text="Import a model for detection first.",
            )
            button("Find", (app.find, "[detector, {force}]"), "!!detect_why_not || !!reading", "detect_why_not")
        with html.Div(classes="mt-2"):
            slider("min_score", "Lowest score, {{ min_score.toFixed(2) }}")
        html.Div("{{ detect_told }}", classes="ds-note mb-1", raw_attrs=['role="status"'])
        with (
            html.Div(v_if=("boxes.length",), classes="ds-scroll"),
            html.Table(classes="ds-table", raw_attrs=['aria-label="Findings"']),
        ):
            with html.Thead(), html.Tr():
                for name, classes in (("Finding", ""), ("mm", ""), ("Score", "num"), ("Decision", "")):
                    html.Th(name, classes=classes)
            with (
                html.Tbody(),
                html.Tr(
                    v_for="b in boxes",
                    key=("b.at",),
                    classes=("b.at === box_at ? 'current' : ''",),
                    raw_attrs=[":aria-current='b.at === box_at'"],
                ),
            ):
                with html.Td():
                    html.Button(
                        "{{ b.title }}",
                        classes="name",
                        click=(detecting.choose, "[b.at]"),
                        raw_attrs=['title="Show in the views"'],
                    )
                html.Td("{{ b.size }}")
                html.Td("{{ b.score }}", classes="num")
                html.Td("{{ b.decision }}")
        seen = '@vue:mounted="$event.el.scrollIntoView({block: `end`})"'  # the drawer ends at Find, as a rule
        with html.Div(v_if=("boxes.length",), classes="d-flex flex-wrap ga-2 mt-1", raw_attrs=[seen]):
            button("Previous", (detecting.step, "[-1]"))
            button("Next", (detecting.step, "[1]"))
            button("Accept", (detecting.decide, "['accepted']"), "box_at < 0")
            button("Reject", (detecting.decide, "['rejected']"), "box_at < 0")
            button("Segment this", detecting.segment, "box_at < 0 || run.busy")
            button("Save findings", app.exporting.save_findings, "run.busy")
