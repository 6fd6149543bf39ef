"""Resections: an organ divided into parts, with their volumes and the remnant."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.boxes import box_of
from ..data.label_map import LabelMap, Structure, identifier, label_dtype
from ..data.terminology import structure_for
from ..data.types import ByteArray, LabelArray
from ..util.errors import UsageError
from ..util.given import checks_arguments
from ..util.words import counted
from .cuts import Cut
from .subjects import notes_on, subject

_MOST_PARTS = 64


@dataclass(frozen=True)
class Part:
    """A part of a divided organ.

    Attributes:
        number: from 1; it stays the same when a cut is moved.
        name: of its structure, e.g. ``"liver_part_1"``.
        sides: on which side of each cut it lies.
        voxels, ml: its volume.
        percent: of the whole organ.
        removed: whether it is taken out.
        cut: whether it reaches the border of the volume, so that ``ml`` is a lower bound.
    """

    number: int
    name: str
    sides: tuple[str, ...]
    voxels: int
    ml: float
    percent: float
    removed: bool
    cut: bool


@dataclass(frozen=True)
class Resection:
    """The volumes of a divided organ.

    Attributes:
        organ: its name.
        parts: those with voxels, by number; their voxels add up to the organ's.
        whole_ml: the organ's volume.
        remnant_ml, remnant_percent: what is left without the removed parts.
        remnant_cut: whether that reaches the border of the volume, so that ``remnant_ml`` is a lower bound.
        notes: what limits the numbers, one sentence each.
    """

    organ: str
    parts: tuple[Part, ...]
    whole_ml: float
    remnant_ml: float
    remnant_percent: float
    remnant_cut: bool
    notes: tuple[str, ...]


class Organ:
    """An organ ready to be cut again and again, as while a plane is dragged.

    Args:
        label_map: the voxels; it is not changed, and must not be while this object is used.
        name: name, title or label value of the organ.

    Raises:
        UsageError: an unknown structure.
        InputError: it has no voxels.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Organ, Plane, Structure
        >>> array = np.zeros((10, 10, 12), np.uint8)  # (K, J, I)
        >>> array[1:9, 1:9, 1:11] = 1
        >>> liver = Organ(LabelMap(array, np.eye(4), [Structure(1, "liver", "Liver")]), "liver")
        >>> cut = [Plane(origin=(6.5, 0, 0), normal=(1, 0, 0))]
        >>> found = liver.cut(cut, removed=[1])
        >>> [(part.name, part.percent) for part in found.parts], found.remnant_percent
        ([('liver_part_1', 40.0), ('liver_part_2', 60.0)], 60.0)
        >>> [s.name for s in liver.divided(cut).structures]
        ['liver_part_1', 'liver_part_2']
    """

    @checks_arguments
    def __init__(self, label_map: LabelMap, name: str):
        self.structure = subject(label_map, name)
        self._label_map = label_map
        mask = label_map.mask(self.structure.name)
        box = box_of(mask)
        assert box is not None  # it has voxels
        self._at = np.nonzero(mask[box])
        for indices, part in zip(self._at, box, strict=True):
            indices += part.start
        middle = [(s.start + s.stop - 1) / 2 for s in box]
        matrix = label_map.ijk_to_ras
        self._center = matrix[:3, :3] @ middle[::-1] + matrix[:3, 3]
        around = np.stack([(i - m).astype(np.float32) for i, m in zip(self._at, middle, strict=True)][::-1])
        self._points = matrix[:3, :3].astype(np.float32) @ around  # (3, N), relative to the center: exact enough
        ends = zip(self._at, mask.shape, strict=True)
        self._at_border = np.logical_or.reduce([(i == 0) | (i == size - 1) for i, size in ends])
        self._notes = notes_on(label_map, [self.structure])

    @checks_arguments
    def cut(self, cuts: Sequence[Cut], removed: Collection[int] = (1,)) -> Resection:
        """The volumes of the parts into which cuts divide the organ.

        Parts are numbered over the sides of all cuts, the last cut's fastest: one plane makes part 1, on the side of
        its normal, and part 2.

        Args:
            cuts: one at least.
            removed: numbers of the parts that are taken out.

        Raises:
            UsageError: no cuts, too many, or a number that no part can have.
        """
        codes, notes = self._codes(cuts)
        total = math.prod(len(cut.sides) for cut in cuts)
        for number in removed:
            if not 1 <= number <= total:
                raise UsageError(
                    f"There is no part {number} of {self._title}.", f"Choose from 1 to {total}.", code="usage.part"
                )
        counts, voxel_ml = np.bincount(codes, minlength=total), self._label_map.voxel_ml
        cut = np.bincount(codes[self._at_border], minlength=total) > 0
        names = self._names(total)
        parts = tuple(
            Part(
                n + 1,
                names[n],
                self._sides(cuts, n),
                int(counts[n]),
                float(counts[n]) * voxel_ml,
                100 * float(counts[n]) / len(codes),
                n + 1 in removed,
                bool(cut[n]),
            )
            for n in np.flatnonzero(counts).tolist()
        )
        left = [part for part in parts if not part.removed]
        kept, whole = sum(part.voxels for part in left), len(codes)
        return Resection(
            self.structure.name,
            parts,
            whole * voxel_ml,
            kept * voxel_ml,
            100 * kept / whole,
            any(part.cut for part in left),
            (*self._notes, *notes),
        )

    @checks_arguments
    def divided(self, cuts: Sequence[Cut]) -> LabelMap:
        """The label map with the parts as structures in the organ's place; all other structures stay.

        Raises:
            UsageError: as :meth:`cut`; or 16 bits cannot hold so many label values.
        """
        codes, _ = self._codes(cuts)
        total = math.prod(len(cut.sides) for cut in cuts)
        last = max(int(self._label_map.array.max()), *(s.value for s in self._label_map.structures))
        if last + total > np.iinfo(np.uint16).max:
            raise UsageError(
                f"The parts of {self._title} need label values above 65535.", "Give structures smaller ones."
            )
        names, present = self._names(total), np.flatnonzero(np.bincount(codes, minlength=total)).tolist()
        parts = [self._structure(n, last + 1 + n, names[n], total) for n in present]
        layers = [
            self._replaced(layer, codes, last, parts) if self.structure in layer.structures else layer
            for layer in self._label_map.layers
        ]
        return replace(self._replaced(self._label_map, codes, last, parts), layers=layers)

    @property
    def _title(self) -> str:
        return self.structure.title or self.structure.name

    def _codes(self, cuts: Sequence[Cut]) -> tuple[ByteArray, list[str]]:
        """The part of each voxel, from 0, and a note for each cut that misses the organ."""
        total = math.prod(len(cut.sides) for cut in cuts)
        if not cuts or total > _MOST_PARTS:
            raise UsageError(
                f"{counted(len(cuts), 'cut')} would make {total} parts of {self._title}.",
                f"Give cuts that make 2 to {_MOST_PARTS} parts.",
                code="usage.cuts",
            )
        codes, notes = np.zeros(len(self._at[0]), np.uint8), []
        for number, cut in enumerate(cuts, start=1):
            side = cut.side_of(self._points, self._center, self._label_map)
            if side.min() == side.max():
                notes.append(f"Cut {number} misses {self._title}: all of it is on one side ({cut.sides[side[0]]}).")
            codes *= np.uint8(len(cut.sides))
            codes += side
        return codes, notes

    def _sides(self, cuts: Sequence[Cut], code: int) -> tuple[str, ...]:
        places = np.unravel_index(code, [len(cut.sides) for cut in cuts])
        return tuple(cut.sides[int(place)] for cut, place in zip(cuts, places, strict=True))

    def _names(self, total: int) -> list[str]:
        taken = {s.name for s in self._label_map.structures}
        return [identifier(f"{self.structure.name}_part_{n + 1}", n + 1, taken) for n in range(total)]

    def _structure(self, code: int, value: int, name: str, total: int) -> Structure:
        """A part as a structure: the organ's codes, and its color in a shade of its own."""
        towards, share = (255 if code % 2 else 0), (code + 1) / (2 * total)
        red, green, blue = (round(c + (towards - c) * share) for c in self.structure.color)
        title = f"{self._title}, part {code + 1}"
        return replace(self.structure, value=value, name=name, title=title, color=(red, green, blue))

    def _replaced(self, label_map: LabelMap, codes: ByteArray, last: int, parts: list[Structure]) -> LabelMap:
        """A label map with the parts where it shows the organ."""
        array: LabelArray = label_map.array.astype(label_dtype(max(last, *(p.value for p in parts))))
        shown = array[self._at] == self.structure.value  # a smaller structure may lie over it
        at = tuple(indices[shown] for indices in self._at)
        array[at] = (codes[shown].astype(array.dtype) + array.dtype.type(last + 1)).astype(array.dtype)
        others = [s for s in label_map.structures if s != self.structure]
        return LabelMap(array, label_map.ijk_to_ras, [*others, *parts], list(label_map.warnings))


