"""Names of a plan's lines in 3D views: in columns at the sides, with leader lines, so that none covers another."""

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from DeepSegLogic.planning.looks import spread

MARGIN, TOP = 12, 40  # px free at the sides and below, and above, where a view has its own title
WRAP = 26  # letters of a line
FONT = 13
BEHIND = (0.08, 0.09, 0.11)


class PlanLabels:
    """Writes the labels of a plan into 3D views, anew each time that one is drawn.

    Args:
        sceneSession: with the plan.
        renderers: returns those of the 3D views that are there now.
    """

    def __init__(self, sceneSession, renderers):
        self._plan, self._renderers, self._columns = sceneSession.plan, renderers, []
        sceneSession.session.outcome.plan_changed.connect(self.show)

    def show(self, _planning=None):
        """The plan changed, or the views."""
        self.close()
        labels = self._plan.labels
        self._columns = [_Columns(renderer, labels) for renderer in self._renderers()] if labels else []

    def close(self):
        """Take all labels away."""
        for columns in self._columns:
            columns.remove()
        self._columns = []


class _Columns:
    """The labels in one renderer."""

    def __init__(self, renderer, labels):
        self._renderer, self._places = renderer, [np.append(place, 1.0) for _text, place, _color in labels]
        self._actors = [_written(text, color) for text, _place, color in labels]
        self._leaders = vtk.vtkPolyData()
        mapper, drawn = vtk.vtkPolyDataMapper2D(), vtk.vtkActor2D()
        mapper.SetInputData(self._leaders)
        drawn.SetMapper(mapper)
        drawn.GetProperty().SetColor(0.75, 0.78, 0.82)
        self._props = [drawn, *self._actors]
        for prop in self._props:
            prop.PickableOff()
            renderer.AddViewProp(prop)
        self._tag = renderer.AddObserver("StartEvent", self._arrange)

    def remove(self):
        self._renderer.RemoveObserver(self._tag)
        for prop in self._props:
            self._renderer.RemoveViewProp(prop)

    def _arrange(self, *_event):
        """Put the labels beside what they name, as it is seen now."""
        width, height = self._renderer.GetSize()
        seen = np.array([self._seen(place) for place in self._places])
        sizes = np.array([_sizeOf(actor, self._renderer) for actor in self._actors])
        left = seen[:, 0] < width / 2
        if sum(sizes[side, 0].max(initial=0) for side in (left, ~left)) > width - 4 * MARGIN:
            left[:] = True  # a narrow view
        ends = []
        for side, atLeft in ((left, True), (~left, False)):
            order = np.flatnonzero(side)[np.argsort(seen[side, 1], kind="stable")]
            heights = spread(seen[order, 1], sizes[order, 1] + 4, MARGIN, height - TOP)
            for index, middle in zip(order, heights, strict=True):
                long, tall = sizes[index]
                start = MARGIN if atLeft else width - MARGIN - long
                self._actors[index].SetPosition(start, middle - tall / 2)
                ends += [(start + long + 4 if atLeft else start - 4, middle, 0), (*seen[index], 0)]
        points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
        points.SetData(numpy_to_vtk(np.array(ends), deep=True))
        for first in range(0, len(ends), 2):
            lines.InsertNextCell(2, (first, first + 1))
        self._leaders.SetPoints(points)
        self._leaders.SetLines(lines)

    def _seen(self, place):
        """Where a point is in the view, px."""
        self._renderer.SetWorldPoint(*place)
        self._renderer.WorldToDisplay()
        return self._renderer.GetDisplayPoint()[:2]


def _written(text, color):
    import textwrap

    actor = vtk.vtkTextActor()
    actor.SetInput("\n".join("\n".join(textwrap.wrap(line, WRAP)) for line in text.split("\n")))
    shown = actor.GetTextProperty()
    shown.SetFontSize(FONT)
    shown.SetColor(*color)
    shown.SetBackgroundColor(*BEHIND)
    shown.SetBackgroundOpacity(0.6)
    return actor


def _sizeOf(actor, renderer):
    size = [0.0, 0.0]
    actor.GetSize(renderer, size)
    return size
