"""Reading volumes and label maps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.affine import LPS_TO_RAS
from ..data.itk import itk_name, itk_opens
from ..data.label_map import LabelMap, identifier, label_dtype
from ..data.terminology import standard_structures, structure_for
from ..data.types import Affine, LabelArray
from ..data.volume import Volume, compact
from ..data.volume_checks import GIVE_THE_CT, reject_unusable_voxels
from ..util.errors import DeepSegError, InputError, ResourceError
from ..util.staging import temporary_folder
from . import archive, files, headers
from .dataset_names import names_beside
from .headers.fields import check_unit, rectangular
from .headers.formats import FILES, NIFTI, not_an_image
from .nifti_names import read_names
from .nifti_positions import nifti_doubts
from .segmentations import SEGMENTATION_SUFFIXES, holds_segments, label_file

if TYPE_CHECKING:
    import SimpleITK as sitk

    Header = sitk.Image | sitk.ImageFileReader
    """Both tell size, voxel sizes, directions and origin."""

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
IMAGE_SUFFIXES = (*SUFFIXES, *SEGMENTATION_SUFFIXES)
"""Of all files that may be in a zip file besides slices."""
_HEADERS = (".mhd", ".nhdr")  # which name the file of the voxels
_PAIRS = (".hdr", ".img")  # of two files with the same name
UNNAMED = "does not name its structures"
"""In the warning of a label map whose names are a guess."""


def read_volume(path: Path | str) -> Volume:
    """Read a scalar 3D image: NIfTI, NRRD, MetaImage, or DICOM.

    Args:
        path: a file, a folder of DICOM slices, one slice of a series, which is then read whole, or a zip file of one
            of these.

    Returns:
        voxels (K, J, I), in HU for CT, as int16 if that holds them exactly, else float32; the file's grid in RAS mm.

    Raises:
        InputError: not an image, truncated, not 3D, not scalar, without a usable voxel size, or with voxels
            that are not finite.
        ResourceError: not enough memory.

    Example:
        >>> from DeepSegLogic import read_volume
        >>> ct = read_volume("ct.nrrd")
        >>> ct.shape_kji, ct.orientation, ct.array.dtype.name
        ((15, 24, 26), 'RAS', 'int16')
    """
    path = files.as_path(path)
    files.must_exist(path)
    if path.is_file() and path.suffix.lower() == archive.SUFFIX:
        with archive.unpacked(path, IMAGE_SUFFIXES) as content:
            return replace(read_volume(content), source="")
    if path.is_dir() or files.is_dicom(path):
        from .dicom.series import read_series

        return replace(read_series(path), source=str(path.absolute()))
    if holds_segments(path):
        raise InputError(
            f"{path} is a segmentation, not a CT.",
            GIVE_THE_CT,
            code="input.segmentation",
            action="make_surfaces",
        )
    array, header, matrix, warnings = _read_3d(path)
    reject_unusable_voxels(array, path)
    modality = header.GetMetaData("modality") if header.HasMetaDataKey("modality") else None
    return Volume(compact(array), matrix, path.name.split(".")[0] or path.name, modality, warnings)


def read_label_map(path: Path | str, source: Path | str | None = None) -> LabelMap:
    """Read a label map: any image of whole numbers, 3D Slicer's ``.seg.nrrd``, or DICOM SEG.

    A ``.seg.nrrd`` holds names, colours and codes; a NIfTI by DeepSeg or TotalSegmentator holds names, and nnU-Net's
    ``dataset.json`` beside a label map or in the folder above has them. Where its regions overlap, a label is named for
    what it marks: ``kidney_without_masses``. Values of other images are named after the 117 structures of
    TotalSegmentator's ``total`` task, with a warning; a value above 117 becomes ``label_N``.

    Args:
        path: a file, a folder of results, or a folder with a single DICOM file.
        source: the CT that a DICOM file belongs to: the label map then gets its grid, and another patient's is refused.

    Returns:
        labels (K, J, I) as uint8 or uint16 on the file's own grid, in RAS mm, and the structures that occur.

    Raises:
        InputError: as :func:`read_volume`; values that are not whole numbers from 0 to 65535.
        ResourceError: not enough memory.

    Example:
        >>> from DeepSegLogic import read_label_map
        >>> organs = read_label_map("organs.seg.nrrd")
        >>> [structure.name for structure in organs.structures][-3:]
        ['right_lung', 'left_lung', 'tissue']
    """
    path = files.as_path(path)
    files.must_exist(path)
    path = label_file(path)
    if path.is_dir() or files.is_dicom(path):
        from .dicom import label_reader_of

        reader = None if path.is_dir() else label_reader_of(path)
        if reader is None:
            raise _not_a_label_map(path)
        return reader(path, source)
    if holds_segments(path):
        from .seg_nrrd_reader import read_segmentation

        return read_segmentation(path)
    array, _, matrix, warnings = _read_3d(path)
    array = label_values(array, path)
    values = _occurring(array)
    names = read_names(path) if path.name.lower().endswith((".nii", ".nii.gz")) else {}
    if not names and (names := names_beside(path, values)):
        values = sorted(names)  # all of them were looked for
    if not names:
        names = {s.value: s.name for s in standard_structures()}
        if names.keys() & values:
            warnings.append(
                f"{path.name} {UNNAMED}: they are called as in TotalSegmentator's total. "
                "If its labels are others, the names are wrong."
            )
    taken: set[str] = set()
    structures = [structure_for(identifier(names.get(v, f"label_{v}"), v, taken), v) for v in values]
    return LabelMap(array, matrix, structures, warnings)


def _not_a_label_map(path: Path) -> InputError:
    if path.is_dir():
        kind, remedy = "a folder", f"Choose a file: {FILES}."
    else:
        from .dicom.objects import class_name, sop_class

        kind = f"DICOM ({class_name(sop_class(path))})"
        remedy = f"Choose a label map: {FILES}, or DICOM SEG."
    return InputError(f"{path} is {kind}, not a label map.", remedy, code="input.format")


def voxel_type(path: Path | str) -> np.dtype[Any]:
    """The dtype of the voxels in a file, for example int32.

    Raises:
        InputError: the file is not an image.
    """
    import SimpleITK as sitk

    with _opened(files.as_path(path)) as (reader, _):
        one_voxel = sitk.GetArrayViewFromImage(sitk.Image([1, 1, 1], reader.GetPixelID()))
        return np.asarray(one_voxel).dtype


def label_values(array: npt.NDArray[Any], path: Path) -> LabelArray:
    """Voxels as label values, C-contiguous.

    Raises:
        InputError: a value is not a whole number from 0 to 65535.
    """
    if array.dtype.kind == "f" and (not np.isfinite(array).all() or (array != np.round(array)).any()):
        raise InputError(
            f"{path} is not a label map: it has values that are not whole numbers.",
            "Choose a label map: its voxels hold the number of their structure.",
            code="input.labels",
        )
    low, high = array.min(), array.max()
    if low < 0 or high > 65535:
        raise InputError(
            f"{path} is not a label map: its values range from {low} to {high}.",
            "Choose a label map with values from 0 to 65535.",
            code="input.labels",
        )
    return np.ascontiguousarray(array, label_dtype(high))


def _occurring(array: LabelArray) -> list[int]:
    """The values above 0 that occur. ``numpy.unique`` would first import masked arrays, which takes longer."""
    occurs = np.zeros(int(array.max()) + 1, bool)
    for plane in array:  # an array of indices is a copy of eight bytes a voxel
        occurs[plane] = True
    return (np.flatnonzero(occurs[1:]) + 1).tolist()


def ijk_to_ras(image: Header) -> Affine:
    """The RAS matrix of an ITK image, which itself is in LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ matrix


