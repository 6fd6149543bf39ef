"""Images and label maps from files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import LPS_TO_RAS
from ..labels import LabelMap, identifier, label_dtype
from ..terminology import standard_structures, structure_for
from ..volume import Volume, compact
from ..volume_checks import GIVE_THE_CT, reject_unusable_voxels
from . import header
from .nifti_names import read_names

_SAME_PLACE_MM = 1.0
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
SEGMENTATION_SUFFIXES = (".seg.nrrd", ".seg.nhdr")
FILES = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or MetaImage (.mha, .mhd)"
FORMATS = f"{FILES}, or a folder of DICOM slices"


def read_volume(path: Path | str) -> Volume:
    """Read a scalar 3D image from a file, a DICOM folder, or the series that one DICOM file belongs to.

    Voxels come as int16 where that holds them exactly, else as float32; the grid as it is in the file,
    from ITK's LPS to RAS.

    Raises:
        InputError: not an image, truncated, not 3D, not scalar, without a usable voxel size, or with voxels
            that are not numbers.
    """
    path = Path(path).expanduser()
    _must_exist(path)
    if path.is_dir() or header.is_dicom(path):
        from .dicom import read_series

        return read_series(path)
    if path.name.lower().endswith(SEGMENTATION_SUFFIXES):
        raise InputError(
            f"{path} is a segmentation, not a CT.",
            GIVE_THE_CT,
            code="input.segmentation",
        )
    image, warnings = _read_3d(path)
    array = sitk.GetArrayFromImage(image)
    reject_unusable_voxels(array, path)
    modality = image.GetMetaData("modality") if image.HasMetaDataKey("modality") else None
    return Volume(compact(array), ijk_to_ras(image), path.name.split(".")[0] or path.name, modality, warnings)


def read_label_map(path: Path | str) -> LabelMap:
    """Read a label map: any image of whole numbers, or Slicer's ``.seg.nrrd``.

    A ``.seg.nrrd`` brings its own names, colours and codes, a NIfTI of ours or of TotalSegmentator its names. Values
    of other images are named after the 117 structures of TotalSegmentator's ``total`` task, with a warning; a value
    beyond those is called ``label_N``.

    Raises:
        InputError: as :func:`read_volume`; values that are not whole, negative, or beyond 65535.
    """
    path = Path(path).expanduser()
    _must_exist(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a label map.", f"Give a file: {FILES}.", code="input.format")
    if path.name.lower().endswith(SEGMENTATION_SUFFIXES):
        from .segmentation import read_segmentation

        return read_segmentation(path)
    image, _ = _read_3d(path)
    array = label_values(sitk.GetArrayFromImage(image), path)
    values = [int(v) for v in np.unique(array) if v]
    names, warnings = read_names(path) if path.name.lower().endswith((".nii", ".nii.gz")) else {}, []
    if not names:
        names = {s.value: s.name for s in standard_structures()}
        if names.keys() & values:
            warnings = [f"{path.name} does not name its structures: they are called as in TotalSegmentator's total."]
    taken: set[str] = set()
    structures = [structure_for(identifier(names.get(v, f"label_{v}"), v, taken), v) for v in values]
    return LabelMap(array, ijk_to_ras(image), structures, warnings)


def voxel_type(path: Path | str) -> np.dtype:
    """The type of the voxels in a file, e.g. int32.

    Raises:
        InputError: it is not an image.
    """
    with _opened(Path(path).expanduser()) as reader:
        return sitk.GetArrayViewFromImage(sitk.Image([1, 1, 1], reader.GetPixelID())).dtype


def label_values(array: np.ndarray, path: Path) -> np.ndarray:
    """Voxels as uint8 or uint16, C-contiguous.

    Raises:
        InputError: a value is not a whole number from 0 to 65535.
    """
    if array.dtype.kind == "f" and (not np.isfinite(array).all() or (array != np.round(array)).any()):
        raise InputError(
            f"{path} is not a label map: it has values that are not whole numbers.",
            "Give a label map, whose voxels hold the number of their structure.",
            code="input.labels",
        )
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise InputError(
            f"{path} is not a label map: its values reach from {low} to {high}.",
            "Give a label map with values from 0 to 65535.",
            code="input.labels",
        )
    return np.ascontiguousarray(array, label_dtype(high))


def ijk_to_ras(image: sitk.Image) -> np.ndarray:
    """4×4 matrix of an ITK image, whose coordinates are LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ matrix


def _must_exist(path: Path) -> None:
    if not os.path.exists(path):  # noqa: PTH110, which raises within a closed folder
        raise InputError(f"There is no file {path}.", "Check the path.", code="input.missing")
    header.must_be_unicode(path)
    if not (path.is_file() or path.is_dir()):
        raise InputError(
            f"{path} is neither a file nor a folder.", "Write its content to a file first.", code="input.format"
        )
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be opened.", "Check its permissions.", code="input.missing")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes).", "Copy or export the file again.", code="input.truncated")


