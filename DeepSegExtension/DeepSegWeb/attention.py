"""Which views are drawn at once while an outline, or window and level, follow the hand."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

REST_S = 0.25  # without a change, after which the hand rests


class Attention:
    """While something follows the hand, only the slice view that the hand is in is drawn at once.

    The other slices follow when the hand rests. 3D views show none of it, but Slicer asks them to draw themselves for
    any change of any segmentation. Without a graphics card, all of that takes most of what the hand would wait for.

    Attributes:
        hand: singleton tag of the view that the hand is in.
    """

    hand = ""

    def __init__(self):
        self._following = False
        self._waiting: dict[str, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def following(self):
        """What changes meanwhile follows the hand: an outline, or window and level."""
        self._following = True
        try:
            yield
        finally:
            self._following = False

    def ask(self, view: str, in_3d: bool, draw: Callable[[], None]) -> None:
        """A view is to be drawn.

        Args:
            view: its singleton tag.
            in_3d: whether it is a 3D view.
            draw: draws it.
        """
        if not self._following or view == self.hand:
            self._waiting.pop(view, None)
            draw()
        elif not in_3d:
            self._waiting[view] = draw
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(REST_S, self._rest)

    def _rest(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for draw in waiting.values():
            draw()
