"""The four views: axial, 3D, coronal, sagittal."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_slicer.app.logic.slice_view_logic import connect_slice_view_slider_to_state
from trame_slicer.core import LayoutManager
from trame_slicer.rca_view import register_rca_factories
from trame_slicer.views import Layout, LayoutDirection, ViewLayoutDefinition

TITLES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal", "ThreeD": "3D"}
LAYOUT = "four"


def make_views(server, app) -> LayoutManager:
    """Create the views; the page places them with ``initialize_layout_grid``."""
    register_rca_factories(app.view_manager, server, slice_view_ui_f=_slice_ui, three_d_view_ui_f=_threed_ui)
    layouts = LayoutManager(app.scene, app.view_manager, server)
    rows = [
        [ViewLayoutDefinition.axial_view(), ViewLayoutDefinition.threed_view(background_color="#15181c")],
        [ViewLayoutDefinition.coronal_view(), ViewLayoutDefinition.sagittal_view()],
    ]
    grid = Layout(LayoutDirection.Vertical, [Layout(LayoutDirection.Horizontal, row) for row in rows])
    layouts.register_layout(LAYOUT, grid)
    layouts.set_layout(LAYOUT)
    return layouts


def _slice_ui(server, _view_id, view) -> None:
    _corner(view)
    html.Div("Open a CT, or drop it here.", v_if=("!volume_name && !reading",), classes="ds-empty")
    slider = connect_slice_view_slider_to_state(server, view)
    with html.Div(classes="ds-slider", v_show=("volume_name",)):
        v3.VSlider(
            v_model=(slider.name.value,),
            min=(slider.name.min_value,),
            max=(slider.name.max_value,),
            step=(slider.name.step,),
            density="compact",
            hide_details=True,
            thumb_size=12,
            track_size=2,
            raw_attrs=[f'aria-label="{_title(view)} slice"'],
        )


def _threed_ui(_server, _view_id, view) -> None:
    _corner(view)
    html.Div("Surfaces come here after Segment.", v_if=("!rows.length",), classes="ds-empty")


def _corner(view) -> None:
    with html.Div(classes="ds-corner"):
        html.Span(_title(view))
        v3.VBtn(
            icon="mdi-fit-to-screen-outline",
            size="x-small",
            variant="text",
            click=view.reset_view,
            raw_attrs=[f'aria-label="Fit {_title(view)} view"', 'title="Fit to view"'],
        )


def _title(view) -> str:
    return TITLES[view.get_singleton_tag()]
