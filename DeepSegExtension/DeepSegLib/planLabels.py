"""Names of a plan's lines, whole and so that none covers another: in slices beside the lines, in 3D views in columns at
the sides, with leader lines."""

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from DeepSegLib.volumeNodes import toNumpy
from DeepSegLogic.planning.looks import spread

MARGIN, TOP = 12, 40  # px free at the sides and below, and above, where a view has its own title
BESIDE = 8  # px from a line to its name
WRAP = 26  # letters of a line
FONT = 13
BEHIND = (0.08, 0.09, 0.11)


class PlanLabels:
    """Writes the labels of a plan into views, anew each time that one is drawn.

    Args:
        sceneSession: with the plan.
        renderers: returns those of the 3D views that are there now.
        sliceViews: returns renderer and slice node of each slice view that is there now.
    """

    def __init__(self, sceneSession, renderers, sliceViews):
        self._plan, self._renderers, self._sliceViews = sceneSession.plan, renderers, sliceViews
        self._written = []
        sceneSession.session.outcome.plan_changed.connect(self.show)

    def show(self, _planning=None):
        """The plan changed, or the views."""
        self.close()
        labels = self._plan.labels
        if labels:
            self._written = [_Columns(renderer, labels) for renderer in self._renderers()]
            self._written += [_Beside(renderer, labels, node) for renderer, node in self._sliceViews()]

    def close(self):
        """Take all labels away."""
        for labels in self._written:
            labels.remove()
        self._written = []


class _Labels:
    """The labels in one renderer."""

    def __init__(self, renderer, labels, *below):
        self._renderer = renderer
        self._actors = [_written(text, color) for text, _place, _points, color in labels]
        self._props = [*below, *self._actors]
        for prop in self._props:
            prop.PickableOff()
            renderer.AddViewProp(prop)
        self._tag = renderer.AddObserver("StartEvent", self._arrange)

    def _arrange(self, *_event):
        """Put the labels where they belong, as the view is now."""
        raise NotImplementedError

    def remove(self):
        self._renderer.RemoveObserver(self._tag)
        for prop in self._props:
            self._renderer.RemoveViewProp(prop)


class _Beside(_Labels):
    """In a slice: beside those points of a line that lie in it, and are drawn there."""

    def __init__(self, renderer, labels, node):
        self._node, self._points = node, [points for _text, _place, points, _color in labels]
        super().__init__(renderer, labels)

    def _arrange(self, *_event):
        width, height = self._renderer.GetSize()
        fromRas = np.linalg.inv(toNumpy(self._node.GetXYToRAS()))
        seen = []
        for actor, points in zip(self._actors, self._points, strict=True):
            pixels = points @ fromRas[:3, :3].T + fromRas[:3, 3]
            inSlice = pixels[abs(pixels[:, 2]) < 0.5]  # slices
            x, y = inSlice[:, :2].mean(0).tolist() if len(inSlice) else (-1, -1)
            inView = 0 <= x <= width and 0 <= y <= height
            actor.SetVisibility(inView)
            if inView:
                long, tall = _sizeOf(actor, self._renderer)
                start = min(x + BESIDE, width - MARGIN - long)
                seen.append((y + BESIDE + tall / 2, tall + 4, max(MARGIN, start), actor))
        seen.sort(key=lambda label: label[0])
        heights = spread(*([label[n] for label in seen] for n in range(2)), MARGIN, height - TOP)
        for middle, (_wanted, tall, start, actor) in zip(heights, seen, strict=True):
            actor.SetPosition(start, middle - (tall - 4) / 2)


class _Columns(_Labels):
    """In 3D: in columns at the sides."""

    def __init__(self, renderer, labels):
        self._places = [np.append(place, 1.0) for _text, place, _points, _color in labels]
        self._leaders = vtk.vtkPolyData()
        mapper, drawn = vtk.vtkPolyDataMapper2D(), vtk.vtkActor2D()
        mapper.SetInputData(self._leaders)
        drawn.SetMapper(mapper)
        drawn.GetProperty().SetColor(0.75, 0.78, 0.82)
        super().__init__(renderer, labels, drawn)

    def _arrange(self, *_event):
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
