"""DICOM RT Structure Set (RTSTRUCT), rasterised on the grid of its CT."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...data.affine import LPS_TO_RAS, ras_to_ijk
from ...data.label_map import LabelMap
from ...data.types import FloatArray
from ...data.volume import Volume
from ...util.errors import InputError
from ..seg_nrrd import own_tags
from ..segments import Segment
from .contours import mask_of
from .derived import MANUFACTURER
from .layers import Packed, label_map_of_planes, packed
from .reference import reference_volume
from .seg_reader import line_of, must_not_be_deflated

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_OFF = 0.1  # of the distance of slices: rounding in contours


class _Contour(NamedTuple):
    """A contour: its ROI's number, geometric type, and points (N, 3) in RAS."""

    roi: int
    kind: str
    points: FloatArray


class _Content(NamedTuple):
    """A structure set: its dataset, its structures, the UID of their frame of reference, and all contours."""

    data: Any
    segments: list[Segment]
    frame: str
    contours: list[_Contour]


def read_rtstruct(path: Path, source: Path | str | None = None) -> LabelMap:
    """Read an RTSTRUCT: the voxels whose centres its contours enclose, by the even-odd rule.

    Overlapping structures are kept in layers. Open contours and points enclose nothing and are told.

    Args:
        source: the CT. Contours have no grid of their own, so it is needed.

    Raises:
        InputError: no CT or another patient's, damaged, or contours that do not lie on its slices.
        ResourceError: not enough memory.
    """
    if source is None:
        raise InputError(
            f"{path} holds contours (RTSTRUCT), which have no voxels without their CT.",
            "Give the CT as well.",
            code="input.source",
            action="give_image",
        )
    must_not_be_deflated(path)
    found = _parsed(path)
    volume = reference_volume(source, found.data, found.frame, path)
    numbers = {segment.pop("roi"): segment["labelValue"] for segment in found.segments}
    closed = [(numbers[c.roi], c.points) for c in found.contours if c.kind.startswith("CLOSED") and c.roi in numbers]
    warnings = []
    if ignored := len(found.contours) - len(closed):
        warnings.append(
            f"Contours of {path.name} that are open, or points, enclose nothing and are left out ({ignored})."
        )
    curves: dict[tuple[int, int], list[FloatArray]] = defaultdict(list)
    outside = 0
    for number, points in closed:
        plane = _plane(path, points, volume)
        if 0 <= plane < volume.shape_kji[0]:
            curves[number, plane].append(ras_to_ijk(points, volume.ijk_to_ras)[:, :2])
        else:
            outside += 1
    if outside:
        warnings.append(f"Contours of {path.name} that lie outside the CT are left out ({outside}).")
    planes: dict[int, list[tuple[int, Packed]]] = defaultdict(list)
    for (number, plane), drawn in curves.items():
        planes[number].append((plane, packed(mask_of(drawn, volume.shape_kji[1:]))))
    return label_map_of_planes(path, planes, found.segments, volume.shape_kji, volume.ijk_to_ras.copy(), warnings)


def _parsed(path: Path) -> _Content:
    import pydicom

    try:
        data = pydicom.dcmread(path)
        rois = data.get("StructureSetROISequence") or []
        segments = [_described(roi, value, data) for value, roi in enumerate(rois, 1)]  # ROI numbers may be 0
        frames = {str(roi.get("ReferencedFrameOfReferenceUID") or "") for roi in rois}
        contours = [
            _Contour(int(roi.ReferencedROINumber), line_of(contour.get("ContourGeometricType")), _points(contour))
            for roi in data.get("ROIContourSequence", [])
            for contour in roi.get("ContourSequence") or []
        ]
    except Exception as error:  # pydicom raises whatever its parser meets
        raise InputError(
            f"{path} cannot be read as a structure set ({type(error).__name__}).",
            "Export it again.",
            code="input.format",
        ) from error
    if len(frames) != 1 or not segments:
        raise InputError(
            f"{path} has {'structures in several frames of reference' if segments else 'no structures'}.",
            "Export the structures of one CT.",
            code="input.format",
        )
    return _Content(data, segments, frames.pop(), contours)


def _described(roi: Any, value: int, data: Any) -> Segment:
    number = int(roi.ROINumber)
    seen = _of_roi(data, "RTROIObservationsSequence", number)
    title, own = line_of(roi.get("ROIName")), ""
    if data.get("Manufacturer") == MANUFACTURER:
        own, title = line_of(roi.get("ROIDescription")), line_of(seen.get("ROIObservationDescription")) or title
    segment: Segment = {"name": title, "labelValue": value, "roi": number}
    if own:
        segment["tags"] = own_tags(own, title)
    drawn = _of_roi(data, "ROIContourSequence", number)
    if len(color := drawn.get("ROIDisplayColor") or []) == 3:
        segment["color"] = [min(max(int(c), 0), 255) / 255 for c in color]
    if codes := seen.get("RTROIIdentificationCodeSequence"):
        parts = ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
        segment["terminology"] = {"type": [line_of(codes[0].get(part)) for part in parts]}
    return segment


def _of_roi(data: Any, sequence: str, number: int) -> Any:
    """What a sequence says of a structure; empty if nothing."""
    return next((item for item in data.get(sequence, []) if int(item.ReferencedROINumber) == number), {})


def _points(contour: Any) -> FloatArray:
    """The points of a contour (N, 3), RAS."""
    points: FloatArray = np.array(contour.ContourData, float).reshape(-1, 3)
    if not np.isfinite(points).all():
        raise ValueError("a coordinate is not a number")
    return points @ LPS_TO_RAS[:3, :3]


def _plane(path: Path, points: FloatArray, volume: Volume) -> int:
    """The slice of the CT that a contour lies on; it may be outside."""
    depths = ras_to_ijk(points, volume.ijk_to_ras)[:, 2]
    plane = round(float(depths.mean()))
    if np.abs(depths - plane).max() > _OFF:
        raise InputError(
            f"{path} has contours that do not lie on the slices of the CT.",
            "Choose the CT that the structures were drawn on, or export them as DICOM SEG or .seg.nrrd.",
            code="input.geometry",
        )
    return plane
