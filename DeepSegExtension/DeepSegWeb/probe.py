"""What lies under the mouse: its grey value, the structure, and the place."""

from __future__ import annotations

import numpy as np
from slicer import vtkMRMLCrosshairNode

from DeepSegLogic.util.words import anatomical_place_text, minus_text


class Probe:
    """Tells the page's state, as ``probe``: the view that the mouse is in, and what lies there.

    Args:
        state: of the page.
        scene: what it shows.
    """

    def __init__(self, state, scene):
        self._state, self._scene, self._work = state, scene, scene.work
        state.probe = {}
        node = scene.app.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        node.AddObserver(vtkMRMLCrosshairNode.CursorPositionModifiedEvent, self._look)

    def _look(self, node, _event) -> None:
        place, pixel = [0.0] * 3, [0.0] * 3
        view = node.GetCursorPositionXYZ(pixel)
        told = self._told(place) if view is not None and node.GetCursorPositionRAS(place) else {}
        self._state.probe = {"view": view.GetSingletonTag(), **told} if told else {}

    def _told(self, place: list[float]) -> dict:
        volume, correction = self._work.session.choices.volume, self._work.correction
        if volume is None:
            return {}
        i, j, k = np.rint(np.linalg.inv(volume.ijk_to_ras) @ [*place, 1])[:3].astype(int)
        if not all(0 <= n < size for n, size in zip((k, j, i), volume.shape_kji, strict=True)):
            return {}
        told = {"value": minus_text(volume.array[k, j, i]) + self._scene.unit, "place": anatomical_place_text(place)}
        label = correction.label_map.array[k, j, i] if correction is not None else 0
        structures = correction.label_map.structures if label else ()
        found = next((s for s in structures if s.value == label), None)
        return told | ({"title": found.title, "color": "rgb({}, {}, {})".format(*found.color)} if found else {})
