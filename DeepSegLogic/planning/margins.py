"""Margins: a structure grown or shrunk by mm, and what lies inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..data.boxes import box_of, boxes_by_label, common, grown, within
from ..data.label_map import LabelMap, identifier, label_dtype
from ..data.records import ArrayRecord
from ..data.types import LabelArray, MaskArray, Slices
from ..util.errors import InputError, UsageError
from ..util.given import checks_arguments
from .subjects import notes_on, subject


@dataclass(frozen=True)
class Inside:
    """The part of a structure that lies inside a margin.

    Attributes:
        structure: its name.
        ml: the volume of that part.
        percent: of the structure's whole volume.
    """

    structure: str
    ml: float
    percent: float


@dataclass(eq=False, repr=False)
class Margin(ArrayRecord):
    """A structure with a safety margin.

    Attributes:
        structure: its name.
        mm: the width; negative where the structure was shrunk.
        box: the part of the grid that ``mask`` covers.
        mask: (K, J, I) bool, in the box: the structure and its margin, without what is kept.
        ml: the volume of the mask.
        cut: whether the border of the volume cuts it, so that ``ml`` is a lower bound.
        inside: the other structures of which voxels lie inside, in label order.
        notes: what limits the numbers, one sentence each.
    """

    structure: str
    mm: float
    box: Slices
    mask: MaskArray
    ml: float
    cut: bool
    inside: tuple[Inside, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The numbers as plain JSON values, without the mask."""
        numbers = {"structure": self.structure, "mm": self.mm, "ml": self.ml, "cut": self.cut}
        return numbers | {"inside": [asdict(part) for part in self.inside], "notes": list(self.notes)}


@checks_arguments
def margin(label_map: LabelMap, name: str, mm: float, *, keep: Sequence[str] = ()) -> Margin:
    """Grow or shrink a structure by a Euclidean distance in mm.

    A voxel is inside if its center is at most ``mm`` away from the center of a voxel of the structure. If ``mm`` is
    negative, it is inside if its center is more than that away from every voxel outside. What lies beyond the border
    of the volume does not count as outside.

    Args:
        label_map: the voxels, on any grid with orthogonal axes; it is not changed.
        name: name, title or label value.
        mm: the width of the margin; negative to shrink.
        keep: structures that must not be touched: their voxels are taken out of the margin.

    Raises:
        UsageError: an unknown structure, or a width that is not a number.
        InputError: the structure has no voxels, or none are left after shrinking.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, margin
        >>> array = np.zeros((9, 9, 9), np.uint8)  # (K, J, I)
        >>> array[4, 4, 4], array[4, 4, 6] = 1, 2
        >>> parts = [Structure(1, "tumor", "Tumor"), Structure(2, "vein", "Vein")]
        >>> found = margin(LabelMap(array, np.diag([2.0, 2.0, 5.0, 1.0]), parts), "tumor", 4, keep=["vein"])
        >>> int(found.mask.sum())  # of the 13 voxels within 4 mm in the slice, one is the vein's
        12
        >>> found.inside
        ()
    """
    structure = subject(label_map, name)
    if not np.isfinite(mm):
        raise UsageError(f"The width of the margin is {mm} mm.", "Give a number of mm.", code="usage.length")
    whole = label_map.mask(structure.name)
    held = box_of(whole)
    assert held is not None  # it has voxels
    # One voxel more: the rim that is shrunk lies outside.
    box = grown(held, max(mm, 0.0) / label_map.spacing_kji + 1, whole.shape)
    mask = _resized(whole[box], mm, label_map)
    for kept in (label_map.structure(k) for k in keep):
        if kept != structure:
            mask &= ~label_map.mask(kept.name)[box]
    if not mask.any():
        raise InputError(
            f"Nothing is left of {structure.title or structure.name} after shrinking it by {-mm:g} mm.",
            "Choose a smaller width.",
            code="input.empty",
        )
    notes = list(notes_on(label_map, [structure]))
    if mm > 0 and not notes and _leaves(held, mm, label_map):
        notes.append(f"The margin of {structure.title or structure.name} is cut by the border of the volume.")
    ml = float(np.count_nonzero(mask)) * label_map.voxel_ml
    inside = _inside(label_map, structure.name, box, mask)
    return Margin(structure.name, mm, box, mask, ml, bool(notes), inside, tuple(notes))


def with_margin(label_map: LabelMap, found: Margin) -> LabelMap:
    """A label map with a margin as a structure of its own, which overlaps others: in a layer."""
    base = label_map.structure(found.structure)
    value = 1 + max(int(label_map.array.max()), *(s.value for s in label_map.structures))
    name = identifier(f"{base.name}_margin_{found.mm:g}_mm", value, {s.name for s in label_map.structures})
    title = f"{base.title or base.name}, margin {found.mm:g} mm"
    added = replace(base, value=value, name=name, title=title)
    mine: LabelArray = np.zeros(label_map.array.shape, label_dtype(value))
    mine[found.box][found.mask] = value
    shown: LabelArray = label_map.array.astype(label_dtype(value))
    sizes = np.bincount(label_map.array.ravel())  # where structures overlap, the smallest is shown
    sizes[0] = label_map.array.size + 1
    part = shown[found.box]
    part[found.mask & (sizes[label_map.array[found.box]] > np.count_nonzero(found.mask))] = value
    layers = label_map.layers or [label_map]
    own = LabelMap(mine, label_map.ijk_to_ras, [added])
    return LabelMap(
        shown, label_map.ijk_to_ras, [*label_map.structures, added], list(label_map.warnings), [*layers, own]
    )


def _resized(mask: MaskArray, mm: float, label_map: LabelMap) -> MaskArray:
    from scipy.ndimage import distance_transform_edt

    if mm == 0:
        return mask.copy()
    distances = np.asarray(distance_transform_edt(~mask if mm > 0 else mask, sampling=label_map.spacing_kji))
    # A rounding error must not decide whether a voxel at exactly this distance is inside.
    close = abs(mm) + 1e-9 * float(label_map.spacing_kji.max())
    resized: MaskArray = distances <= close if mm > 0 else distances > close
    return resized


def _leaves(held: Slices, mm: float, label_map: LabelMap) -> bool:
    """Whether a margin around a box of voxels would leave the volume."""
    voxels = np.floor(mm / label_map.spacing_kji)
    return any(s.start < v or s.stop + v > n for s, v, n in zip(held, voxels, label_map.array.shape, strict=True))


def _inside(label_map: LabelMap, name: str, box: Slices, mask: MaskArray) -> tuple[Inside, ...]:
    """The other structures' parts in a mask that covers a box."""
    found = []
    for layer in label_map.layers or [label_map]:
        boxes = boxes_by_label(layer.array)
        for structure in layer.structures:
            held = boxes.get(structure.value)
            shared = held and common(held, box)
            if held and shared and structure.name != name:
                voxels = np.count_nonzero((layer.array[shared] == structure.value) & mask[within(shared, box)])
                whole = np.count_nonzero(layer.array[held] == structure.value)
                if voxels:
                    found.append(
                        (structure.value, Inside(structure.name, voxels * label_map.voxel_ml, 100 * voxels / whole))
                    )
    return tuple(part for _, part in sorted(found, key=lambda f: f[0]))
