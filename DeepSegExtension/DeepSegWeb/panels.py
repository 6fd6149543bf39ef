"""The drawer: input, model, structures, result. Shows the state that ``binding`` makes."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from DeepSegLogic.inference.presets import QUALITIES
from DeepSegLogic.review.field_of_view import CUT_LEGEND

from .compare_panel import compare_panel
from .correct_panel import correct_panel
from .detect_panel import detect_panel
from .draft_panel import draft_panel
from .enhance_panel import enhance_choice, enhanced_switch
from .input_panel import input_panel
from .learn_panel import learn_panel
from .place_panel import place_choice
from .plan_panel import plan_panel
from .scene import RENDERINGS
from .sure_panel import sure_panel
from .widgets import careful, slider, title

QUALITY_TIPS = {
    "draft": "Fastest, less accurate",
    "fast": "Skips air; nearly the same result as Standard",
    "standard": "As the model was designed",
    "best": "Adds mirroring; up to 8 times slower",
}


def segment_panel(app) -> None:
    """Input, model and structures."""
    input_panel(app)
    _model(app)
    _structures(app)
    detect_panel(app)


def _model(app) -> None:
    title("Model")
    v3.VSelect(
        v_model=("model",),
        items=("installed",),
        item_props=True,
        label="Model",
        density="compact",
        variant="outlined",
        hide_details=True,
        disabled=("run.busy",),
    )
    html.Div("{{ model_text }}", classes="ds-note mt-1")
    v3.VBtn(
        "More models",
        size="small",
        variant="text",
        color="primary",
        click="choosing_model = true",
        disabled=("run.busy",),
        classes="ml-n3",
    )
    html.Div("Quality", classes="ds-note")
    with v3.VBtnToggle(
        v_model=("quality",),
        density="compact",
        mandatory=True,
        variant="outlined",
        classes="d-flex mt-1 mb-2",
        raw_attrs=['role="group"', 'aria-label="Quality"'],
    ):
        for value in QUALITIES:
            tip = f'title="{QUALITY_TIPS[value]}"'
            v3.VBtn(value.capitalize(), value=value, size="small", disabled=("run.busy",), raw_attrs=[tip])
    enhance_choice()
    place_choice(app)


def _structures(app) -> None:
    with html.Div(classes="d-flex align-baseline justify-space-between"):
        title("Structures")
        html.Span("{{ chosen.length }} of {{ total }}", classes="ds-note")
    with html.Div(classes="d-flex flex-wrap ga-1 mb-1"):
        _chip("All", app.choose_all)
        _chip("None", "chosen = []")
        _chip("{{ preset }}", (app.choose_preset, "[preset]"), v_for="preset in presets", key=("preset",))
    search_field("words", "Search structures", v_if=("total > 12",), classes="mb-1")
    with html.Div(v_for="group in groups", key=("group.title",)):
        found = f"group.items.filter({_has('s', 'words')})"
        html.Div("{{ group.title }}", v_if=(f"{found}.length",), classes="ds-note mt-1")
        v3.VCheckbox(
            v_for=f"s in {found}",
            key=("s.name",),
            v_model=("chosen",),
            value=("s.name",),
            label=("s.title",),
            density="compact",
            hide_details=True,
            disabled=("run.busy",),
        )

    html.Div(
        "No matches.", v_if=(f"!groups.some((group) => group.items.some({_has('s', 'words')}))",), classes="ds-note"
    )


def _has(item: str, words: str) -> str:
    """Whether the title of an item contains the words that were typed."""
    return f"({item}) => {item}.title.toLowerCase().includes(({words} || '').toLowerCase())"


def _chip(text: str, click, **more) -> None:
    v3.VChip(text, size="small", click=click, disabled=("run.busy",), raw_attrs=['role="button"'], **more)


def search_field(name: str, label: str, **more) -> None:
    """A field for search words."""
    v3.VTextField(
        v_model=(name,),
        label=label,
        prepend_inner_icon="mdi-magnify",
        density="compact",
        variant="outlined",
        hide_details=True,
        clearable=True,
        **more,
    )


def result_panel(app) -> None:
    """The table of structures and how to show them."""
    html.Div("{{ no_rows }}", v_if=("!rows.length",), classes="ds-note mt-4", raw_attrs=['aria-live="polite"'])
    with html.Div(v_else=True):
        title("Structures")
        search_field("row_words", "Search structures", v_if=("rows.length > 12",), classes="mb-1")
        with html.Div(classes="ds-scroll"), html.Table(classes="ds-table", raw_attrs=['aria-label="Structures found"']):
            with html.Thead(), html.Tr():
                with html.Th():
                    html.Input(
                        type="checkbox",
                        checked=("rows.every((r) => !r.found || visible.includes(r.name))",),
                        change="visible = $event.target.checked ? rows.map((r) => r.name) : []",
                        raw_attrs=['aria-label="Show all"', 'title="Show all or none"'],
                    )
                html.Th("Structure")
                html.Th("ml", classes="num")
                html.Th("Confidence", v_if=("rows.some((r) => r.confidence)",), classes="num")
            with html.Tbody():
                _row(app)
        with html.Details(v_if=("rows.some((r) => !r.found)",), classes="ds-note mt-1"):
            html.Summary("{{ rows.filter((r) => !r.found).length }} not found")
            html.Span("{{ rows.filter((r) => !r.found).map((r) => r.title).join(', ') }}")
        html.Div(CUT_LEGEND, v_if=("rows.some((r) => r.cut)",), classes="ds-note mt-1")
        html.Div("{{ phase }}", v_if=("phase",), classes="ds-note mt-1")
        with v3.VAlert(
            v_for="warning in [...new Set([...result_warnings, ...run.warnings])]",
            key=("warning",),
            type="warning",
            variant="tonal",
            density="compact",
            closable=True,
            classes="mt-2 ds-note ds-warning",
        ):
            html.Span("{{ warning }}")
        _review(app)
        correct_panel(app)
        sure_panel(app)
        plan_panel(app)
        compare_panel(app)
        draft_panel(app)
        learn_panel(app)
        title("Display")
        enhanced_switch()
        slider("fill", "Fill in slices, {{ Math.round(100 * fill) }} %")
        slider("outline", "Outline in slices, {{ outline }} px", 0, 5, 1)
        slider("solid", "Opacity in 3D, {{ Math.round(100 * solid) }} %")
        v3.VSelect(
            v_model=("rendering",),
            items=("renderings", [{"title": "Off", "value": ""}, *({"title": n, "value": n} for n in RENDERINGS)]),
            label="Volume rendering",
            density="compact",
            variant="outlined",
            hide_details=True,
            classes="mt-2",
        )


def _review(app) -> None:
    with html.Section(v_if=("findings.length",), raw_attrs=['aria-label="Check these first"']):
        title("Check these first")
        with (
            html.Div(classes="ds-scroll ds-findings"),
            html.Div(v_for="reason in findings", key=("reason",), classes="d-flex align-start ds-finding"),
        ):
            html.Button("{{ reason }}", click=(app.look_at, "[reason]"), raw_attrs=['title="Show in the views"'])
            v3.VBtn(
                icon="mdi-close",
                size="x-small",
                variant="text",
                click=(app.ignore, "[reason]"),
                raw_attrs=[":aria-label=\"'Ignore: ' + reason\"", 'title="Don\'t show this finding again"'],
            )


def _row(app) -> None:
    with html.Tr(
        v_for=f"row in rows.filter((r) => r.found).filter({_has('r', 'row_words')})",
        key=("row.name",),
        classes=("row.name === current ? 'current' : ''",),
    ):
        with html.Td():
            html.Input(
                type="checkbox",
                value=("row.name",),
                v_model=("visible",),
                raw_attrs=[":aria-label=\"'Show ' + row.title\""],
            )
        with html.Td(), html.Div(classes="d-flex align-center ga-2"):
            html.Span(classes="ds-dot", style=("{background: row.color}",))
            html.Button(
                "{{ row.title }}",
                classes="name",
                click=(app.jump_to, "[row.name]"),
                raw_attrs=['title="Show in the views"'],
            )
        html.Td("{{ row.volume }}", classes="num", raw_attrs=[':title="row.cut"'])
        with html.Td(classes="num", raw_attrs=[':title="row.note"']):
            v3.VIcon(
                "mdi-alert-outline",
                v_if=("row.doubtful",),
                size="x-small",
                color="warning",
                classes="mr-1",
                raw_attrs=['aria-label="Uncertain: check it"'],
            )
            html.Span("{{ row.confidence }}")


def run_panel(app) -> None:
    """Segment or Cancel, and progress; always visible."""
    with html.Div(v_if=("run.busy",)):
        with html.Div(classes="d-flex justify-space-between ds-note"):
            html.Span("{{ run.stage }}")
            html.Span("{{ run.remaining }}")
        v3.VProgressLinear(
            model_value=("run.percent",),
            color="primary",
            height=8,
            rounded=True,
            classes="my-2",
            raw_attrs=['aria-label="Progress"'],
        )
        v3.VBtn(
            "Cancel",
            block=True,
            variant="tonal",
            disabled=("run.phase === 'cancelling'",),
            click=app.cancel,
        )
    with html.Div(v_else_if=("reading || uploading",), classes="ds-note"):
        html.Div("{{ reading ? `Reading ${reading}` : `Uploading, ${uploading}` }}", classes="text-truncate")
        v3.VProgressLinear(
            indeterminate=True,
            color="primary",
            height=8,
            rounded=True,
            classes="my-2",
            raw_attrs=['aria-label="Reading"'],
        )
        v3.VBtn("Cancel upload", v_if=("!reading",), block=True, variant="tonal", click="window.deepseg.cancelUpload()")
    with html.Div(v_else=True):
        html.Div("Cancelled.", v_if=("run.phase === 'cancelled'",), classes="ds-note mb-1")
        html.Div(
            "{{ run.summary }}",
            v_if=("['install', 'send'].includes(run.task) && run.phase === 'done'",),
            classes="ds-note mb-1",
        )
        html.Div("Preparing the download.", v_if=("delivering",), classes="ds-note mb-1")
        seen = "tab === 'segment' && notes.some((note) => why_not.startsWith(note.text))"
        told = f"{seen} ? 'See the warning under Input.' : why_not || estimate"
        html.Div(f"{{{{ {told} }}}}", classes="ds-note mb-1", raw_attrs=['aria-live="polite"'])
        shown = "[{model, quality, enhance, chosen, force}]"
        v3.VBtn(
            "Segment",
            block=True,
            color="primary",
            disabled=("!!why_not",),
            click=careful(app, app.segment, shown),
        )
