"""Window and level of the slices: presets, and drags with the mouse or a finger."""

from __future__ import annotations

import math

from DeepSegLogic.util.words import minus_text

from .scene import AUTO, WINDOWS, PageScene

DRAG_PX = 200
"""Of the page, to the right: doubles the window; upwards: raises the level by the window, as far as in 3D Slicer's."""
WIDTHS = 1e-3, 1e6
FARTHEST = 1e6  # level


class Windowing:
    """The page's window and level.

    Args:
        state: of the page; ``greys`` is the preset that is shown, if any, and ``window_level`` tells both numbers.
        scene: what it shows.
    """

    def __init__(self, state, scene: PageScene):
        self._state, self._scene = state, scene
        self._start: tuple[float, float] | None = None  # when the drag began
        state.update({"greys": next(iter(WINDOWS)), "window_level": ""})
        scene.window_changed.connect(self._tell)

    def choose(self, name: str) -> None:
        """Take a preset, by its name in :data:`~.scene.WINDOWS`, or :data:`~.scene.AUTO`."""
        if name in (*WINDOWS, AUTO):
            self._scene.choose_window(name)

    def drag(self, view: str, right: float, up: float, start: list[float] | None) -> None:
        """A slice is dragged; one that begins at the handle of a plan moves that instead.

        Args:
            view: its singleton tag.
            right, up: pixels of the page since the button was pressed; none: as it was before.
            start: where that was, from (0, 0) at the view's lower left corner to (1, 1), when the page tells of this
                drag for the first time.
        """
        if start is not None:
            self._start = None if self._scene.handle_at(view, start) else self._scene.window
        if self._start is not None and math.isfinite(right) and math.isfinite(up):
            self._scene.attention.hand = view
            with self._state, self._scene.attention.following():
                self._scene.set_window(*dragged(*self._start, right, up))

    def _tell(self, window: tuple[float, float]) -> None:
        self._state.greys = self._scene.window_name
        self._state.window_level = window_text(*window)


def dragged(width: float, level: float, right: float, up: float) -> tuple[float, float]:
    """Window and level after a drag, see :data:`DRAG_PX`. The wider the window, the larger the steps."""
    least, most = (math.log2(limit / width) for limit in WIDTHS)
    doublings = min(max(right / DRAG_PX, least), most)
    return width * 2**doublings, min(max(level + width * up / DRAG_PX, -FARTHEST), FARTHEST)


def window_text(width: float, level: float) -> str:
    """Window and level, to two digits of the window at least: MR may have a scale from 0 to 1."""
    digits = max(0, 1 - math.floor(math.log10(width)))
    return f"W {width:.{digits}f} L {minus_text(level, f'.{digits}f')}"
