"""What SimpleITK is given: images, whose coordinates are LPS in ITK, and names of files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .affine import LPS_TO_RAS, spacing_ijk
from .types import Affine

if TYPE_CHECKING:
    import SimpleITK as sitk

_ONLY_ASCII = sys.platform == "win32"  # where ITK gets UTF-8 from Python, and takes it for the country's own code


def itk_name(path: Path) -> str:
    """The name by which ITK can open or write a file.

    On Windows, the short names that most files have there stand for other letters than ASCII. A file keeps its suffix,
    by which ITK chooses the format.
    """
    if itk_opens(str(path)):
        return str(path)
    in_folder = str(Path(_short_name(path.parent)) / path.name)
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix
    short = in_folder if path.name.isascii() else _short_name(path)
    return short if short.lower().endswith(suffix.lower()) else in_folder


def itk_opens(name: str) -> bool:
    """Whether ITK can open a file of this name: some disks of Windows have no short names."""
    return name.isascii() or not _ONLY_ASCII


def _short_name(path: Path) -> str:
    """The name of a file or folder that is there, each part of it as in DOS: ``C:\\Users\\MLLER~1``."""
    if sys.platform == "win32":
        import ctypes

        short = ctypes.create_unicode_buffer(1 << 15)
        if ctypes.windll.kernel32.GetShortPathNameW(str(path.absolute()), short, len(short)):
            return short.value
    return str(path)


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
