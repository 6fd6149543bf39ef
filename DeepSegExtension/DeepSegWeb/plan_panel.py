"""The Plan part of the drawer."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.planning.looks import PRESETS, VIEWS

from .widgets import title

_SWITCHED = (
    "$event.target.checked ? [...row.removed, part.number] : row.removed.filter((number) => number !== part.number)"
)


def plan_panel(app) -> None:
    """What can be measured of the current structure, and the plan."""
    title("Plan")
    html.Div(
        "Select the structure to plan with in the list.", v_if=("!current && !plan_rows.length",), classes="ds-note"
    )
    with html.Div(v_if=("current",)):
        shown = "{{ plan_offered.find((s) => s.value === plan_current)?.title }}"
        html.Div(shown, classes="text-body-2 font-weight-medium mb-2")
        _measures(app.planning)
    _table(app.planning)
    html.Div("{{ plan_told }}", v_if=("plan_told",), classes="ds-note mt-1", raw_attrs=['aria-live="polite"'])
    with _row():
        _button("Undo", app.planning.undo, "!plan_undo", "Undo the last step of the plan", name="Undo in the plan")
        _button("Redo", app.planning.redo, "!plan_redo", "Redo the step of the plan", name="Redo in the plan")
        _button("Recompute", app.planning.recompute, "!plan_rows.length || run.busy", "Compute all numbers again")
    with _row():
        parts = "Make the parts structures of the result; undo it under Correct"
        _button("Make structures", app.planning.make_parts, "!plan_rows.some((row) => row.cuts)", parts)
        tip = "Upload a plan file (JSON)"
        _button("Open plan", "window.deepseg.pickPlan()", "!rows.length || run.busy || !!uploading", tip)
    with html.Div(v_if=("rows.length",)):
        _looks(app.planning)


def _measures(plan) -> None:
    v3.VSelect(
        v_model=("plan_other",),
        items=("plan_offered.filter((s) => s.value !== plan_current)",),
        label="Other structure",
        density="compact",
        variant="outlined",
        hide_details=True,
    )
    with _row():
        tip = "Smallest distance between the surfaces of the current and the other structure"
        _button("Distance", (plan.distance, "[plan_other]"), "run.busy || !plan_other", tip)
        tip = "Color the surface of the current structure by its distance to the other one"
        _button("Distance map", (plan.distance_map, "[plan_other]"), "run.busy || !plan_other", tip)
    with _row():
        tip = "Longest diameter of the current structure, and the longest across it"
        _button("Diameters", plan.diameters, "run.busy", tip)
        tip = "Diameters of the current structure along its center line"
        _button("Vessel diameters", plan.vessel, "run.busy", tip)
    with _row():
        tip = "Click the entry, then the target of a straight path"
        _drawing(plan, "path", tip)
        tip = "Click along a vessel branch, then press again; two branches or more divide the current structure"
        _drawing(plan, "branch", tip)
    html.Div("{{ plan_hint }}", v_if=("plan_hint",), classes="ds-note mt-1", raw_attrs=['aria-live="polite"'])
    with _row():
        for kind in ("plane", "ellipsoid", "surface"):
            tip = f"Cut the current structure; drag the {kind} in the views"
            _button(f"Add {kind}", (plan.cut, f"['{kind}']"), "!current", tip)
    v3.VCheckbox(
        v_model=("plan_along",),
        label="Branches are of the other structure",
        density="compact",
        hide_details=True,
        disabled=("!plan_other",),
    )
    with html.Div(classes="d-flex align-center ga-1 mt-2"):
        tip = "Grow the current structure, and report what lies inside"
        call = (plan.margin, "[plan_mm, plan_other, plan_spare]")
        _button("Margin", call, "run.busy", tip)
        html.Input(
            v_model=("plan_mm",),
            type="number",
            step=1,
            min=-50,
            max=100,
            classes="ds-number",
            raw_attrs=['aria-label="Margin in mm"'],
        )
        html.Span("mm", classes="ds-note")
        v3.VCheckbox(
            v_model=("plan_spare",),
            label="Spare the other",
            density="compact",
            hide_details=True,
            disabled=("!plan_other",),
        )


def _looks(plan) -> None:
    """How the plan is shown in 3D, and its pictures."""
    v3.VSelect(
        v_model=("plan_look",),
        items=("plan_looks", [{"title": shown.title, "value": name} for name, shown in PRESETS.items()]),
        label="Show in 3D",
        density="compact",
        variant="outlined",
        hide_details=True,
        classes="mt-4",
    )
    with _row():
        for view in ("front", "left", "surgeon"):
            tip = (
                "As a surgeon at the patient's right side, head on the left"
                if view == "surgeon"
                else f"From the {view}"
            )
            _button(VIEWS[view].title, (plan.look, f"['{view}']"), "!rows.length", tip)
    with _row():
        _button("Copy picture", "window.deepseg.copyPicture()", "!rows.length", "Copy the 3D view as a picture")
        tip = "Download pictures from all standard views with names and scale bar, and a turntable"
        _button("Pictures", (plan.pictures, "[plan_look]"), "!rows.length || run.busy || delivering", tip)
    with html.Div(classes="d-flex ga-2"):
        for name, label in (("plan_clip", "Clip at axial slice"), ("plan_bar", "Scale bar")):
            v3.VCheckbox(v_model=(name,), label=label, density="compact", hide_details=True)


def _drawing(plan, what: str, tip: str) -> None:
    """A button that begins to draw by clicks, and ends it."""
    v3.VBtn(
        f"{{{{ plan_drawn === '{what}' ? 'End {what}' : 'Draw {what}' }}}}",
        size="small",
        variant="tonal",
        click=(plan.draw, f"['{what}', plan_other, plan_along]"),
        color=(f"plan_drawn === '{what}' ? 'primary' : undefined",),
        raw_attrs=[f'title="{tip}"'],
    )


def _table(plan) -> None:
    with (
        html.Div(v_if=("plan_rows.length",), classes="ds-scroll mt-2"),
        html.Table(classes="ds-table", raw_attrs=['aria-label="Plan"']),
        html.Tbody(v_for="row in plan_rows", key=("row.at",)),
    ):
        with html.Tr(raw_attrs=[':title="row.notes"']):
            with html.Td():
                html.Button("{{ row.title }}", classes="name", click=(plan.jump_to, "[row.at]"))
            html.Td("{{ row.value }}", classes="num")
            with html.Td():
                v3.VBtn(
                    icon="mdi-close",
                    size="x-small",
                    variant="text",
                    click=(plan.remove, "[row.at]"),
                    raw_attrs=[":aria-label=\"'Remove: ' + row.title\""],
                )
        with html.Tr(v_for="part in row.details", key=("part.title",)):
            with html.Td(classes="ds-part"), html.Label(classes="d-flex ga-2"):
                html.Input(
                    v_if=("row.cuts",),
                    type="checkbox",
                    checked=("row.removed.includes(part.number)",),
                    change=(plan.set_removed, f"[row.at, {_SWITCHED}]"),
                    raw_attrs=[":aria-label=\"'Remove part ' + part.number\""],
                )
                html.Span("{{ part.title }}")
            html.Td("{{ part.value }}", classes="num")
            html.Td()


def _row():
    """Buttons side by side, all of one width."""
    return html.Div(classes="ds-row")


def _button(label: str, click, disabled: str, tip: str, name: str = "") -> None:
    attrs = [f'title="{tip}"', *([f'aria-label="{name}"'] if name else [])]
    v3.VBtn(label, size="small", variant="tonal", click=click, disabled=(disabled,), raw_attrs=attrs)
