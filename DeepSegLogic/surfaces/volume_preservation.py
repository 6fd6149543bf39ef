"""Volume preservation: after smoothing, every connected piece of a structure gets back the volume of its voxels.

All pieces move at once, each along the gradient of its own volume. The step comes from a linear model of the volumes,
which takes into account the limits of the moves and what neighbours share. Then the volumes and gradients of the pieces
that are still off are computed again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray
from .corners import faces_at
from .narrow_contacts import WallLimits
from .surface import IndexArray
from .surface_net import Columns, Net, cross, sums_at

_ROUNDS, _STEPS = 8, 3
_MODEL_TOLERANCE = 0.01  # of what is missing: the linear model is not more precise
_LARGEST_STEP = 0.15  # voxels: the gradient of a piece that has nearly vanished is too optimistic
_TOLERANCE, _LEAST = 5e-4, 0.02  # relative, and in voxels
_BLOCK = 16384  # faces or vertices per step, so that they stay in the processor's cache


def restore_volumes(net: Net, places: Columns, moves: Columns, limit: float) -> None:
    """Change the moves of the net's vertices so that each piece has the volume of its voxels.

    Args:
        places: (3, V) of the vertices before the smoothing, in voxels; precise enough near the origin.
        moves: (3, V) of the smoothing, in voxels; they are changed.
        limit: largest move along an axis, in voxels.
    """
    limits = WallLimits(net, limit)
    tolerance = np.maximum(_TOLERANCE * net.voxels, _LEAST)
    everywhere: tuple[Net, slice | IndexArray, MaskArray] = net, slice(None), np.ones(len(net.voxels), bool)
    part, vertices, whole = everywhere
    missing: FloatArray | None = None
    for _ in range(_ROUNDS):
        sides, start, before = _Sides(part), places[:, vertices], moves[:, vertices]
        volumes, gradients = sides.volumes_and_gradients(start + before)
        if missing is None:
            missing = net.voxels - volumes
            missing[0] = 0.0  # the background takes the rest
        lacking = np.where(np.abs(missing) > tolerance, missing, 0.0)
        low, high = limits.of(moves, vertices)
        after = _grown(before, lacking, sides, gradients, low, high)
        moves[:, vertices] = after
        missing -= sides.volumes(start + after) - volumes
        missing[0] = 0.0
        short = np.abs(missing) > tolerance
        if not short.any():
            break
        if (short > whole).any():  # pieces that only their neighbours' moves made wrong
            part, vertices, whole = everywhere
        part, among = _part_around(part, short)
        vertices, whole = np.arange(moves.shape[1])[vertices][among], short


def _part_around(net: Net, pieces: MaskArray) -> tuple[Net, IndexArray]:
    """The part of a net with all faces at the vertices of some pieces (a mask by number), and its vertices."""
    near = np.zeros(len(net.vertices), bool)
    theirs = np.flatnonzero(pieces.take(net.pieces).any(0))
    near[net.quads.take(theirs, 0).astype(np.intp)] = True
    faces = faces_at(near, net.quads)
    quads = net.quads.take(faces, 0)
    used = np.zeros(len(near), bool)
    used[quads.astype(np.intp)] = True
    vertices = np.flatnonzero(used)
    number = np.empty(len(near), np.int32)
    number[vertices] = np.arange(len(vertices))
    part = replace(
        net,
        vertices=net.vertices[vertices],
        quads=number.take(quads),
        pieces=net.pieces.take(faces, 1),
    )
    return part, vertices


def _grown(
    moves: Columns, missing: FloatArray, sides: _Sides, gradients: Columns, low: Columns, high: Columns
) -> Columns:
    """Moves (3, V) that add to each piece its missing volume, as far as the limits allow, by the linear model.

    The step size of a piece adapts to the effect of its last step.
    """
    gain = sides.sums_of_squares(gradients)
    gain = np.divide(1.0, gain, out=gain, where=gain > 0)
    steps, brought, grown = np.zeros_like(missing), np.zeros_like(missing), moves
    for _ in range(_STEPS):
        lacking = np.where(missing == 0, 0.0, missing - brought)
        if (np.abs(lacking) <= _MODEL_TOLERANCE * np.abs(missing)).all():
            break
        steps += lacking * gain
        before = brought
        grown, brought = sides.moved(moves, gradients, steps, low, high)
        rate = np.divide(brought - before, lacking, out=np.ones_like(lacking), where=lacking != 0)
        gain /= np.clip(rate, 0.5, 2.0)
    return grown


class _Sides:
    """The net's V vertices, once for every pair of pieces that meet there: one gains what the other loses.

    The first V of the P sides are the vertices with one of their pairs each; the further ones follow, by vertex.
    """

    def __init__(self, net: Net):
        self._pieces, self._vertices, self._quads = len(net.voxels), len(net.vertices), net.quads
        self._lower, self._higher, pair, self._sign = _pairs(net)
        self._pair_of_face = pair
        self._parts = [slice(begin, begin + _BLOCK) for begin in range(0, len(pair), _BLOCK)]
        first = np.empty(self._vertices, np.intp)
        for part in self._parts:
            first[net.quads[part].astype(np.intp)] = pair[part, None]  # much faster to index with than int32
        # Corners of faces (4 × face + corner) that belong to a further side of their vertex.
        others = np.concatenate(
            [np.flatnonzero(first.take(net.quads[part]) != pair[part, None]) + 4 * part.start for part in self._parts]
        )
        code = net.quads.ravel().take(others).astype(np.int64) * len(self._lower) + pair.take(others // 4)
        further, number = np.unique(code, return_inverse=True)
        self._vertex, pair_there = np.divmod(further, len(self._lower))
        self._pair = np.concatenate([first, pair_there])
        self._others, self._sides_there = others, self._vertices + number
        borders = np.minimum(np.arange(0, self._vertices + _BLOCK, _BLOCK), self._vertices)
        at = np.searchsorted(self._vertex, borders)
        self._blocks = [
            (slice(a, b), slice(c, d)) for a, b, c, d in zip(borders, borders[1:], at, at[1:], strict=False)
        ]

    def volumes(self, places: Columns) -> FloatArray:
        """Volume of each piece in voxels, with the vertices at given places (3, V).

        A face is two triangles, split along the diagonal from corner 0 to corner 2.
        """
        return self._of_pieces([self._of_faces(places, part)[0] for part in self._parts])

    def volumes_and_gradients(self, places: Columns) -> tuple[FloatArray, Columns]:
        """Volumes as above, and (3, P) the gradients of the lower piece's volume."""
        volumes, gradients = [], np.zeros((3, len(self._pair)), np.float32)
        for part in self._parts:
            volume, both, (a, b, c, _) = self._of_faces(places, part)
            volumes.append(volume)
            one = cross((b - a) * self._sign[part], c - a)  # the first triangle's
            sides = self._sides_of(part).T.ravel()
            for gradient, some in zip(gradients, np.concatenate([both, one, both, both - one], 1), strict=True):
                np.add.at(gradient, sides, some)
        return self._of_pieces(volumes), gradients

    def _sides_of(self, part: slice) -> IndexArray:
        """(N, 4) the sides at the corners of some faces."""
        sides = self._quads[part].astype(np.intp)  # much faster to index with than int32
        begin, end = np.searchsorted(self._others, (4 * part.start, 4 * part.stop))
        sides.ravel()[self._others[begin:end] - 4 * part.start] = self._sides_there[begin:end]
        return sides

    def _of_faces(self, places: Columns, part: slice) -> tuple[Columns, Columns, Columns]:
        """For some faces: volumes (N,), gradients at their corner 0 (3, N), and their corners (4, 3, N)."""
        corners = places.take(self._quads[part].T, 1).swapaxes(0, 1)
        a, b, c, d = corners
        both = cross((c - a) * self._sign[part], d - b)
        return (a * both).sum(0), both, corners

    def _of_pieces(self, of_faces: list[Columns]) -> FloatArray:
        """Volume of each piece from those of the faces."""
        by_pair = sums_at(self._pair_of_face, np.concatenate(of_faces), len(self._lower))
        return self._by_piece(by_pair, (1, -1))

    def sums_of_squares(self, gradients: Columns) -> FloatArray:
        """By piece."""
        return self._by_piece(sums_at(self._pair, (gradients**2).sum(0), len(self._lower)), (1, 1))

    def moved(
        self, moves: Columns, gradients: Columns, steps: FloatArray, low: Columns, high: Columns
    ) -> tuple[Columns, FloatArray]:
        """Moves (3, V) with each piece's step along its gradient, within the limits; and, by piece, the volume that
        this brings by the linear model."""
        rates = (steps[self._lower] - steps[self._higher]).astype(np.float32)
        result, brought = np.empty_like(moves), np.empty(len(self._pair), np.float32)
        for block, others in self._blocks:
            here, there = self._pair[block], self._pair[self._vertices :][others]
            gradient, further = gradients[:, block], gradients[:, self._vertices :][:, others]
            at = self._vertex[others] - block.start
            change = gradient * rates.take(here)
            for axis in range(3):
                np.add.at(change[axis], at, further[axis] * rates.take(there))
            np.clip(change, -_LARGEST_STEP, _LARGEST_STEP, out=change)
            change += moves[:, block]
            result[:, block] = np.clip(change, low[:, block], high[:, block], out=change)
            change -= moves[:, block]
            brought[block] = (change * gradient).sum(0)
            brought[self._vertices :][others] = (change.take(at, 1) * further).sum(0)
        return result, self._by_piece(sums_at(self._pair, brought, len(self._lower)), (1, -1))

    def _by_piece(self, values: FloatArray, signs: tuple[int, int]) -> FloatArray:
        """Sums of values by pair, with one sign for the lower piece and one for the higher."""
        lower = sums_at(self._lower, signs[0] * values, self._pieces)
        return lower + sums_at(self._higher, signs[1] * values, self._pieces)


def _pairs(net: Net) -> tuple[IndexArray, IndexArray, IndexArray, npt.NDArray[np.float32]]:
    """The pairs of pieces on the two sides of faces, lower and higher; and the pair and the sign of each face (F,):
    a sixth, negative if the piece behind it is the lower one."""
    lower, higher, count = net.pieces.min(0), net.pieces.max(0), len(net.voxels)
    # Most faces lie at the background. Their pairs are numbered as the pieces are, and only the others looked for.
    pair = higher.astype(np.intp)
    between = np.flatnonzero(lower)
    code = lower.take(between).astype(np.int64) * count + higher.take(between)
    changes = np.flatnonzero(np.diff(code, prepend=-1))  # neighbouring faces mostly have the same pair
    others, number = np.unique(code.take(changes), return_inverse=True)
    pair[between] = count + np.repeat(number, np.diff(changes, append=len(code)))
    sign = np.where(lower == net.pieces[0], np.float32(1 / 6), np.float32(-1 / 6))
    codes = np.append(np.arange(count), others)  # those of the background have no lower piece but 0
    return *np.divmod(codes, count), pair, sign