def is_part(name: str, organ: str) -> bool:
    """Whether a structure has the name of a part of an organ, as :meth:`Organ.divided` gives them."""
    return re.fullmatch(re.escape(organ) + r"_part_\d+", name) is not None


def joined(label_map: LabelMap, organ: str) -> LabelMap:
    """A label map with the parts of an organ as that organ again; the same one if there are none.

    Args:
        label_map: as from :meth:`Organ.divided`; it is not changed.
        organ: its name.
    """
    parts = [s for s in label_map.structures if is_part(s.name, organ)]
    if not parts or any(s.name == organ for s in label_map.structures):
        return label_map
    taken = {s.value for s in label_map.structures if s not in parts}
    value = next(v for v in range(1, len(taken) + 2) if v not in taken)
    whole = replace(structure_for(organ, value), type=parts[0].type, modifier=parts[0].modifier)
    layers = [_rejoined(layer, parts, whole) for layer in label_map.layers]
    return replace(_rejoined(label_map, parts, whole), layers=layers)


def _rejoined(label_map: LabelMap, parts: list[Structure], whole: Structure) -> LabelMap:
    """A label map with a structure where it shows parts of it; the same one if it shows none."""
    here = [s for s in label_map.structures if s in parts]
    if not here:
        return label_map
    array = label_map.array.copy()
    array[np.isin(array, [part.value for part in here])] = whole.value
    structures = sorted([*(s for s in label_map.structures if s not in here), whole], key=lambda s: s.value)
    return LabelMap(array, label_map.ijk_to_ras, structures, list(label_map.warnings))
