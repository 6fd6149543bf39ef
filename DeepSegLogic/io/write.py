"""Writing volumes and label maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.itk import itk_name, sitk_image
from ..data.label_map import LabelMap, Structure
from ..data.types import Affine, ByteArray, LabelArray, VolumeArray
from ..data.volume import Volume
from ..util.atomic_write import atomic_path, cannot_write
from ..util.errors import InputError, OutputError, UsageError, last_line
from ..util.given import checks_arguments
from ..util.staging import move
from .headers import check_voxels
from .nifti_names import add_names

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@checks_arguments
def write_label_map(label_map: LabelMap, path: Path | str) -> None:
    """Write a label map.

    Args:
        path: its suffix chooses the format: ``.seg.nrrd`` (names, colours and codes), ``.nii`` or ``.nii.gz`` (names
            and colours, see :mod:`DeepSegLogic.io.nifti_names`), ``.nrrd`` or ``.mha`` (label values only).

    Raises:
        UsageError: unknown suffix.
        OutputError: the file cannot be written; an earlier file of that name is unchanged.

    Example:
        >>> from DeepSegLogic import read_label_map, write_label_map
        >>> write_label_map(read_label_map("organs.seg.nrrd"), "organs.nii.gz")
        >>> read_label_map("organs.nii.gz").structures[0].name
        'ribs'
    """
    path = Path(path)
    if path.name.lower().endswith(".seg.nrrd"):
        from .seg_nrrd import write_segmentation

        with atomic_path(path) as temporary:
            write_segmentation(label_map, temporary)
        return
    check_can_hold(path, label_map)
    write_array(label_map.array, label_map.ijk_to_ras, path, label_map.structures)


def check_can_hold(path: Path, label_map: LabelMap) -> None:
    """Raise :class:`InputError` if structures overlap, and the format of this file would lose a part of them."""
    if not path.name.lower().endswith(".seg.nrrd"):
        label_map.without_overlaps(f"written to {path.name}", "Write a .seg.nrrd, which keeps overlaps.")


@checks_arguments
def write_volume(volume: Volume, path: Path | str) -> None:
    """Write a volume.

    Args:
        path: its suffix chooses the format: ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.

    Raises:
        UsageError, OutputError: as :func:`write_label_map`.

    Example:
        >>> from DeepSegLogic import read_volume, write_volume
        >>> write_volume(read_volume("ct.nrrd"), "ct.nii.gz")
    """
    write_array(volume.array, volume.ijk_to_ras, Path(path))


def write_array(
    array: VolumeArray | LabelArray | ByteArray, ijk_to_ras: Affine, path: Path, structures: Sequence[Structure] = ()
) -> None:
    """Write voxels (K, J, I) on a grid, in the format of the suffix; raises as :func:`write_label_map`.

    Args:
        structures: whose names a NIfTI gets.
    """
    import SimpleITK as sitk

    suffix = check_suffix(path)
    image = sitk_image(array, ijk_to_ras)
    with atomic_path(path) as temporary:
        try:
            if structures and suffix in (".nii", ".nii.gz"):
                plain = temporary.with_name("plain.nii")
                sitk.WriteImage(image, itk_name(plain))
                add_names(plain, structures, temporary)
            else:
                plain = temporary.with_name(f"plain{suffix}")
                sitk.WriteImage(image, itk_name(plain), useCompression=suffix != ".nii")
                move(plain, temporary)
            check_voxels(temporary)  # ITK says nothing if the disk is too full for a NIfTI
        except RuntimeError as error:
            raise _explained(path, last_line(error)) from error
        except InputError as error:
            raise _explained(path, "only a part of it was written") from error


def check_suffix(path: Path) -> str:
    """The suffix of a file, one of :data:`SUFFIXES`.

    Raises:
        UsageError: no format of voxels has its suffix.
    """
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise UsageError(
            f"{path.name} does not end with the suffix of a known format.",
            f"Use {', '.join(SUFFIXES)} or, for label maps, .seg.nrrd.",
            code="usage.format",
        )
    return suffix


def _explained(path: Path, reason: str) -> OutputError:
    import shutil

    if shutil.disk_usage(path.parent).free < 2**20:
        return cannot_write(path, OSError(28, "No space left on device"))
    return OutputError(f"{path} cannot be written ({reason}).", "Choose another folder.", code="output.not_writable")
