"""The four views: axial, 3D, coronal, sagittal."""

from __future__ import annotations

from functools import partial

import numpy as np
from DeepSegLib.volumeNodes import toNumpy
from slicer import vtkMRMLAbstractViewNode
from trame.widgets import html
from trame.widgets import vuetify3 as v3
from trame_slicer.app.logic.slice_view_logic import connect_slice_view_slider_to_state
from trame_slicer.core import LayoutManager
from trame_slicer.rca_view import RemoteViewFactory
from trame_slicer.views import (
    Layout,
    LayoutDirection,
    NoScheduleRendering,
    ScheduledRenderStrategy,
    SliceView,
    ThreeDView,
    ViewLayoutDefinition,
    ViewType,
)
from vtkmodules.vtkCommonCore import vtkCommand

from .attention import Attention
from .gestures import Gestures
from .scale import scale_bar
from .scene import PageScene

TITLES = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal", "ThreeD": "3D"}
LAYOUT = "four"
BLUR_FPS = 10.0  # pictures per second of a view that the mouse is not in
QUALITY = 90  # of the pictures; with another one while something moves, each would be drawn twice


def make_views(server, scene: PageScene) -> LayoutManager:
    """Create the views; the page places them with ``initialize_layout_grid``."""
    app = scene.app
    slice_ui, threed_ui = partial(_slice_ui, app.app_logic), partial(_threed_ui, scene.look_at_surfaces)
    options = {"blur_fps": BLUR_FPS, "interactive_quality": QUALITY}
    for view, kind, ui in ((SliceView, ViewType.SLICE_VIEW, slice_ui), (ThreeDView, ViewType.THREE_D_VIEW, threed_ui)):
        factory = _ViewFactory(scene, server, partial(_made, view), kind, populate_view_ui_f=ui, **options)
        app.view_manager.register_factory(factory)
    layouts = LayoutManager(app.scene, app.view_manager, server)
    rows = [
        [ViewLayoutDefinition.axial_view(), ViewLayoutDefinition.threed_view(background_color="#15181c")],
        [ViewLayoutDefinition.coronal_view(), ViewLayoutDefinition.sagittal_view()],
    ]
    grid = Layout(LayoutDirection.Vertical, [Layout(LayoutDirection.Horizontal, row) for row in rows])
    layouts.register_layout(LAYOUT, grid)
    layouts.set_layout(LAYOUT)
    return layouts


def _made(view, **place):
    """A view that draws nothing while it is made: it would draw itself at each of some sixty steps.

    The factory then has it drawn for the browser, as needed. Without multisampling: in Mesa's software renderer, it is
    most of what a slice costs, and in 3D everything translucent is lost with it.
    """
    made = view(scheduled_render_strategy=NoScheduleRendering(), **place)
    made.render_window().SetMultiSamples(0)
    return made


class _ViewFactory(RemoteViewFactory):
    """Makes views that are drawn when the scene's attention says so, and that follow fingers. Slices do not turn."""

    def __init__(self, scene: PageScene, *definition, **options):
        super().__init__(*definition, **options)
        self._page_scene = scene

    def _create_view(self, *definition):
        made = super()._create_view(*definition)
        view, adapter = made.slicer_view, made.view_adapter
        view.set_scheduled_render(_Attentive(self._page_scene.attention, adapter))
        ignored = () if isinstance(view, ThreeDView) else ("Rotate",)
        adapter.on_interaction = Gestures(adapter, view.interactor(), ignored)
        return made


class _Attentive(ScheduledRenderStrategy):
    """Draws a view when the scene's attention says so."""

    def __init__(self, attention: Attention, adapter):
        super().__init__()
        self._attention, self._adapter = attention, adapter

    def schedule_render(self) -> None:
        view = self.abstract_view
        in_3d = isinstance(view, ThreeDView)
        self._attention.ask(view.get_singleton_tag(), in_3d, self._adapter.schedule_render)


def sides(slice_to_ras: np.ndarray) -> list[str]:
    """The patient's sides as letters: left, right, top and bottom in a slice, and towards lower and higher offsets.

    Args:
        slice_to_ras: 4×4, of the view: x to the right, y up, z towards higher offsets.
    """
    right, up, forward = slice_to_ras[:3, :3].T
    letters = []
    for direction in (-right, right, up, -up, -forward, forward):
        axis = int(np.abs(direction).argmax())
        letters.append(("LR", "PA", "IS")[axis][int(direction[axis] > 0)])
    return letters


