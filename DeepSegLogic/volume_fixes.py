"""Volumes that are easier to segment, made from ones that are too large, too coarse or too fine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .boxes import matrix_of
from .geometry import resampled_matrix
from .volume import Volume, compact

BODY_HU = -500  # between air and lung's vessels, well below fat
BODY_MARGIN_MM = 20.0
LOOK_MM = 4.0  # voxels this large show where the body is
COARSE_MM, COARSE_TO_MM = 5.0, 3.0  # what is coarser than the first is resampled to the second
FINE_MM, FINE_TO_MM = 0.8, 1.0  # what is finer; models of whole organs work at 1.5 mm and more


def body_box(volume: Volume) -> tuple[slice, slice, slice]:
    """The box (K, J, I) of the largest connected part that is no air, with a margin; all of it if there is none."""
    from scipy.ndimage import find_objects, label

    steps = np.maximum(np.rint(LOOK_MM / volume.spacing[::-1]).astype(int), 1)
    parts, _ = label(volume.array[tuple(slice(None, None, step) for step in steps)] > BODY_HU)
    sizes = np.bincount(parts.ravel())
    if len(sizes) == 1:
        return tuple(slice(0, size) for size in volume.shape)
    found = find_objects(parts)[sizes[1:].argmax()]
    margins = np.ceil(BODY_MARGIN_MM / volume.spacing[::-1]).astype(int) + steps
    return tuple(
        slice(max(part.start * int(step) - int(margin), 0), min((part.stop - 1) * int(step) + int(margin) + 1, size))
        for part, step, margin, size in zip(found, steps, margins, volume.shape, strict=True)
    )


def body_share(volume: Volume) -> float:
    """Which share of the voxels :func:`body_box` holds."""
    return float(np.prod([s.stop - s.start for s in body_box(volume)]) / volume.array.size)


def cropped_to_body(volume: Volume) -> Volume:
    """The voxels in :func:`body_box`, copied, where they were in space."""
    box = body_box(volume)
    return replace(volume, array=np.ascontiguousarray(volume.array[box]), ijk_to_ras=matrix_of(box, volume.ijk_to_ras))


def resampled(volume: Volume) -> Volume:
    """Axes coarser than 5 mm made finer, to 3 mm; if there are none, those finer than 0.8 mm coarser, to 1 mm.

    The new grid covers the same box. Linear interpolation by SimpleITK.
    """
    import SimpleITK as sitk

    from .io.writing import sitk_image

    spacing = volume.spacing
    wanted = np.where(spacing > COARSE_MM, COARSE_TO_MM, spacing)
    if spacing.max() <= COARSE_MM:
        wanted = np.where(spacing < FINE_MM, FINE_TO_MM, spacing)
    size = np.maximum(np.rint(volume.shape[::-1] * spacing / wanted), 1).astype(int)
    matrix = resampled_matrix(volume.ijk_to_ras, volume.shape, size[::-1])
    image, grid = sitk_image(volume.array, volume.ijk_to_ras), sitk_image(np.empty((1, 1, 1), np.int16), matrix)
    image = sitk.Resample(
        image,
        size.tolist(),
        outputOrigin=grid.GetOrigin(),
        outputSpacing=grid.GetSpacing(),
        outputDirection=grid.GetDirection(),
        useNearestNeighborExtrapolator=True,  # half a voxel beyond the outermost centres
    )
    return replace(volume, array=compact(sitk.GetArrayFromImage(image)), ijk_to_ras=matrix)
