"""Label maps made ready for printing: single shells, nothing loose."""

from __future__ import annotations

import numpy as np

from ..labels import LabelMap
from ..progress import Cancel, check, never_cancel
from ..refine.postprocess import fill_holes, keep_largest_component, remove_small_components

SMALLEST_ML = 0.1


def for_printing(label_map: LabelMap, cancel: Cancel = never_cancel) -> LabelMap:
    """Fill the cavities of each structure, which a printer would build closed in, and drop its small loose pieces.

    Pieces under :data:`SMALLEST_ML` go; of a structure that has none larger, its largest stays.
    """
    present = set(np.unique(label_map.array).tolist())
    for structure in (s for s in label_map.structures if s.value in present):
        check(cancel)
        tidy = remove_small_components(label_map, structure.name, SMALLEST_ML)
        if not (tidy.array == structure.value).any():
            tidy = keep_largest_component(label_map, structure.name)
        label_map = fill_holes(tidy, structure.name)
    return label_map
