"""Dragging the left mouse button in slice views."""

import slicer

PRESS, MOVE, RELEASE = "LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent"
TURNS = {"MouseWheelForwardEvent": 1, "MouseWheelBackwardEvent": -1}
BEFORE_SLICERS_OWN = 1.0


class Dragging:
    """Tells where in the slice views the left button is dragged. Slicer does not see that button meanwhile.

    With Shift or Ctrl it is Slicer's, to move and to zoom.

    Args:
        moved: called with each place, in RAS.
        ended: called when the button is released.
        turned: called with 1 or -1 when the wheel is turned forward or backward meanwhile.
    """

    def __init__(self, moved, ended, turned):
        self._moved, self._ended, self._turned = moved, ended, turned
        self._nodes, self._tags, self._held = {}, {}, None
        layout = slicer.app.layoutManager()
        for widget in map(layout.sliceWidget, layout.sliceViewNames()):
            interactor = widget.sliceView().interactor()
            self._nodes[interactor] = widget.mrmlSliceNode()
            for event in (PRESS, MOVE, RELEASE, *TURNS):
                self._tags[interactor, event] = interactor.AddObserver(event, self._onEvent, BEFORE_SLICERS_OWN)

    def stop(self):
        """Give the button back to Slicer."""
        for (interactor, _event), tag in self._tags.items():
            interactor.RemoveObserver(tag)

    def _onEvent(self, interactor, event):
        if event == PRESS and not (interactor.GetShiftKey() or interactor.GetControlKey()):
            self._held = interactor
        if self._held is not interactor:
            return
        interactor.GetCommand(self._tags[interactor, event]).SetAbortFlag(True)
        if event == RELEASE:
            self._held = None
            self._ended()
        elif event in TURNS:
            self._turned(TURNS[event])
        else:
            place = self._nodes[interactor].GetXYToRAS().MultiplyPoint((*interactor.GetEventPosition(), 0, 1))
            self._moved(place[:3])
