"""Gestures of two fingers in a view."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
from trame_rca.view_adapter import RcaViewAdapter
from vtkmodules.vtkCommonCore import vtkCommand
from vtkmodules.vtkRenderingCore import vtkRenderWindowInteractor


class _Measure(NamedTuple):
    """How an event tells a gesture's progress.

    Attributes:
        key: of the event.
        none: its value where the gesture starts.
        change: from an earlier value (second) to a later one.
    """

    key: str
    none: Any
    change: Callable[[Any, Any], Any]


_CLOSEST = 0.01  # of their first distance, for fingers that meet: VTK would zoom without end
_MEASURES = {
    "Pinch": _Measure("factor", 1.0, lambda now, before: max(now, _CLOSEST) / max(before, _CLOSEST)),
    "Rotate": _Measure("rotation", 0.0, lambda now, before: now - before),
    "Pan": _Measure("translation", [0, 0], lambda now, before: np.subtract(now, before).tolist()),
}
_UNKNOWN = {"Tap", "LongTap"}  # to VTK, which would complain
_MOVES = vtkCommand.PinchEvent, vtkCommand.RotateEvent, vtkCommand.PanEvent


class Gestures:
    """Passes a view's events on, as VTK wants them.

    The browser tells how far fingers have come since they touched the view. VTK wants to know it since the last event:
    it multiplies what it is told, and a slice would zoom away at once. It does not know where the fingers are, so a
    slice would zoom about its corner. And it does not know the end of a rotation; to Slicer's views all ends are the
    same. And handles of a plan learn from a move that the mouse is at them, which a finger does not make.

    Args:
        adapter: of the view; takes the events.
        interactor: of the view.
        ignored: gestures that the view does not follow, of ``Pinch``, ``Rotate`` and ``Pan``.
    """

    def __init__(self, adapter: RcaViewAdapter, interactor: vtkRenderWindowInteractor, ignored: Collection[str] = ()):
        self._pass_on, self._adapter, self._ignored = adapter.on_interaction, adapter, ignored
        self._last: Any = None
        self._place = (0, 0)  # between the fingers, in pixels of the view
        for move in _MOVES:
            interactor.AddObserver(move, lambda *_: interactor.SetEventPosition(*self._place), 10.0)  # before Slicer's

    def __call__(self, origin: Any, event: dict[str, Any]) -> None:
        kind = event["type"]
        gesture = kind.removeprefix("Start").removeprefix("End")
        if kind in _UNKNOWN or gesture in self._ignored:
            return
        if kind == "LeftButtonPress":  # of a finger, nothing comes before
            self._pass_on(origin, {**event, "type": "MouseMove"})
        if gesture in _MEASURES:
            key, none, change = _MEASURES[gesture]
            before = none if kind.startswith("Start") else self._last
            self._last = event.get(key, before)
            fingers = [(finger["x"], finger["y"]) for finger in event.get("positions", {}).values()]
            if fingers:
                x, y = np.mean(fingers, axis=0) * self._adapter.scale_factor
                self._place = int(x), int(y)
            event = {**event, key: change(self._last, before)}
            if kind == "EndRotate":
                event |= {"type": "EndPinch", "factor": 1.0}
        self._pass_on(origin, event)
