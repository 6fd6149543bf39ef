"""Diagonals: each face of the net becomes two triangles, and has to bend along one of its diagonals.

Where the surface around is convex, the outer diagonal lies nearer to it, and where it is hollow the inner one. But if
one is much shorter, the face is folded along it: along the other, triangles would cross others more often.
"""

from __future__ import annotations

import numpy as np

from .corners import any_corner
from .surface import PIECE
from .surface_net import Columns, Net, cross

_FLAT = 1e-6  # voxels⁶: a face that bends less may stay as it is
_SHORTER = 2  # times the square of one diagonal, from where the other is much longer
_TURN = [3, 0, 1, 2]  # corners of a face, from the other diagonal


def choose_diagonals(net: Net, places: Columns, bends: Columns) -> None:
    """Let the faces begin at an end of the diagonal along which they are split (``net.quads`` is changed).

    The sign of the surface's mean curvature chooses, as its sum along both diagonals tells on which side of a chord
    the surface lies. Signs are the same in voxels and in mm.

    Args:
        places: (3, V) of the vertices.
        bends: (3, V) how far they lie from the means of their neighbours: along the normal where the surface is
            convex, and against it where it is hollow.
    """
    turned = np.zeros(len(net.quads), bool)
    for at in range(0, len(turned), PIECE):
        quads = net.quads[at : at + PIECE]
        a, b, c, d = places.take(quads.T, 1).swapaxes(0, 1)
        first, other = c - a, d - b
        normals = cross(first, other)
        outer = ((a + c - b - d) * normals).sum(0)
        convex = (bends.take(quads.T[::2], 1).sum(1) * normals).sum(0)  # two of its corners tell as much as four
        first, other = (first**2).sum(0), (other**2).sum(0)
        bent = (outer * convex < -_FLAT) & (other <= _SHORTER * first)
        found = np.flatnonzero(bent | (first > _SHORTER * other))
        quads[found] = quads.take(found, 0).take(_TURN, 1)
        turned[at + found] = True
    for corners, rows in ((net.nonmanifold, 1), (net.sheets.reshape(-1, 4), 2)):
        marked = any_corner(corners)  # few
        marked = marked[turned.take(marked // rows)]
        corners[marked] = corners.take(marked, 0).take(_TURN, 1)
