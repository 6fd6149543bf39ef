"""The drawer's comparison of the result with a reference segmentation."""

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


def compare_panel() -> None:
    """A button for the reference's file, and the table of the scores."""
    title("Compare")
    v3.VBtn(
        "Compare with reference",
        size="small",
        variant="tonal",
        disabled=("run.busy || !!uploading",),
        click="window.deepseg.pickReference()",
        raw_attrs=['title="Upload a segmentation of the same CT: .seg.nrrd, NIfTI, NRRD or MetaImage"'],
    )
    label = 'aria-label="Comparison with the reference"'
    with (
        html.Div(v_if=("comparison.length",), classes="ds-scroll mt-2"),
        html.Table(classes="ds-table", raw_attrs=[label]),
    ):
        with html.Thead(), html.Tr():
            html.Th("Structure")
            for name, tip in COLUMNS.values():
                html.Th(name, classes="num", raw_attrs=[f'title="{tip}"'])
        with html.Tbody(), html.Tr(v_for="row in comparison", key=("row.title",)):
            html.Td("{{ row.title }}")
            for field in COLUMNS:
                html.Td(f"{{{{ row.{field} }}}}", classes="num")
