"""What lies under the mouse: its grey value, and the structure."""

from __future__ import annotations

import numpy as np
from slicer import vtkMRMLCrosshairNode


class Probe:
    """Tells the page's state, as ``probe``: the view that the mouse is in, and a text.

    Args:
        state: of the page.
        scene: what it shows.
    """

    def __init__(self, state, scene):
        self._state, self._work = state, scene.work
        state.probe = {}
        node = scene.app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        node.AddObserver(vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._look)

    def _look(self, node, _event) -> None:
        place, pixel = [0.0] * 3, [0.0] * 3
        view = node.GetCursorPositionXYZ(pixel)
        told = self._text(place) if view is not None and node.GetCursorPositionRAS(place) else ""
        self._state.probe = {"view": view.GetSingletonTag(), "text": told} if told else {}

    def _text(self, place) -> str:
        volume, correction = self._work.session.choices.volume, self._work.correction
        if volume is None:
            return ""
        i, j, k = np.rint(np.linalg.inv(volume.ijk_to_ras) @ [*place, 1])[:3].astype(int)
        if not all(0 <= n < size for n, size in zip((k, j, i), volume.shape_kji, strict=True)):
            return ""
        value = f"{volume.array[k, j, i]:g}" + (" HU" if volume.modality in (None, "CT") else "")
        if correction is None:
            return value
        label = correction.label_map.array[k, j, i]
        title = next((s.title for s in correction.label_map.structures if s.value == label), "")
        return f"{value} · {title}" if title else value
