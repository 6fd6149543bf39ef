"""The drawer's comparison of the result with a reference segmentation, and with that of an earlier scan."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import title

COLUMNS = {  # of the table: the state's field, what it is called, and what it is
    "dice": ("Dice", "Overlap, 0 to 1"),
    "surface_dice": ("Surface", "Share of the surfaces within 3 mm of each other"),
    "hd95": ("HD95", "95th percentile of the distances between the surfaces, mm"),
    "error": ("ml", "Volume error"),
}

CHANGES = {
    "before": ("Before", "Volume in the earlier scan, ml"),
    "after": ("After", "Volume now, ml"),
    "percent": ("%", "Change of the volume"),
}


def compare_panel(app) -> None:
    """Buttons for the files to compare with, and the tables of what was found."""
    title("Compare")
    v3.VBtn(
        "Compare with reference",
        size="small",
        variant="tonal",
        disabled=("run.busy || !!uploading",),
        click="window.deepseg.pickReference()",
        raw_attrs=['title="Upload a segmentation of the same CT: .seg.nrrd, NIfTI, NRRD or MetaImage"'],
    )
    _table("comparison", COLUMNS, "Comparison with the reference")
    with html.Div(classes="d-flex align-center ga-2 mt-2"):
        v3.VBtn(
            "Compare with an earlier scan",
            size="small",
            variant="tonal",
            disabled=("run.busy || !!uploading",),
            click="window.deepseg.pickEarlier()",
            raw_attrs=['title="Upload the scene (.mrb) of the earlier scan, or only its segmentation"'],
        )
        html.Input(
            type="number",
            min=1,
            v_model=("days",),
            classes="ds-number",
            raw_attrs=['aria-label="Days between the scans"', 'title="For doubling times"'],
        )
        html.Span("days", classes="ds-note")
    _table("changes", CHANGES, "Changes since the earlier scan")
    html.Div("{{ interval }}", v_if=("changes.length && interval",), classes="ds-note mt-1")
    v3.VBtn(
        "Save the report",
        v_if=("changes.length",),
        size="small",
        variant="text",
        color="primary",
        disabled=("run.busy || delivering",),
        click=app.exporting.save_report,
    )


def _table(rows: str, columns: dict[str, tuple[str, str]], label: str) -> None:
    """A table of rows of the state; a row's note is shown over its name."""
    with (
        html.Div(v_if=(f"{rows}.length",), classes="ds-scroll mt-2"),
        html.Table(classes="ds-table", raw_attrs=[f'aria-label="{label}"']),
    ):
        with html.Thead(), html.Tr():
            html.Th("Structure")
            for name, tip in columns.values():
                html.Th(name, classes="num", raw_attrs=[f'title="{tip}"'])
        with html.Tbody(), html.Tr(v_for=f"row in {rows}", key=("row.title",), raw_attrs=[':title="row.note"']):
            html.Td("{{ row.title }}")
            for field in columns:
                html.Td(f"{{{{ row.{field} }}}}", classes="num")
