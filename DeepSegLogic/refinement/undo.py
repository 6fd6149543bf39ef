"""Undo and redo for prompts and manual edits alike. Only the changed boxes are stored, compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from ..data.boxes import box_of, placed, whole
from ..data.label_map import LabelMap, Structure
from ..data.types import LabelArray, Slices

_FAST = 1  # zlib level; labels are long runs, which higher levels compress no better
_PACKED = np.uint16  # for the labels of every map, whatever its own dtype


@dataclass(frozen=True)
class Entry:
    """One step of the history.

    Attributes:
        title: for the user, e.g. ``"Liver: point"``.
        box: (K, J, I) slices that contain all changed voxels; nothing else needs to be drawn again.
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
        """Memory of the step in bytes."""
        return len(self._before) + len(self._after)


class History:
    """The steps that changed one label map, to undo and redo.

    Args:
        label_map: changed in place by each step. Its array gets a larger dtype once a step's labels need it.

    Example:
        >>> import numpy as np
        >>> from dataclasses import replace
        >>> label_map = LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4), [Structure(1, "liver", "Liver")])
        >>> history = History(label_map)
        >>> step = history.commit("Fill", replace(label_map, array=np.ones((4, 4, 4), np.uint8)))
        >>> step.changes_ml
        {'liver': (0.064, 0.0)}
        >>> history.undo() is step, int(label_map.array.sum())
        (True, 0)
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
        """Steps that can be redone; the next one is last."""
        return tuple(self._undone)

    def commit(self, title: str, changed: LabelMap, box: Slices | None = None) -> Entry | None:
        """Take over the voxels and structures of a changed label map on the same grid. Undone steps are discarded.

        Args:
            title: of the step, for the user.
            changed: the label map after the step.
            box: contains all changes, if the caller knows it; this saves comparing the whole map.

        Returns:
            The step; None if nothing changed.
        """
        box = box or whole(self.label_map.array.shape)
        return self.put(title, box, changed.array[box], changed.structures)

    def put(self, title: str, box: Slices, labels: LabelArray, structures: list[Structure]) -> Entry | None:
        """Replace the labels in a box by others of its shape; see :meth:`commit`."""
        inner = box_of(self.label_map.array[box] != labels)
        if inner is None:
            return None
        box = placed(inner, box)
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
        """Undo the last step, and return it; None if there is none."""
        if not self._done:
            return None
        entry = self._done.pop()
        self._show(entry, entry._before, entry._structures[0])
        self._undone.append(entry)
        return entry

    def redo(self) -> Entry | None:
        """Redo the step that was undone last, and return it; None if there is none."""
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


def changes_ml(before: LabelArray, after: LabelArray, label_map: LabelMap) -> dict[str, tuple[float, float]]:
    """Structure name → (gained, lost) in ml between two arrays of the same shape, for structures that changed."""
    changed = before != after
    highest = max((s.value for s in label_map.structures), default=0) + 1
    gained = np.bincount(after[changed], minlength=highest) * label_map.voxel_ml
    lost = np.bincount(before[changed], minlength=highest) * label_map.voxel_ml
    return {
        s.name: (float(gained[s.value]), float(lost[s.value]))
        for s in label_map.structures
        if gained[s.value] or lost[s.value]
    }
