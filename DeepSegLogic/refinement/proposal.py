"""What a prompt would change, at any reach: found once, and then shown wider or narrower at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..data.boxes import box_of, grown, whole
from ..data.label_map import LabelMap, Structure
from ..data.types import FloatArray, MaskArray, ScalarArray, Slices
from .layers import editable, layer_to_edit, show_layers
from .voxel_filters import distance_to

BELIEVED = 0.5  # a voxel with more is wrong, as DeepSeg believes
LEAST = 0.02  # there is no evidence for a voxel with less; those near the prompt come first
BESIDE_MM, BESIDE_VOXELS = 3.0, 1.5  # how far beside the marked voxels the first ones without evidence lie, the larger


@dataclass(eq=False)
class Proposal:
    """The solution of one prompt.

    ``reach`` says how much changes: 1 is what DeepSeg believes, 2 is twice that volume, and 0 only the marked voxels.
    Where DeepSeg believes little, each 1 above 1 adds as many voxels as lie within 3 mm of the marked ones (1.5 voxels,
    if they are larger), so that what no evidence shows can be changed, too. A wider reach contains all narrower ones.

    Attributes:
        region: (K, J, I) slices of the label map's grid, the region of influence.
        field: float32 of the region's shape, the potential down to which each voxel is connected to the prompt; 1 at
            the marked voxels, 0 where nothing may change.
        marked: bool of the region's shape, the voxels that the prompt marks and that are wrong.
        target: label of the prompt's structure.
        value: label that voxels get; 0 is background.
        structures: of the label map, with the one that the prompt adds.
        spacing: mm along (K, J, I).
    """

    region: Slices
    field: ScalarArray
    marked: MaskArray
    target: int
    value: int
    structures: list[Structure]
    spacing: FloatArray

    def at(self, reach: float = 1.0) -> MaskArray:
        """The voxels that change, bool of the region's shape: the marked ones, and others connected to them."""
        believed, more = self._believed, max(reach - 1, 0)
        wanted = min(round((reach - more) * believed + more * max(believed, self._beside)), len(self._order))
        if wanted <= np.count_nonzero(self.marked):
            return self.marked.copy()
        return np.asarray(self.marked | (self.field >= self._order[wanted - 1]))

    def ml(self, reach: float = 1.0) -> float:
        """The volume that changes, in ml."""
        return float(np.count_nonzero(self.at(reach)) * self.spacing.prod() / 1000)

    def applied(self, label_map: LabelMap, reach: float = 1.0) -> LabelMap:
        """The label map that the prompt was for, with the change."""
        changed = replace(editable(label_map), structures=list(self.structures))
        target = next(s for s in self.structures if s.value == self.target)
        layer_to_edit(changed, target).array[self.region][self.at(reach)] = self.value
        show_layers(changed)
        return changed

    @cached_property
    def _order(self) -> ScalarArray:
        """Potentials of all voxels that may change, largest first."""
        return np.asarray(-np.sort(-self.field[self.field > 0]))

    @cached_property
    def _believed(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.field >= BELIEVED))

    @cached_property
    def _beside(self) -> int:
        """Number of voxels beside the marked ones that may change."""
        near = max(BESIDE_MM, BESIDE_VOXELS * float(np.cbrt(self.spacing.prod())))
        part = grown(box_of(self.marked) or whole(self.marked.shape), near / self.spacing, self.marked.shape)
        away = distance_to(self.marked[part], self.spacing, near)
        return int(np.count_nonzero((away > 0) & (away <= near) & (self.field[part] > 0)))
