"""Which structures of two label maps are the same, and their masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.affine import orientation_of, reorient, same_grid
from ..data.boxes import boxes_by_label, hull
from ..data.label_map import LabelMap, Structure, structure_named
from ..data.types import LabelArray, MaskArray, Slices
from ..io.dataset_names import IGNORE
from ..util.errors import InputError

_SAME_MM = 1e-2


@dataclass(frozen=True)
class StructurePair:
    """A structure as each side has it; None where a side does not list it."""

    prediction: Structure | None
    reference: Structure | None

    @property
    def structure(self) -> Structure:
        """The one whose name is used: the reference's, if it has it."""
        found = self.reference or self.prediction
        assert found is not None
        return found


def pair_structures(
    prediction: LabelMap, reference: LabelMap, *, by_value: bool = False
) -> tuple[list[StructurePair], bool]:
    """All structures of two label maps, paired by name or title, else by label value, without those to ignore.

    Args:
        by_value: pair by label value in any case.

    Returns:
        the pairs, in the reference's order, and whether label values decided.
    """
    ours, theirs = ([s for s in side.structures if s.name != IGNORE] for side in (prediction, reference))
    if not by_value:
        named = [(s, structure_named(s.name, ours) or structure_named(s.title or s.name, ours)) for s in theirs]
        by_value = not any(found for _, found in named) and bool({s.value for s in ours} & {s.value for s in theirs})
    if by_value:
        values = {s.value: s for s in ours}
        named = [(s, values.get(s.value)) for s in theirs]
    taken = {found.value for _, found in named if found}
    rest = [StructurePair(s, None) for s in ours if s.value not in taken]
    return [StructurePair(found, s) for s, found in named] + rest, by_value


class Masks:
    """The masks of structures of two label maps on the same grid, cut out around both.

    What the reference calls ``ignore``, as nnU-Net does, is in no mask: nobody said what is there.

    Voxels are brought into RAS order without interpolation, so that grids which differ in the order of their axes only
    are the same grid.

    Raises:
        InputError: the grids differ.
    """

    def __init__(self, prediction: LabelMap, reference: LabelMap, names: tuple[str, str]):
        """Args: names: of both, for the error."""
        self._sides = [_Side(prediction), _Side(reference)]
        self._ignored = next((s for s in reference.structures if s.name == IGNORE), None)
        ours, theirs = self._sides
        self.ijk_to_ras = theirs.ijk_to_ras
        if ours.shape != theirs.shape or not same_grid(ours.ijk_to_ras, theirs.ijk_to_ras, _SAME_MM):
            told = [f"{n} ({_grid(m)})" for n, m in zip(names, (prediction, reference), strict=True)]
            raise InputError(
                f"{told[0]} is not on the grid of {told[1]}.",
                "Segment the CT that the reference was drawn on, or resample one label map to the grid of the other "
                "with nearest neighbours.",
                code="input.grid",
            )

    def of(self, pair: StructurePair) -> tuple[MaskArray, MaskArray, Slices] | None:
        """The masks of prediction and reference, (K, J, I) bool, and the box that both fill; None if both are empty."""
        structures = (pair.prediction, pair.reference)
        boxes = [side.boxes.get(s.value) for side, s in zip(self._sides, structures, strict=True) if s]
        if not any(boxes):
            return None
        box = hull([b for b in boxes if b])
        prediction, reference = (side.mask(s, box) for side, s in zip(self._sides, structures, strict=True))
        counted = self.counted(box)
        return prediction & counted, reference & counted, box

    def counted(self, box: Slices) -> MaskArray:
        """(K, J, I) bool: the voxels of a box that are not to be ignored."""
        return ~self._sides[1].mask(self._ignored, box)


class _Side:
    def __init__(self, label_map: LabelMap):
        self._layer_of: dict[int, LabelArray] = {}
        self.boxes: dict[int, Slices] = {}
        for layer in label_map.layers or [label_map]:
            array, self.ijk_to_ras = reorient(layer.array, layer.ijk_to_ras, "RAS")
            self.boxes |= boxes_by_label(array)
            self._layer_of |= {s.value: array for s in layer.structures}
        self.shape = array.shape

    def mask(self, structure: Structure | None, box: Slices) -> MaskArray:
        array = self._layer_of.get(structure.value) if structure else None
        if structure is None or array is None:  # an empty structure may be in no layer
            return np.zeros([s.stop - s.start for s in box], bool)
        mask: MaskArray = array[box] == structure.value
        return mask


def _grid(label_map: LabelMap) -> str:
    size, spacing = ("×".join(f"{n:.4g}" for n in numbers) for numbers in (label_map.shape_ijk, label_map.spacing_ijk))
    first = ", ".join(f"{x:.4g}" for x in label_map.ijk_to_ras[:3, 3])
    return f"{size} voxels of {spacing} mm, the first at ({first}) mm, {orientation_of(label_map.ijk_to_ras)}"
