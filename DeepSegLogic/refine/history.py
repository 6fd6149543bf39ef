"""One undo for prompts and hand edits alike; only changed boxes are kept, compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from ..boxes import Slices, box_of
from ..labels import LabelMap, Structure

_FAST = 1  # zlib level: labels are long runs, for which more effort gains nothing
_PACKED = np.uint16  # holds the labels of every map, whatever its own type


@dataclass(frozen=True)
class Entry:
    """One step.

    Attributes:
        title: for the user, e.g. ``"Point on Liver"``.
        box: (K, J, I) slices of what changed, which is all that needs to be drawn anew.
        changes_ml: structure name → (gained, lost) in ml.
    """

    title: str
    box: Slices
    changes_ml: dict[str, tuple[float, float]]
    _before: bytes
    _after: bytes
    _structures: tuple[list[Structure], list[Structure]]

    @property
    def nbytes(self) -> int:
        """Memory that the step takes."""
        return len(self._before) + len(self._after)


class History:
    """Steps over one label map, to undo and redo.

    Args:
        label_map: changed in place by each step; its voxels get a larger type once a step's labels need it.

    Example:
        >>> history = History(label_map)
        >>> history.commit("Point on Liver", refine(label_map, [click], volume=volume).label_map)
        >>> history.undo()
    """

    def __init__(self, label_map: LabelMap):
        self.label_map = label_map
        self._done: list[Entry] = []
        self._undone: list[Entry] = []

    @property
    def done(self) -> tuple[Entry, ...]:
        """Steps that can be undone, oldest first."""
        return tuple(self._done)

    @property
    def undone(self) -> tuple[Entry, ...]:
        """Steps that can be done again; the next one is last."""
        return tuple(self._undone)

    def commit(self, title: str, changed: LabelMap, box: Slices | None = None) -> Entry | None:
        """Take over a changed label map of the same grid; what was undone is forgotten.

        Args:
            box: holds all changes, where the caller knows it; saves looking through the whole map.

        Returns:
            The step; None if nothing differs.
        """
        box = box or tuple(slice(0, n) for n in self.label_map.array.shape)
        return self.put(title, box, changed.array[box], changed.structures)

    def put(self, title: str, box: Slices, labels: np.ndarray, structures: list[Structure]) -> Entry | None:
        """Put labels, of a box's shape, into it; see :meth:`commit`."""
        inner = box_of(self.label_map.array[box] != labels)
        if inner is None:
            return None
        box = tuple(slice(b.start + s.start, b.start + s.stop) for b, s in zip(box, inner, strict=True))
        before, after = self.label_map.array[box], labels[inner]
        if after.max() > np.iinfo(before.dtype).max:
            self.label_map.array = self.label_map.array.astype(_PACKED)
        entry = Entry(
            title,
            box,
            changes_ml(before, after, replace(self.label_map, structures=structures)),
            zlib.compress(before.astype(_PACKED).tobytes(), _FAST),
            zlib.compress(after.astype(_PACKED).tobytes(), _FAST),
            (list(self.label_map.structures), list(structures)),
        )
        self._show(entry, entry._after, entry._structures[1])
        self._done.append(entry)
        self._undone.clear()
        return entry

    def undo(self) -> Entry | None:
        """Take the last step back; returns it, or None if there is none."""
        if not self._done:
            return None
        entry = self._done.pop()
        self._show(entry, entry._before, entry._structures[0])
        self._undone.append(entry)
        return entry

    def redo(self) -> Entry | None:
        """Do the step that was undone last once more; returns it, or None if there is none."""
        if not self._undone:
            return None
        entry = self._undone.pop()
        self._show(entry, entry._after, entry._structures[1])
        self._done.append(entry)
        return entry

    def _show(self, entry: Entry, packed: bytes, structures: list[Structure]) -> None:
        part = self.label_map.array[entry.box]
        part[:] = np.frombuffer(zlib.decompress(packed), _PACKED).reshape(part.shape)
        self.label_map.structures = list(structures)


def changes_ml(before: np.ndarray, after: np.ndarray, label_map: LabelMap) -> dict[str, tuple[float, float]]:
    """What each structure gained and lost, in ml, between two arrays of one shape; only those that changed."""
    changed = before != after
    highest = max((s.value for s in label_map.structures), default=0) + 1
    gained = np.bincount(after[changed], minlength=highest) * label_map.voxel_ml
    lost = np.bincount(before[changed], minlength=highest) * label_map.voxel_ml
    return {
        s.name: (float(gained[s.value]), float(lost[s.value]))
        for s in label_map.structures
        if gained[s.value] or lost[s.value]
    }
