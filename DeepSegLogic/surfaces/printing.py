"""Label maps prepared for 3D printing: cavities filled, loose pieces removed, thin walls thickened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data.boxes import boxes_by_label
from ..data.label_map import LabelMap
from ..refinement.postprocess import fill_holes, keep_largest_component, remove_small_components
from ..util.errors import UsageError
from ..util.progress import Cancel, check, never_cancel

SMALLEST_ML = 0.1
THICKEST_WALL_MM = 100.0  # the volume needs a margin this wide


def for_printing(
    label_map: LabelMap,
    min_wall_mm: float | None = None,
    min_piece_ml: float = SMALLEST_ML,
    cancel: Cancel = never_cancel,
) -> LabelMap:
    """Fill the cavities of each structure, which would enclose unprinted material, and remove small loose pieces.

    Args:
        label_map: it is not changed.
        min_wall_mm: thicken what is thinner, see :func:`thickened`.
        min_piece_ml: remove pieces that are smaller; a structure with only smaller ones keeps its largest.

    Returns:
        A new label map on the same grid.

    Raises:
        UsageError: a wall or a piece that is not positive, or a wall that is too thick.
        Cancelled: ``cancel`` returned True.
    """
    check_sizes(min_wall_mm, min_piece_ml)
    if label_map.layers:
        layers = [for_printing(layer, min_wall_mm, min_piece_ml, cancel) for layer in label_map.layers]
        return replace(label_map, layers=layers)
    present = set(np.unique(label_map.array).tolist())
    for structure in (s for s in label_map.structures if s.value in present):
        check(cancel)
        tidy = remove_small_components(label_map, structure.name, min_piece_ml)
        if not (tidy.array == structure.value).any():
            tidy = keep_largest_component(label_map, structure.name)
        label_map = fill_holes(tidy, structure.name)
    return label_map if min_wall_mm is None else thickened(label_map, min_wall_mm, cancel)


def thickened(label_map: LabelMap, wall_mm: float, cancel: Cancel = never_cancel) -> LabelMap:
    """Thicken every structure where it is thinner than a wall, in whole voxels.

    A place is thin if an opening with a ball of that diameter removes it (local thickness; Hildebrand and Rüegsegger,
    J Microsc 1997). It grows on both sides, and only into background: thin parts between neighbours stay thin.

    Args:
        label_map: it is not changed.
        wall_mm: the thickness.

    Raises:
        Cancelled: ``cancel`` returned True.
    """
    from scipy.ndimage import distance_transform_edt

    array = label_map.array.copy()
    spacing = label_map.spacing_kji
    reach = (wall_mm + spacing) / 2  # from the middle of a wall to the first voxel outside
    margin = np.ceil(reach / spacing).astype(int) + 1
    padded = np.pad(array, [(m, m) for m in margin])
    inner = tuple(slice(m, -m) for m in margin)
    for value, box in boxes_by_label(array).items():
        check(cancel)
        region = padded[tuple(slice(s.start, s.stop + 2 * m) for s, m in zip(box, margin, strict=True))]
        mask = region == value
        core = distance_transform_edt(mask, spacing / reach) >= 1
        # A voxel more than the ball: a ball of voxels does not fill round edges, which are not thin.
        covered = distance_transform_edt(~core, spacing / (reach + spacing)) < 1 if core.any() else core
        thin = mask & ~covered
        if thin.any():
            near = distance_transform_edt(~thin, spacing / reach) < 1
            region[near & (region == 0)] = value
    return LabelMap(np.ascontiguousarray(padded[inner]), label_map.ijk_to_ras, label_map.structures)


def check_sizes(min_wall_mm: float | None, min_piece_ml: float) -> None:
    """Raise :class:`UsageError` for sizes that :func:`for_printing` cannot keep to."""
    for value, what, unit in ((min_wall_mm, "wall", "mm"), (min_piece_ml, "piece", "ml")):
        if value is not None and not value > 0:
            raise UsageError(
                f"A smallest {what} of {value} {unit} is not possible.", "Give a number > 0.", code="usage.print"
            )
    if min_wall_mm is not None and min_wall_mm > THICKEST_WALL_MM:
        raise UsageError(
            f"A smallest wall of {min_wall_mm} mm is not possible.",
            f"Give {THICKEST_WALL_MM:g} mm or less.",
            code="usage.print",
        )
