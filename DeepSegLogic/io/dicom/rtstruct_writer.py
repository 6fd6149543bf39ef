"""DICOM RT Structure Set (RTSTRUCT), written with pydicom: closed contours on the slices of the CT."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ...data.label_map import LabelMap, Structure, with_voxels
from ...data.run_record import Provenance
from ...data.terminology import tg263_name
from ...util.errors import UsageError
from ...util.given import checks_arguments
from .algorithm import Algorithm, algorithm_of
from .contours import curves_of
from .derived import coded, derived_object, item, reference_to, save
from .files import Slice
from .source import Source, source_of

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # retired, and still what planning systems expect


@checks_arguments
def write_rtstruct(
    label_map: LabelMap,
    path: Path | str,
    *,
    source: Path | str,
    provenance: Provenance | None = None,
    corrected: bool = False,
) -> list[str]:
    """Write a label map as RTSTRUCT: closed planar contours, holes by key-holes.

    Contours run half-way between voxel centres inside and outside, so that rasterising them gives the same voxels.
    Structures without voxels are left out.

    Args:
        source: the series that was segmented: its folder, or one of its slices.
        provenance: of the result, for the name of the algorithm.
        corrected: whether somebody changed the result: its algorithm is then SEMIAUTOMATIC, else AUTOMATIC.

    Returns:
        what the series lacks and was made up, one sentence each.

    Raises:
        UsageError: no structure has voxels.
        InputError: the series has no frame of reference or lies on another grid.
        OutputError: the file cannot be written.

    Example:
        >>> from DeepSegLogic import write_rtstruct
        >>> write_rtstruct(result.label_map, "organs.rtstruct.dcm", source="series")  # doctest: +SKIP
    """
    found = source_of(source, label_map)
    label_map = found.record
    structures = with_voxels(label_map)
    if not structures:
        raise UsageError("The label map is empty: there is nothing to draw.", "Choose another one.", code="usage.empty")
    algorithm = algorithm_of(provenance, corrected)
    data = _structure_set(found)
    for number, structure in enumerate(structures, 1):
        _add(data, structure, number, found, algorithm)
    save(data, path)
    return found.warnings


def _structure_set(source: Source[LabelMap]) -> Any:
    """The file without its structures."""
    from pydicom.uid import RTStructureSetStorage

    now, first = datetime.now(), source.headers[0]
    data = derived_object(source, RTStructureSetStorage, "RTSTRUCT")
    data.SeriesNumber, data.InstanceNumber = 301, 1
    data.SeriesDescription, data.OperatorsName = "DeepSeg contours", ""
    data.StructureSetLabel, data.StructureSetDescription = "DeepSeg", "Research use only"
    data.StructureSetDate, data.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.ApprovalStatus = "UNAPPROVED"
    images = [reference_to(header) for header in source.headers]
    series = item(SeriesInstanceUID=first.SeriesInstanceUID, ContourImageSequence=images)
    study = item(ReferencedSOPClassUID=_STUDY_CLASS, ReferencedSOPInstanceUID=first.StudyInstanceUID)
    study.RTReferencedSeriesSequence = [series]
    frame = item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence, data.ROIContourSequence, data.RTROIObservationsSequence = [], [], []
    return data


def _add(data: Any, structure: Structure, number: int, source: Source[LabelMap], algorithm: Algorithm) -> None:
    roi = item(ROINumber=number, ReferencedFrameOfReferenceUID=data.FrameOfReferenceUID)
    title = structure.title or structure.name
    roi.ROIName = (tg263_name(structure.name) or title)[:64]
    roi.ROIDescription = structure.name  # read back as the name
    roi.ROIGenerationAlgorithm = algorithm.type
    roi.ROIGenerationDescription = algorithm.name
    data.StructureSetROISequence.append(roi)
    contours = item(ROIDisplayColor=list(structure.color), ReferencedROINumber=number)
    contours.ContourSequence = _contours(source, structure)
    data.ROIContourSequence.append(contours)
    seen = item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    seen.ROIObservationDescription = title  # read back as the title
    if structure.type is not None:
        seen.RTROIIdentificationCodeSequence = [coded(structure.type)]
    data.RTROIObservationsSequence.append(seen)


def _contours(source: Source[LabelMap], structure: Structure) -> list[Any]:
    """The contours of a structure, from plane to plane."""
    mask = source.record.mask(structure.name)
    contours: list[Any] = []
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        plane = source.planes[k]
        header = source.headers[0 if plane.frame is not None else k]
        image = reference_to(header)
        if plane.frame is not None:
            image.ReferencedFrameNumber = plane.frame + 1
        for curve in curves_of(mask[k]):
            contour = item(ContourImageSequence=[image], ContourGeometricType="CLOSED_PLANAR")
            contour.NumberOfContourPoints, contour.ContourNumber = len(curve), len(contours) + 1
            contour.ContourData = _in_space(plane, curve)
            contours.append(contour)
    return contours


def _in_space(plane: Slice, curve: np.ndarray[Any, Any]) -> list[str]:
    """A curve (I, J) as x, y, z of each point, LPS, mm."""
    row, column = plane.orientation[:3] * plane.spacing[1], plane.orientation[3:] * plane.spacing[0]
    points = plane.position + curve[:, :1] * row + curve[:, 1:] * column
    return [f"{number:.4f}" for number in points.ravel()]
