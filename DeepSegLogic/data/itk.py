"""Grids as SimpleITK images. ITK's coordinates are LPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .affine import LPS_TO_RAS, spacing_ijk
from .types import Affine

if TYPE_CHECKING:
    import SimpleITK as sitk


def sitk_image(array: npt.NDArray[Any], ijk_to_ras: Affine) -> sitk.Image:
    """An ITK image of (K, J, I) voxels on an RAS grid."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    lps = LPS_TO_RAS @ ijk_to_ras
    spacing = spacing_ijk(lps)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image