def _read_3d(path: Path) -> tuple[npt.NDArray[Any], Header, Affine, list[str]]:
    """The voxels (K, J, I) in a file, checked for what ITK accepts silently; their header and matrix; and warnings."""
    import SimpleITK as sitk

    with _opened(path) as (reader, checked):
        _must_be_scalar(path, reader.GetNumberOfComponents(), reader.GetPixelID())
        warnings = _must_be_3d(path, reader.GetSize()) + checked.doubts
        files.must_fit(path, checked.announced)
        array, header = headers.voxels(path), reader
        if array is None:
            try:
                header = reader.Execute()
            except RuntimeError as error:
                raise _truncated_or(path, error) from error
            if header.GetDimension() == 4:
                header = header[:, :, :, 0]
            array = sitk.GetArrayFromImage(header)
    if not all(s > 0 and np.isfinite(s) for s in header.GetSpacing()):
        raise InputError(
            f"{path} has no usable voxel size: {header.GetSpacing()} mm.", "Correct its header.", code="input.spacing"
        )
    matrix = ijk_to_ras(header)
    check_unit(path, np.array(header.GetDirection()).reshape(3, 3))
    matrix[:3, :3], doubts = rectangular(path, matrix[:3, :3])
    return array, header, matrix, [*warnings, *doubts, *nifti_doubts(reader, matrix, header.GetSize())]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[sitk.ImageFileReader, headers.Checked]]:
    """ITK's reader of a file; it has read the header, which was checked before."""
    import SimpleITK as sitk

    checked = headers.check(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(checked.reader)
    with ExitStack() as kept:

        def apart() -> Path:
            return kept.enter_context(temporary_folder())

        name = itk_name(path)
        if checked.reader == NIFTI and (correction := headers.corrected(path, apart)) is not None:
            name, doubts = itk_name(correction[0]), correction[1]
            checked = checked._replace(doubts=checked.doubts + doubts)
        elif path.suffix.lower() in _HEADERS:
            name = itk_name(headers.openable_copy(path, apart) or path)
        elif _must_be_copied(path, checked.reader, name):
            suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")
            name = itk_name(Path(shutil.copy(path, apart() / f"copy{suffix}")))
        reader.SetFileName(name)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _not_an_image(path, error) if itk_opens(name) else _unnamed(path) from error
        yield reader, checked


def _must_be_copied(path: Path, reader: str, name: str) -> bool:
    """Whether ITK would take the voxels of the .nii beside a .nii.gz, or cannot open a file of this name."""
    if reader == NIFTI and path.name.lower().endswith(".nii.gz") and path.with_suffix("").exists():
        return True
    return not itk_opens(name) and path.suffix.lower() not in _PAIRS


def _unnamed(path: Path) -> InputError:
    return InputError(
        f"{path} has a name that ITK cannot open on Windows.",
        "Rename the file and its folders, with the letters A to Z only.",
        code="input.name",
    )


def _must_be_scalar(path: Path, components: int, pixel: int) -> None:
    import SimpleITK as sitk

    if components > 1 or "complex" in sitk.GetPixelIDValueAsString(pixel):
        kind = {3: "a colour (RGB) image", 4: "a colour (RGBA) image"}.get(components, "not a scalar image")
        raise InputError(
            f"{path} is {kind}, or a sequence: {components} values per voxel.",
            "Choose a CT volume with one value per voxel, or extract one frame of the sequence.",
            code="input.scalar",
        )


def _must_be_3d(path: Path, size: tuple[int, ...]) -> list[str]:
    shown = "×".join(map(str, size))
    if len(size) == 4 and size[3] == 1:
        return ["The image has a fourth axis with one frame; that frame is used."]
    if len(size) == 4:
        raise InputError(
            f"{path} is a 4D image ({shown}): {size[3]} frames.",
            "Extract one frame as a 3D volume.",
            code="input.dimension",
        )
    if len(size) > 4:
        raise InputError(f"{path} has {len(size)} axes ({shown}).", "Extract one 3D volume.", code="input.dimension")
    if len(size) != 3 or min(size) < 2:
        raise InputError(
            f"{path} is a single slice or a 2D image ({shown}).",
            "Choose a 3D volume, or the folder that holds all slices of the series.",
            code="input.dimension",
        )
    return []


def _not_an_image(path: Path, error: Exception) -> InputError:
    if re.search(r"spacing|direction|orthonormal|determinant", str(error), re.IGNORECASE):
        return InputError(
            f"{path} has a geometry that ITK rejects ({_reason(error)}).",
            "Correct the orientation in its header, or resample it onto a rectangular grid.",
            code="input.geometry",
        )
    return not_an_image(path)


def _truncated_or(path: Path, error: Exception) -> DeepSegError:
    if re.search(r"allocat|bad_alloc", str(error), re.IGNORECASE):
        return ResourceError(f"Not enough memory to read {path}.", "Close other programs.", code="resource.memory")
    signs = r"bytes|truncat|got only|read (failed|error)|unexpected|premature|EOF|inflate|gzread|data file"
    if re.search(signs, str(error), re.IGNORECASE):
        return files.truncated(path)
    return InputError(f"{path} cannot be read ({_reason(error)}).", "Copy or export it again.", code="input.format")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:200] if lines else type(error).__name__
