"""The DICOM series that a label map belongs to: the headers that a DICOM export takes over, plane by plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ...data.affine import LPS_TO_RAS, orientation_of, reorient
from ...data.label_map import LabelMap
from ...data.types import FloatArray
from ...data.volume import Volume
from ...util.errors import InputError
from ..files import is_dicom, must_exist
from .files import Slice
from .series import slices_of_scan

_NEAR = 0.1  # of a voxel: header and label map mean the same place
_ALIKE = 1e-3  # difference of directions
_LEFT_OUT = {  # by anonymisers, and needed in what refers to the series
    **dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"), ""),
    **dict.fromkeys(("StudyTime", "AccessionNumber", "ReferringPhysicianName"), ""),
}
OnGrid = TypeVar("OnGrid", LabelMap, Volume)


@dataclass
class Source(Generic[OnGrid]):
    """The series that a label map belongs to.

    Attributes:
        record: the label map with its axes as the series has them.
        headers: of its files without voxels (pydicom), complete enough to refer to: one for each plane of the label
            map, in its order, or a single multi-frame one.
        planes: the slice or frame at each plane of the label map.
        warnings: what the series lacks and was made up, one sentence each.
    """

    record: OnGrid
    headers: list[Any]
    planes: list[Slice]
    warnings: list[str]


def source_of(path: Path | str, record: OnGrid) -> Source[OnGrid]:
    """Find the slice of a DICOM series for each plane of a label map.

    Args:
        path: as for :func:`~DeepSegLogic.io.read.read_volume`: the folder of the series, or one of its slices.
        record: the label map, or the volume that was segmented. Its axes may be flipped or swapped.

    Raises:
        InputError: not DICOM, on another grid, without a frame of reference, or not a usable series.
    """
    path = Path(path).expanduser()
    must_be_dicom(path)
    slices = slices_of_scan(path, [])
    record = _as_slices(record, slices[0])
    planes = _planes(path, slices, record)
    files = list(dict.fromkeys(s.path for s in planes))
    if any(s.frame is not None for s in planes) and len(files) > 1:
        raise InputError(
            f"The series in {path} has several multi-frame files.",
            "Choose one of the files, or another format.",
            code="input.dicom",
        )
    warnings: list[str] = []
    return Source(record, _completed([_header(file) for file in files], path, warnings), planes, warnings)


def must_be_dicom(path: Path) -> None:
    """Raise :class:`InputError` for a file that is not DICOM; what a folder holds is not looked at."""
    must_exist(path)
    if path.is_file() and not is_dicom(path):
        raise InputError(
            f"{path} is not a DICOM series, so that nothing can be written that refers to it.",
            "Choose the folder of the DICOM slices, or another format.",
            code="input.dicom",
        )


def _as_slices(record: OnGrid, first: Slice) -> OnGrid:
    """A record with its axes (K, J, I) along the normal, the columns and the rows of slices."""
    axes = np.eye(4)
    axes[:3, :3] = np.stack([first.orientation[:3], first.orientation[3:], first.normal], 1)
    array, matrix = reorient(record.array, record.ijk_to_ras, orientation_of(LPS_TO_RAS @ axes))
    if isinstance(record, LabelMap):
        layers = [_as_slices(layer, first) for layer in record.layers]
        return replace(record, array=array, ijk_to_ras=matrix, layers=layers)
    return replace(record, array=array, ijk_to_ras=matrix)


def _planes(path: Path, slices: Sequence[Slice], grid: LabelMap | Volume) -> list[Slice]:
    """The slice at each plane of a grid."""
    lps = LPS_TO_RAS @ grid.ijk_to_ras
    spacing = grid.spacing_ijk
    directions = lps[:3, :3] / spacing
    first = slices[0]
    placed: FloatArray = np.stack([s.position for s in slices])
    near = _NEAR * float(spacing.min())
    shape = (int(first.tags["rows"]), int(first.tags["columns"]))
    along = np.abs(np.concatenate([directions[:, 0], directions[:, 1]]) - first.orientation).max() < _ALIKE
    alike = along and np.abs(first.spacing[::-1] - spacing[:2]).max() < _ALIKE and grid.shape_kji[1:] == shape
    planes = []
    for k in range(grid.shape_kji[0]):
        away = np.linalg.norm(placed - (lps @ [0, 0, k, 1])[:3], axis=1)
        if not alike or away.min() > near:
            raise InputError(
                f"The label map does not lie on the slices of {path}.",
                "Choose the series that was segmented. Tilted or uneven series are resampled when they are read; write "
                ".seg.nrrd or .nii.gz for them.",
                code="input.geometry",
            )
        planes.append(slices[int(away.argmin())])
    return planes


def _header(path: Path) -> Any:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):  # removed by some anonymisers, but not from the file's own part
        if not header.get(keyword):
            setattr(header, keyword, header.file_meta.get(f"MediaStorage{keyword}", ""))
    for keyword, value in _LEFT_OUT.items():
        if keyword not in header:
            setattr(header, keyword, value)
    return header


def _completed(headers: list[Any], path: Path, warnings: list[str]) -> list[Any]:
    """Headers that state their UIDs.

    Raises:
        InputError: they have no frame of reference, or no UIDs of their own.
    """
    from pydicom.uid import generate_uid

    for keyword, what in (("FrameOfReferenceUID", "frame of reference"), ("SOPInstanceUID", "SOP Instance UID")):
        if not all(header.get(keyword) for header in headers):
            raise InputError(
                f"The series in {path} has no {what}, so that DICOM cannot refer to it.",
                "Export the series again with its original headers, or choose another format.",
                code="input.dicom",
            )
    missing = [k for k in ("StudyInstanceUID", "SeriesInstanceUID") if not all(h.get(k) for h in headers)]
    for keyword in missing:
        made = generate_uid(entropy_srcs=[keyword, *(str(header.SOPInstanceUID) for header in headers)])
        for header in headers:
            setattr(header, keyword, made)
    if missing:
        warnings.append(
            f"The series states no {' and no '.join(missing)}. A new one is written, so that an archive does not sort "
            "the file beside the series."
        )
    return headers
