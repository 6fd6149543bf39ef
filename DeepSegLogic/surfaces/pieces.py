"""Connected pieces of structures: voxels of one label that share a face or an edge hang together.

Runs of voxels along I are joined with those beside them, which takes a fraction of the time of joining voxels.
"""

from __future__ import annotations

import numpy as np

from ..data.types import FloatArray, MaskArray
from .surface import IndexArray, Labels


class Pieces:
    """The pieces of all structures, numbered from 1; 0 is the background, which counts as one piece.

    Args:
        flat: labels of a volume with background on all sides, as one row along I.
        strides: along K, J and I.
        starts: indices of the voxels whose label differs from that before them, where runs start.

    Attributes:
        voxels: number of voxels of each piece; 0 for the background.
    """

    def __init__(self, flat: Labels, strides: IndexArray, starts: IndexArray):
        labels, lengths = flat.take(starts), np.diff(starts, append=len(flat))
        full = np.flatnonzero(labels)
        self._starts, labels = starts.take(full), labels.take(full)
        first = _first_of_each(len(full), *self._joined(flat, strides, labels))
        is_first = first == np.arange(len(full))
        count = int(is_first.sum())
        self._piece = np.cumsum(is_first).take(first)
        self.voxels: FloatArray = np.asarray(np.bincount(self._piece, lengths.take(full), count + 1), np.float64)
        label_of = np.zeros(count + 1, labels.dtype)
        label_of[self._piece] = labels
        self._several = np.bincount(label_of[1:], minlength=1) > 1
        self._only = np.zeros(len(self._several), np.int32)
        self._only[label_of] = np.arange(count + 1)
        self._only[0] = 0

    def of(self, voxels: IndexArray, labels: Labels) -> IndexArray:
        """(N,) int32, the pieces of some voxels, from their indices and labels."""
        pieces = self._only.take(labels)
        some = np.flatnonzero(self._several.take(labels))
        pieces[some] = self._piece.take(self._run_of(voxels.take(some)))
        return pieces

    def _run_of(self, voxels: IndexArray) -> IndexArray:
        return np.asarray(np.searchsorted(self._starts, voxels, "right") - 1)

    def _joined(self, flat: Labels, strides: IndexArray, labels: Labels) -> tuple[IndexArray, IndexArray]:
        """Pairs of runs that hang together; not all, but enough of them.

        Runs of two lines first meet at the start of one of them, so it is enough to look around the starts.

        Args:
            labels: of the runs.
        """
        pairs = []

        def alike(step: int) -> MaskArray:
            """Whether the voxel a step from the start of a run has its label."""
            return np.asarray(flat.take(self._starts + step) == labels)

        def join(where: MaskArray, step: int) -> None:
            runs = np.flatnonzero(where)
            pairs.append((runs, self._run_of(self._starts.take(runs) + step)))

        beside = {}
        for step in (*strides[:2], *-strides[:2]):
            beside[step], before = alike(step), alike(step - 1)
            join(before, step - 1)  # the other run starts earlier, or ends where this one starts
            if step > 0:
                join(beside[step] & ~before, step)  # both start at the same place
        for k in (strides[0], -strides[0]):
            for j in (strides[1], -strides[1]):
                join(alike(k + j) & ~beside[k] & ~beside[j], k + j)  # an edge that no other run joins
        one, other = zip(*pairs, strict=True)
        return np.concatenate(one), np.concatenate(other)


def _first_of_each(count: int, one: IndexArray, other: IndexArray) -> IndexArray:
    """(count,) of each number, the smallest that hangs together with it by pairs (one, other).

    As scipy's connected components, whose import takes longer than the surfaces of a small volume.
    """
    first = np.arange(count)
    while len(one):
        a, b = first.take(one), first.take(other)
        np.minimum.at(first, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(first, further := first.take(first)):
            first = further
        apart = first.take(one) != first.take(other)
        one, other = one[apart], other[apart]
    return first
