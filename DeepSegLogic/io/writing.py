"""Volumes and label maps to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError, OutputError, UsageError
from ..geometry import LPS_TO_RAS, spacing_of
from ..labels import LabelMap, Structure
from ..volume import Volume
from .atomic import atomic_path, cannot_write
from .header import check
from .nifti_names import add_names

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_label_map(label_map: LabelMap, path: Path | str) -> None:
    """Write a label map; the suffix says how: ``.seg.nrrd`` with names, colours and codes, NIfTI with names and
    colours (:mod:`DeepSegLogic.io.nifti_names`), or a plain image.

    Raises:
        UsageError: a suffix that is not known.
        OutputError: the file cannot be written; what was there before stays.
    """
    path = Path(path)
    if path.name.lower().endswith(".seg.nrrd"):
        from .segmentation import write_segmentation

        with atomic_path(path) as temporary:
            write_segmentation(label_map, temporary)
        return
    _write_image(label_map.array, label_map.ijk_to_ras, path, label_map.structures)


def write_volume(volume: Volume, path: Path | str) -> None:
    """Write a volume as NIfTI, NRRD or MetaImage.

    Raises:
        UsageError, OutputError: as :func:`write_label_map`.
    """
    _write_image(volume.array, volume.ijk_to_ras, Path(path))


def sitk_image(array: np.ndarray, ijk_to_ras: np.ndarray) -> sitk.Image:
    """An ITK image of (K, J, I) voxels on an RAS grid."""
    image = sitk.GetImageFromArray(array)
    lps = LPS_TO_RAS @ ijk_to_ras
    spacing = spacing_of(lps)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def _write_image(array: np.ndarray, ijk_to_ras: np.ndarray, path: Path, structures: Sequence[Structure] = ()) -> None:
    if not path.name.lower().endswith(SUFFIXES):
        raise UsageError(
            f"{path.name} has no suffix of a known format.",
            f"Use {', '.join(SUFFIXES)} or, for label maps, .seg.nrrd.",
            code="usage.format",
        )
    image = sitk_image(array, ijk_to_ras)
    compressed = not path.name.lower().endswith(".nii")
    with atomic_path(path) as temporary:
        try:
            if structures and path.name.lower().endswith((".nii", ".nii.gz")):
                plain = temporary.with_name("plain.nii")
                sitk.WriteImage(image, str(plain))
                add_names(plain, structures, temporary)
            else:
                sitk.WriteImage(image, str(temporary), useCompression=compressed)
            check(temporary)  # of a NIfTI that the disk had no room for ITK says nothing
        except RuntimeError as error:
            raise _explained(path, str(error).strip().splitlines()[-1]) from error
        except InputError as error:
            raise _explained(path, "only a part of it was written") from error


def _explained(path: Path, reason: str) -> OutputError:
    import shutil

    if shutil.disk_usage(path.parent).free < 2**20:
        return cannot_write(path, OSError(28, "No space left on device"))
    return OutputError(f"{path} cannot be written ({reason}).", "Choose another folder.", code="output.not_writable")
