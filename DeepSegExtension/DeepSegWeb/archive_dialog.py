"""The dialog that opens a series of the archive (PACS)."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3

from .widgets import call, careful, dialog


def archive_button(busy: tuple[str]) -> None:
    """The button of the bar that opens the dialog."""
    v3.VBtn(
        "Open from archive",
        prepend_icon="mdi-database-search-outline",
        v_if=("has_archive",),
        click="searching = true",
        disabled=busy,
    )


def archive_dialog(app) -> None:
    """Fields to search by, and the series found."""
    find = call(app, app.archive.find, "[patient || '', study || '']")
    with (
        dialog('aria-label="Open from archive"', v_model=("searching",), max_width=560),
        v3.VCard(title="Open from archive", style="max-height: 85vh"),
    ):
        with html.Form(classes="px-6 d-flex flex-column ga-2", raw_attrs=[f'@submit.prevent="{find}"']):
            for name, label in (("patient", "Patient ID"), ("study", "Study UID")):
                v3.VTextField(
                    v_model=(name,),
                    label=label,
                    density="compact",
                    variant="outlined",
                    hide_details=True,
                    raw_attrs=['autocomplete="off"'],
                )
            disabled = ("run.busy || !(patient || study)",)
            v3.VBtn("Find", variant="tonal", disabled=disabled, raw_attrs=['type="submit"'])
        with v3.VCardText(classes="px-2"):
            v3.VProgressLinear(
                v_if=("run.busy",), indeterminate=True, color="primary", raw_attrs=['aria-label="Searching"']
            )
            html.Div("{{ alert?.message }} {{ alert?.remedy }}", v_if=("alert",), classes="ds-note px-4")
            html.Div("No series found.", v_if=("found && !found.length",), classes="ds-note px-4")
            with v3.VList(v_if=("found?.length",), density="compact", raw_attrs=['aria-label="Series found"']):
                v3.VListItem(
                    v_for="series in found",
                    key=("series.uid",),
                    title=("series.title",),
                    subtitle=("series.subtitle",),
                    disabled=("run.busy",),
                    click=f"searching = false; {careful(app, app.archive.fetch, '[series.uid]')}",
                )
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="searching = false")