def _read_3d(path: Path) -> tuple[sitk.Image, list[str]]:
    """The image in a file and what had to be corrected, after everything that ITK lets pass was checked."""
    warnings = header.check(path)
    with _opened(path) as reader:
        _must_be_scalar(path, reader.GetNumberOfComponents(), reader.GetPixelID())
        warnings = _must_be_3d(path, reader.GetSize()) + warnings
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise _truncated_or(path, error) from error
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    if not all(s > 0 and np.isfinite(s) for s in image.GetSpacing()):
        raise InputError(
            f"{path} has no usable voxel size: {image.GetSpacing()} mm.", "Correct its header.", code="input.spacing"
        )
    return image, warnings + _nifti_doubts(reader, image)


@contextmanager
def _opened(path: Path) -> Iterator[sitk.ImageFileReader]:
    """ITK's reader of a file, which has read its header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with ExitStack() as kept:
        if path.name.lower().endswith(".nii.gz") and path.with_suffix("").exists():
            # ITK would take the voxels of the .nii beside it, without a word.
            apart = kept.enter_context(tempfile.TemporaryDirectory(prefix="deepseg-"))
            reader.SetFileName(shutil.copy(path, apart))
        if header.is_nrrd(path):  # ITK goes by the suffix, which may be missing
            reader.SetImageIO("NrrdImageIO")
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _not_an_image(path, error) from error
        yield reader


def _nifti_doubts(reader: sitk.ImageFileReader, image: sitk.Image) -> list[str]:
    """Whether a NIfTI says where it lies, and whether ITK, as Slicer, and others will read the same from it."""
    if not reader.HasMetaDataKey("srow_x"):
        return []
    sform, qform = (int(reader.GetMetaData(f"{form}_code")) for form in ("sform", "qform"))
    if sform <= 0 and qform <= 0:
        return [header.NO_ORIENTATION]
    if sform <= 0:
        return []
    stated = np.array([reader.GetMetaData(f"srow_{axis}").split() for axis in "xyz"], float)
    unit = {1: 1000.0, 3: 0.001}.get(int(reader.GetMetaData("xyzt_units")) & 7, 1.0)
    ends = np.array([[0, 0, 0, 1], [*(n - 1 for n in image.GetSize()), 1]]).T
    if np.abs(ijk_to_ras(image)[:3] @ ends - unit * stated @ ends).max() <= _SAME_PLACE_MM:
        return []
    return ["The file states two different positions. As in Slicer its qform was taken; other programs take its sform."]


def _must_be_scalar(path: Path, components: int, pixel: int) -> None:
    if components > 1 or "complex" in sitk.GetPixelIDValueAsString(pixel):
        kind = {3: "a colour (RGB) image", 4: "a colour (RGBA) image"}.get(components, "not a scalar image")
        raise InputError(
            f"{path} is {kind}, or a sequence: {components} values per voxel.",
            "Give a grey-value CT volume; of a sequence, one frame.",
            code="input.scalar",
        )


def _must_be_3d(path: Path, size: tuple[int, ...]) -> list[str]:
    shown = "×".join(map(str, size))
    if len(size) == 4 and size[3] == 1:
        return ["The image has a fourth axis with one frame; that frame is used."]
    if len(size) == 4:
        raise InputError(
            f"{path} is a 4D image ({shown}): {size[3]} frames.",
            "Extract one frame as a 3D volume and segment that.",
            code="input.dimension",
        )
    if len(size) > 4:
        raise InputError(
            f"{path} has {len(size)} axes ({shown}).", "Extract one 3D volume and segment that.", code="input.dimension"
        )
    if len(size) != 3 or min(size) < 2:
        raise InputError(
            f"{path} is a single slice or a 2D image ({shown}).",
            "Give a 3D volume, or the folder that holds all slices of the series.",
            code="input.dimension",
        )
    return []


def _not_an_image(path: Path, error: Exception) -> InputError:
    if re.search(r"spacing|direction|orthonormal|determinant", str(error), re.IGNORECASE):
        return InputError(
            f"{path} has a geometry that ITK refuses ({_reason(error)}).",
            "Correct the orientation in its header, or resample it onto a rectangular grid.",
            code="input.geometry",
        )
    return InputError(f"{path} is not an image that can be read.", f"Give {FORMATS}.", code="input.format")


def _truncated_or(path: Path, error: Exception) -> InputError:
    signs = r"bytes|truncat|got only|read (failed|error)|unexpected|premature|EOF|inflate|gzread|data file"
    if re.search(signs, str(error), re.IGNORECASE):
        return header.truncated(path)
    return InputError(f"{path} cannot be read ({_reason(error)}).", "Copy or export it again.", code="input.format")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:200] if lines else type(error).__name__
