"""Undo and redo for prompts and manual edits alike. Only the changed boxes are stored, compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from ..data.boxes import box_of, hull, placed, whole
from ..data.label_map import LabelMap, Structure
from ..data.types import LabelArray, Slices
from .layers import show_layers

_FAST = 1  # zlib level; labels are long runs, which higher levels compress no better
_PACKED = np.uint16  # for the labels of every map, whatever its own dtype


@dataclass(frozen=True)
class _Part:
    """What a step changed in one layer: its number, a box, and the labels in it, packed."""

    layer: int
    box: Slices
    before: bytes
    after: bytes


@dataclass(frozen=True)
class _Names:
    """All structures, and those of each layer; without overlaps, the label map itself is the only one."""

    all: list[Structure]
    layers: list[list[Structure]]


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
    _parts: list[_Part]
    _before: _Names
    _after: _Names

    @property
    def nbytes(self) -> int:
        """Memory of the step in bytes."""
        return sum(len(part.before) + len(part.after) for part in self._parts)


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
        box, layers = box or whole(self.label_map.array.shape), changed.layers or [changed]
        names = _Names(changed.structures, [layer.structures for layer in layers])
        return self._step(title, box, {n: layer.array[box] for n, layer in enumerate(layers)}, names)

    def put(
        self, title: str, box: Slices, labels: LabelArray, structures: list[Structure], target: Structure
    ) -> Entry | None:
        """Replace labels in a box by others of its shape, where ``target`` is corrected; see :meth:`commit`."""
        names = [list(layer.structures) for layer in self.label_map.layers]
        number = self._layer(target)
        if names and number == len(names):
            names.append([target])
        return self._step(title, box, {number: labels}, _Names(structures, names or [structures]))

    def labels(self, target: Structure, box: Slices) -> LabelArray:
        """A copy of the labels in a box, where a structure is corrected: in its layer, if structures overlap."""
        return self._labels(self._layer(target), box).copy()

    def undo(self) -> Entry | None:
        """Undo the last step, and return it; None if there is none."""
        if not self._done:
            return None
        entry = self._done.pop()
        self._show([(part, part.before) for part in entry._parts], entry._before)
        self._undone.append(entry)
        return entry

    def redo(self) -> Entry | None:
        """Redo the step that was undone last, and return it; None if there is none."""
        if not self._undone:
            return None
        entry = self._undone.pop()
        self._show([(part, part.after) for part in entry._parts], entry._after)
        self._done.append(entry)
        return entry

    def _step(self, title: str, box: Slices, labels: dict[int, LabelArray], after: _Names) -> Entry | None:
        """Do a step: other labels in a box of some layers. Layers that come to an end become empty."""
        now = self.label_map
        before = _Names(list(now.structures), [list(layer.structures) for layer in now.layers or [now]])
        gone = range(len(after.layers), len(before.layers))
        labels = labels | {n: np.zeros_like(self._labels(n, box)) for n in gone}
        parts, old, new = list[_Part](), dict[int, LabelArray](), dict[int, LabelArray]()
        for n in labels:
            inner = box_of(self._labels(n, box) != labels[n])
            if inner is not None:
                place = placed(inner, box)
                old[n], new[n] = self._labels(n, place).copy(), labels[n][inner]
                parts.append(_Part(n, place, _packed(old[n]), _packed(new[n])))
        if not parts:
            return None
        if max(int(array.max()) for array in new.values()) > np.iinfo(now.array.dtype).max:
            for layer in now.layers or [now]:
                layer.array = layer.array.astype(_PACKED)
        named = replace(now, structures=after.all)
        changes: dict[str, tuple[float, float]] = {}
        for n in new:
            for name, (gained, lost) in changes_ml(old[n], new[n], named).items():
                other = changes.get(name, (0.0, 0.0))
                changes[name] = other[0] + gained, other[1] + lost
        after = _Names(list(after.all), [list(names) for names in after.layers])
        entry = Entry(title, hull([part.box for part in parts]), changes, parts, before, after)
        self._show([(part, part.after) for part in parts], after)
        self._done.append(entry)
        self._undone.clear()
        return entry

    def _layer(self, target: Structure) -> int:
        """The number of the layer where a structure is corrected; it may be a new one."""
        layers = self.label_map.layers
        return next((n for n, layer in enumerate(layers) if target in layer.structures), len(layers))

    def _labels(self, number: int, box: Slices) -> LabelArray:
        """The labels in a box of a layer, not copied; zeros if there is no such layer."""
        layers = self.label_map.layers or [self.label_map]
        return layers[number].array[box] if number < len(layers) else np.zeros_like(layers[0].array[box])

    def _show(self, parts: list[tuple[_Part, bytes]], names: _Names) -> None:
        """Write packed labels into the layers, and make the layers those of ``names``."""
        now = self.label_map
        arrays = [layer.array for layer in now.layers or [now]]
        while len(arrays) < len(names.layers):
            arrays.append(np.zeros_like(arrays[0]))
        for part, packed in parts:
            target = arrays[part.layer][part.box]
            target[:] = np.frombuffer(zlib.decompress(packed), _PACKED).reshape(target.shape)
        now.structures, now.array, now.layers = list(names.all), arrays[0], []
        if len(names.layers) > 1:
            layers = zip(arrays, names.layers, strict=False)  # further ones are empty now
            now.layers = [LabelMap(array, now.ijk_to_ras, list(structures)) for array, structures in layers]
            show_layers(now)


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


def _packed(labels: LabelArray) -> bytes:
    return zlib.compress(labels.astype(_PACKED).tobytes(), _FAST)