def _slice_ui(app_logic, server, view_id, view) -> None:
    _corner(view, view.reset_view)
    html.Div("Open a CT or drop it here.", v_if=("!volume_name && !reading",), classes="ds-empty")
    slider = connect_slice_view_slider_to_state(server, view)
    value, low, high, step = (getattr(slider.name, part) for part in ("value", "min_value", "max_value", "step"))
    _show_sides(server, f"{view_id}_sides", view)
    _show_scale(server, f"{view_id}_scale", view)
    _stay_fitted(view, app_logic.GetSliceLogic(view.get_view_node()))
    with html.Div(v_show=("volume_name",), classes="ds-place"):
        count, number = (f"{{{{ Math.round(({end} - {low}) / {step}) + 1 }}}}" for end in (high, value))
        html.Span(f"{number} / {count}")
        place = f"{view_id}_sides[{value} < 0 ? 4 : 5]"  # the side of the origin, and how far
        html.Span(f" · {{{{ {place} }}}} {{{{ Math.abs({value}).toFixed(1) }}}} mm", classes="ds-wide")
    here = f".view === '{view.get_singleton_tag()}'"
    html.Div("{{ outlined.text }}", v_if=(f"outlined{here}",), classes="ds-outlined")
    with html.Div(v_if=(f"probe{here}",), classes="ds-probe"):
        html.Span("{{ probe.value + ' ' }}")
        with html.Span(v_if=("probe.title",)):
            html.Span(classes="ds-dot", style=("{background: probe.color}",))
            html.Span("{{ probe.title }}")
        html.Div("{{ probe.place }}")
    with html.Div(classes="ds-slider", v_show=("volume_name",)):
        v3.VSlider(
            v_model=(value,),
            min=(low,),
            max=(high,),
            step=(step,),
            density="compact",
            hide_details=True,
            thumb_size=12,
            track_size=2,
            raw_attrs=[f'aria-label="{_title(view)} slice"'],
        )


def _show_sides(server, name: str, view) -> None:
    state = server.state

    def look(_view=None) -> None:
        state[name] = sides(toNumpy(view.get_view_node().GetSliceToRAS()))

    look()
    view.modified.connect(look)
    for index, place in enumerate(("left", "right", "top", "bottom")):
        html.Span(f"{{{{ {name}[{index}] }}}}", v_show=("volume_name",), classes=f"ds-side ds-{place}")


def _show_scale(server, name: str, view) -> None:
    """The scale bar, which follows the zoom, and window and level."""
    state = server.state

    def look(_view=None) -> None:
        state[name] = scale_bar(view.get_view_node().GetFieldOfView()[0])

    look()
    view.modified.connect(look)
    width = f"{{width: `${{100 * {name}.share}}%`}}"
    with html.Div(v_show=("volume_name",), classes="ds-scale", style=(width,)):
        html.Span(f"{{{{ {name}.text }}}}")
    html.Div("{{ window_level }}", v_show=("volume_name",), classes="ds-window")


def _stay_fitted(view, logic) -> None:
    """When a slice view that shows the whole volume changes its size, it still does; another one keeps its zoom."""
    node = view.get_view_node()
    fitted = False

    def fit() -> None:
        place = toNumpy(node.GetSliceToRAS())
        logic.FitSliceToBackground()
        for row, column in np.ndindex(4, 4):
            node.GetSliceToRAS().SetElement(row, column, place[row, column])
        node.UpdateMatrices()

    def before(*_) -> None:
        nonlocal fitted
        shown = node.GetFieldOfView()
        fit()
        fitted = np.allclose(shown, node.GetFieldOfView(), rtol=1e-3)
        node.SetFieldOfView(*shown)

    def after(*_) -> None:
        if fitted:
            fit()

    view.interactor().AddObserver(vtkCommand.WindowResizeEvent, before, 1.0)
    view.interactor().AddObserver(vtkCommand.WindowResizeEvent, after, -1.0)


def _threed_ui(fit, _server, _view_id, view) -> None:
    view.renderer().SetUseFXAA(True)
    view.set_orientation_marker(
        vtkMRMLAbstractViewNode.OrientationMarkerTypeCube, vtkMRMLAbstractViewNode.OrientationMarkerSizeSmall
    )
    _fit_narrow(view)
    with _corner(view, fit):
        shown = 'v-if="rows.length" :aria-pressed="legend"'
        _button("mdi-format-list-bulleted-square", "Legend of", "Legend", view, "legend = !legend", shown)
    with html.Div(v_if=("legend && rows.length",), classes="ds-legend", raw_attrs=['role="list" aria-label="Legend"']):
        seen = "rows.filter((r) => r.found && visible.includes(r.name))"
        with html.Div(v_for=f"row in {seen}", key=("row.name",), raw_attrs=['role="listitem"']):
            html.Span(classes="ds-dot", style=("{background: row.color}",))
            html.Span("{{ row.title }}")
    html.Div("Surfaces appear here after segmentation.", v_if=("!rows.length && !boxes.length",), classes="ds-empty")


def _fit_narrow(view) -> None:
    """When a 3D view changes its shape, what it shows stays in it: the angle of view is that of its smaller side."""

    def look(*_) -> None:
        width, height = view.render_window().GetSize()
        view.renderer().GetActiveCamera().SetUseHorizontalViewAngle(width < height)

    view.interactor().AddObserver(vtkCommand.WindowResizeEvent, look)


def _corner(view, fit) -> html.Div:
    with html.Div(classes="ds-corner", raw_attrs=[f'data-view="{view.get_singleton_tag()}"']) as corner:
        html.Span(_title(view))
        _button("mdi-fit-to-screen-outline", "Fit", "Fit to view", view, fit)
        _button("mdi-arrow-expand", "Enlarge", "Enlarge or restore", view, "window.deepseg.enlarge($event)")
    return corner


def _button(icon: str, verb: str, tip: str, view, click, *more: str) -> None:
    v3.VBtn(
        icon=icon,
        size="x-small",
        variant="text",
        click=click,
        raw_attrs=[f'aria-label="{verb} {_title(view)} view"', f'title="{tip}"', *more],
    )


def _title(view) -> str:
    return TITLES[view.get_singleton_tag()]
