"""DICOM Segmentation (SEG), written with highdicom: one segment for each structure, on the slices of its series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.label_map import SIDES, Code, LabelMap, Structure, with_voxels
from ...data.run_record import Provenance
from ...data.terminology import ANATOMICAL_STRUCTURE, TISSUE
from ...util.errors import UsageError
from ...util.given import checks_arguments
from ...util.packages import can_import, lacks_extra
from ...util.version import __version__
from .algorithm import algorithm_of
from .derived import MANUFACTURER, save
from .source import Source, source_of

_MOST_LETTERS = 64  # of a DICOM text of type LO


def must_have_highdicom() -> None:
    """Raise :class:`UsageError` if highdicom is not installed."""
    if not can_import("highdicom"):
        raise lacks_extra(
            UsageError,
            "DICOM SEG needs the package highdicom, which is not installed.",
            "dicom",
            code="usage.dependency",
        )


@checks_arguments
def write_dicom_seg(
    label_map: LabelMap,
    path: Path | str,
    *,
    source: Path | str,
    provenance: Provenance | None = None,
    corrected: bool = False,
) -> list[str]:
    """Write a label map as DICOM SEG.

    Patient, study and frame of reference are those of the source series, to whose slices the frames refer. Segments
    are binary and may overlap. Structures without voxels are left out, unless all are.

    Args:
        source: the series that was segmented: its folder, or one of its slices.
        provenance: of the result, for the name and version of the algorithm.
        corrected: whether somebody changed the result: its algorithm type is then SEMIAUTOMATIC, else AUTOMATIC.

    Returns:
        what the series lacks and was made up, one sentence each.

    Raises:
        UsageError: highdicom is not installed.
        InputError: the series has no frame of reference or lies on another grid; no structures.
        OutputError: the file cannot be written.

    Example:
        >>> from DeepSegLogic import write_dicom_seg
        >>> write_dicom_seg(result.label_map, "organs.seg.dcm", source="series")  # doctest: +SKIP
    """
    must_have_highdicom()
    found = source_of(source, label_map)
    save(_segmentation(_present(label_map), found, provenance or {}, corrected, "BINARY"), path)
    return found.warnings


def write_dicom_labelmap(
    label_map: LabelMap,
    path: Path | str,
    *,
    source: Path | str,
    provenance: Provenance | None = None,
    corrected: bool = False,
) -> list[str]:
    """Write a label map as DICOM label map segmentation: as :func:`write_dicom_seg`, with one number per voxel.

    Many programs cannot read this kind yet.

    Raises:
        UsageError: structures overlap; and as there.
    """
    must_have_highdicom()
    if label_map.layers:
        raise UsageError(
            "Structures overlap, so that one number per voxel cannot hold them.",
            "Choose DICOM SEG.",
            code="usage.format",
        )
    found = source_of(source, label_map)
    save(_segmentation(_present(label_map), found, provenance or {}, corrected, "LABELMAP"), path)
    return found.warnings


def _present(label_map: LabelMap) -> list[Structure]:
    """The structures that have voxels; all if none has."""
    present = with_voxels(label_map) or label_map.structures
    if not present:
        raise UsageError("The label map has no structures to write.", "Choose another one.", code="usage.empty")
    return present


def _segmentation(
    structures: list[Structure], source: Source[LabelMap], provenance: Provenance, corrected: bool, kind: str
) -> Any:
    import highdicom as hd

    made_by = algorithm_of(provenance, corrected)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=made_by.name,
        family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=made_by.version,
        source=MANUFACTURER,
    )
    first, step = source.planes[0], round(float(source.record.spacing_ijk[2]), 6)
    return hd.seg.Segmentation(
        source_images=source.headers,
        pixel_array=_in_file_order(_voxels(source.record, structures), source),
        segmentation_type=kind,
        segment_descriptions=[_described(s, n, algorithm, made_by.type) for n, s in enumerate(structures, 1)],
        series_instance_uid=hd.UID(),
        series_number=300,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name="DeepSeg",
        software_versions=__version__,
        device_serial_number="0",
        content_label="DEEPSEG",
        content_description="Research use only",
        series_description="DeepSeg segmentation",
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=[float(mm) for mm in first.spacing],
            slice_thickness=step,
            spacing_between_slices=step,
        ),
    )


def _voxels(label_map: LabelMap, structures: list[Structure]) -> npt.NDArray[Any]:
    """Segment numbers (K, J, I); where structures overlap, a bit for each segment (K, J, I, segment)."""
    if label_map.layers:
        return np.stack([label_map.mask(s.name) for s in structures], axis=3)
    number_of = np.zeros(int(label_map.array.max()) + 1 + max(s.value for s in structures), np.uint16)
    number_of[[s.value for s in structures]] = range(1, len(structures) + 1)
    return number_of[label_map.array]


def _in_file_order(voxels: npt.NDArray[Any], source: Source[LabelMap]) -> npt.NDArray[Any]:
    """Planes as the headers have them: those of a multi-frame file in the order of its frames."""
    frames = [s.frame for s in source.planes if s.frame is not None]
    if not frames:
        return voxels
    ordered = np.zeros((int(source.headers[0].NumberOfFrames), *voxels.shape[1:]), voxels.dtype)
    ordered[frames] = voxels
    return ordered


def _described(structure: Structure, number: int, algorithm: Any, algorithm_type: str) -> Any:
    import highdicom as hd

    def coded(code: Code) -> Any:
        return hd.sr.CodedConcept(code.value, code.scheme, code.meaning[:_MOST_LETTERS])

    segment = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=(structure.title or structure.name)[:_MOST_LETTERS],
        segmented_property_category=coded(structure.category or ANATOMICAL_STRUCTURE),
        segmented_property_type=coded(structure.type or TISSUE),
        algorithm_type=algorithm_type,
        algorithm_identification=algorithm,
        anatomic_regions=[coded(structure.region)] if structure.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*structure.color),
    )
    segment.SegmentDescription = structure.name  # read back as the name
    if structure.region_modifier:
        segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [coded(structure.region_modifier)]
    modifier = structure.modifier or (None if structure.region else SIDES.get(structure.laterality or ""))
    if modifier:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [coded(modifier)]
    return segment
