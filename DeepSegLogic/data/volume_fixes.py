"""Fixes for volumes that are hard to segment: crop to the body, resample voxels that are too coarse or too fine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .affine import resampled_matrix
from .boxes import matrix_of, size_of, whole
from .types import Slices
from .volume import Volume, compact

BODY_HU = -500  # between air and the lung's vessels, well below fat
BODY_MARGIN_MM = 20.0
LOOK_MM = 4.0  # voxels of this size are fine enough to find the body
COARSE_MM, COARSE_TO_MM = 5.0, 3.0  # voxels larger than the first are resampled to the second
FINE_MM, FINE_TO_MM = 0.8, 1.0  # the same for smaller ones; models of whole organs work at 1.5 mm or more


def body_box(volume: Volume) -> Slices:
    """The box (K, J, I) of the largest connected part above air, with a margin; the whole volume if there is none."""
    from scipy.ndimage import find_objects, label

    steps = np.maximum(np.rint(LOOK_MM / volume.spacing_kji).astype(int), 1)
    parts, _ = label(volume.array[tuple(slice(None, None, step) for step in steps)] > BODY_HU)
    sizes = np.bincount(parts.ravel())
    if len(sizes) == 1:
        return whole(volume.shape_kji)
    found = find_objects(parts)[sizes[1:].argmax()]
    margins = np.ceil(BODY_MARGIN_MM / volume.spacing_kji).astype(int) + steps
    k, j, i = (
        slice(max(part.start * int(step) - int(margin), 0), min((part.stop - 1) * int(step) + int(margin) + 1, size))
        for part, step, margin, size in zip(found, steps, margins, volume.shape_kji, strict=True)
    )
    return k, j, i


def body_share(volume: Volume) -> float:
    """Fraction of the voxels that lie in :func:`body_box`."""
    return float(np.prod(size_of(body_box(volume))) / volume.array.size)


def cropped_to_body(volume: Volume) -> Volume:
    """A copy of the voxels in :func:`body_box`, at their place in space."""
    box = body_box(volume)
    return replace(volume, array=np.ascontiguousarray(volume.array[box]), ijk_to_ras=matrix_of(box, volume.ijk_to_ras))


def resampled(volume: Volume) -> Volume:
    """A volume with other voxels: axes above 5 mm are resampled to 3 mm; if there are none, axes below 0.8 mm to 1 mm.

    The new grid covers the same box. Linear interpolation by SimpleITK.
    """
    import SimpleITK as sitk

    from .itk import sitk_image

    spacing = volume.spacing_kji
    wanted = np.where(spacing > COARSE_MM, COARSE_TO_MM, spacing)
    if spacing.max() <= COARSE_MM:
        wanted = np.where(spacing < FINE_MM, FINE_TO_MM, spacing)
    shape = np.maximum(np.rint(volume.shape_kji * spacing / wanted), 1).astype(int)
    matrix = resampled_matrix(volume.ijk_to_ras, volume.shape_kji, shape.tolist())
    image, grid = sitk_image(volume.array, volume.ijk_to_ras), sitk_image(np.empty((1, 1, 1), np.int16), matrix)
    image = sitk.Resample(
        image,
        shape[::-1].tolist(),
        outputOrigin=grid.GetOrigin(),
        outputSpacing=grid.GetSpacing(),
        outputDirection=grid.GetDirection(),
        useNearestNeighborExtrapolator=True,  # for the half voxel outside the outermost centres
    )
    return replace(volume, array=compact(sitk.GetArrayFromImage(image)), ijk_to_ras=matrix)
