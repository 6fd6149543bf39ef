"""Cuts of a plan as Slicer's own markups: a plane, an ROI, control points, or a curve per vessel branch."""

import numpy as np

from DeepSegLib.planNodes import YELLOW, displaysOf
from DeepSegLib.volumeNodes import toVtk
from DeepSegLogic import planning as plans

_DIGITS = 3  # of a coordinate in mm, as in plan files


def namesOf(cut):
    """Which nodes show a cut: the name of each, empty for the only one."""
    return list(cut["marks"]) if cut["type"] == "territories" else [""]


def kindOf(cut):
    """The class of these nodes."""
    return _KINDS[cut["type"]][0]


def write(nodes, cut, low, high):
    """Make nodes show a cut.

    Args:
        nodes: by name, see :func:`namesOf`.
        cut: as in a plan file.
        low, high: (3,) smallest and largest R, A and S of the organ.
    """
    _KINDS[cut["type"]][1](nodes, cut, low, high)
    for node in nodes.values():
        for display in displaysOf(node) if cut["type"] == "territories" else [node.GetDisplayNode()]:
            display.SetSelectedColor(*YELLOW)
            display.SetPointLabelsVisibility(False)
        if cut["type"] != "territories":
            node.GetDisplayNode().SetPropertiesLabelVisibility(False)


def read(nodes, cut):
    """The cut that nodes show: the one that they were made for, with the places that they have now."""
    return _KINDS[cut["type"]][2](nodes, cut)


def _writePlane(nodes, cut, low, high):
    node, plane = nodes[""], plans.cut_of(cut)
    node.SetOriginWorld(*plane.origin)
    node.SetNormalWorld(*plane.normal)
    size = float(np.linalg.norm(high - low))
    node.SetSizeMode(node.SizeModeAbsolute)
    node.SetSize(size, size)
    _handles(node, scale=False)
    node.GetDisplayNode().SetOpacity(0.35)


def _readPlane(nodes, _cut):
    node = nodes[""]
    normal = [round(x, 5) for x in node.GetNormalWorld()]
    return {"type": "plane", "origin": _rounded(node.GetOriginWorld()), "normal": normal}


def _writeEllipsoid(nodes, cut, _low, _high):
    node, ellipsoid = nodes[""], plans.cut_of(cut)
    axes = np.array(ellipsoid.axes, float) / np.linalg.norm(ellipsoid.axes, axis=1, keepdims=True)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes.T, ellipsoid.center
    node.GetObjectToNodeMatrix().DeepCopy(toVtk(matrix))
    node.SetCenterWorld(*ellipsoid.center)
    node.SetSizeWorld(*(2 * r for r in ellipsoid.radii))
    _handles(node, scale=True)
    node.GetDisplayNode().SetFillVisibility(False)


def _readEllipsoid(nodes, _cut):
    node, matrix, size = nodes[""], nodes[""].GetObjectToWorldMatrix(), [0.0] * 3
    node.GetSizeWorld(size)
    axes = [[round(matrix.GetElement(row, column), 5) for row in range(3)] for column in range(3)]
    radii = _rounded(s / 2 for s in size)
    return {"type": "ellipsoid", "center": _rounded(node.GetCenterWorld()), "radii": radii, "axes": axes}


def _writeSurface(nodes, cut, _low, _high):
    _writePoints(nodes[""], cut["points"])


def _readSurface(nodes, cut):
    return {"type": "surface", "points": _readPoints(nodes[""]), "normal": cut["normal"]}


def _writeBranches(nodes, cut, _low, _high):
    for name, node in nodes.items():
        _writePoints(node, cut["marks"][name])


def _readBranches(nodes, cut):
    return {**cut, "marks": {name: _readPoints(node) for name, node in nodes.items()}}


def _writePoints(node, points):
    if node.GetNumberOfControlPoints() != len(points):
        node.RemoveAllControlPoints()
        for point in points:
            node.AddControlPointWorld(*point)
    for number, point in enumerate(points):
        node.SetNthControlPointPositionWorld(number, *point)


def _readPoints(node):
    return [_rounded(node.GetNthControlPointPositionWorld(n)) for n in range(node.GetNumberOfControlPoints())]


def _handles(node, scale):
    display = node.GetDisplayNode()
    display.SetHandlesInteractive(True)
    display.SetTranslationHandleVisibility(True)
    display.SetRotationHandleVisibility(True)
    display.SetScaleHandleVisibility(scale)


def _rounded(numbers):
    return [round(x, _DIGITS) for x in numbers]


_KINDS = {
    "plane": ("vtkMRMLMarkupsPlaneNode", _writePlane, _readPlane),
    "ellipsoid": ("vtkMRMLMarkupsROINode", _writeEllipsoid, _readEllipsoid),
    "surface": ("vtkMRMLMarkupsFiducialNode", _writeSurface, _readSurface),
    "territories": ("vtkMRMLMarkupsCurveNode", _writeBranches, _readBranches),
}
