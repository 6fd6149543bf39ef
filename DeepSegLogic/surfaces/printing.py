"""Label maps made ready for printing: single shells, nothing loose, nothing too thin."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..labels import LabelMap
from ..progress import Cancel, check, never_cancel
from ..refine.postprocess import fill_holes, keep_largest_component, remove_small_components

SMALLEST_ML = 0.1
MOST_WALL_MM = 100.0  # as wide as the margin that it needs around the volume


def for_printing(
    label_map: LabelMap,
    min_wall_mm: float | None = None,
    min_piece_ml: float = SMALLEST_ML,
    cancel: Cancel = never_cancel,
) -> LabelMap:
    """Fill the cavities of each structure, which a printer would build closed in, and drop its small loose pieces.

    Args:
        min_wall_mm: what is thinner is thickened to this, see :func:`thickened`.
        min_piece_ml: smaller pieces go; of a structure that has none larger, its largest stays.

    Raises:
        UsageError: a wall or a piece that is not positive, or a wall that is too thick.
    """
    for value, what in ((min_wall_mm, "wall"), (min_piece_ml, "piece")):
        if value is not None and not value > 0:
            raise UsageError(
                f"A smallest {what} of {value} is not possible.", "Give a positive number.", code="usage.print"
            )
    if min_wall_mm is not None and min_wall_mm > MOST_WALL_MM:
        raise UsageError(
            f"A smallest wall of {min_wall_mm} mm is not possible.",
            f"Give {MOST_WALL_MM:g} mm or less.",
            code="usage.print",
        )
    present = set(np.unique(label_map.array).tolist())
    for structure in (s for s in label_map.structures if s.value in present):
        check(cancel)
        tidy = remove_small_components(label_map, structure.name, min_piece_ml)
        if not (tidy.array == structure.value).any():
            tidy = keep_largest_component(label_map, structure.name)
        label_map = fill_holes(tidy, structure.name)
    return label_map if min_wall_mm is None else thickened(label_map, min_wall_mm, cancel)


def thickened(label_map: LabelMap, wall_mm: float, cancel: Cancel = never_cancel) -> LabelMap:
    """Every structure where it is thinner than a wall made that thick, in whole voxels.

    Thin is what an opening with a ball of that diameter leaves out (local thickness; Hildebrand and Rüegsegger,
    J Microsc 1997). It grows on both sides into background only: what lies between neighbours stays as it is.
    """
    from scipy.ndimage import distance_transform_edt, find_objects

    array = label_map.array.copy()
    spacing = label_map.spacing[::-1]
    reach = (wall_mm + spacing) / 2  # from the middle of a wall to the first voxel outside
    margin = np.ceil(reach / spacing).astype(int) + 1
    padded = np.pad(array, [(m, m) for m in margin])
    inner = tuple(slice(m, -m) for m in margin)
    for value, box in enumerate(find_objects(array.astype(np.int32, copy=False)), start=1):
        check(cancel)
        if box is None:
            continue
        region = padded[tuple(slice(s.start, s.stop + 2 * m) for s, m in zip(box, margin, strict=True))]
        mask = region == value
        core = distance_transform_edt(mask, spacing / reach) >= 1
        # A voxel more than the ball: round edges, which a ball of voxels does not fill, are not thin.
        covered = distance_transform_edt(~core, spacing / (reach + spacing)) < 1 if core.any() else core
        thin = mask & ~covered
        if thin.any():
            near = distance_transform_edt(~thin, spacing / reach) < 1
            region[near & (region == 0)] = value
    return LabelMap(np.ascontiguousarray(padded[inner]), label_map.ijk_to_ras, label_map.structures)
