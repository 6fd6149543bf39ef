"""DICOM Structured Report of measurements (TID 1500), written with highdicom: volume and mean HU of each structure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...data.label_map import SIDES, Code, LabelMap, Structure
from ...data.run_record import Provenance
from ...data.terminology import ANATOMICAL_STRUCTURE, TISSUE
from ...util.errors import UsageError
from ...util.given import checks_arguments
from ...util.version import __version__
from .algorithm import algorithm_of
from .derived import MANUFACTURER, save
from .seg_writer import must_have_highdicom
from .source import Source, source_of

_DIGITS = 6  # of a number: a DICOM text of type DS has at most 16 letters
_AT_LEAST = Code("SCT", "276138003", "Greater-than-or-equal symbol")
_QUALITY = Code("DCM", "111052", "Quality Finding")
_CUT = Code("DCM", "130576", "Anatomy coverage incomplete")  # of CID 6315


class Measured(Protocol):
    """What is measured of a structure, as :class:`~DeepSegLogic.review.measurements.Measurement` has it."""

    @property
    def name(self) -> str: ...
    @property
    def voxels(self) -> int: ...
    @property
    def volume_ml(self) -> float: ...
    @property
    def mean_hu(self) -> float | None: ...
    @property
    def sd_hu(self) -> float | None: ...
    @property
    def cut(self) -> bool: ...


@checks_arguments
def write_measurement_report(
    rows: Sequence[Measured],
    label_map: LabelMap,
    path: Path | str,
    *,
    source: Path | str,
    provenance: Provenance | None = None,
    corrected: bool = False,
) -> list[str]:
    """Write measurements as DICOM SR: template TID 1500, a group (TID 1501) for each structure with voxels.

    Each group has the volume in ml and, for CT, mean and standard deviation in HU; it refers to the slice that shows
    most of the structure. Where the field of view cuts the structure, the volume has the Numeric Value Qualifier ≥, and
    the group the Quality Finding "Anatomy coverage incomplete". Patient and study are those of the source series.

    Args:
        rows: of the structures of ``label_map``; those without voxels are left out.
        label_map: gives the codes.
        source: the series that was segmented: its folder, or one of its slices.
        provenance: of the result, for the name and version of the algorithm.
        corrected: whether somebody changed the result; the report then says so.

    Returns:
        what the series lacks and was made up, one sentence each.

    Raises:
        UsageError: highdicom is not installed, or no structure has voxels.
        InputError: the series has no frame of reference or lies on another grid.
        OutputError: the file cannot be written.

    Example:
        >>> from DeepSegLogic import measure, write_measurement_report
        >>> rows = measure(result.label_map, ct)  # doctest: +SKIP
        >>> write_measurement_report(rows, result.label_map, "measures.sr.dcm", source="series")  # doctest: +SKIP
    """
    must_have_highdicom()
    found = source_of(source, label_map)
    present = [row for row in rows if row.voxels]
    if not present:
        raise UsageError(
            "The label map is empty: there is nothing to report.", "Choose another one.", code="usage.empty"
        )
    dataset = _report(present, found, provenance or {}, corrected)
    save(dataset, path)
    return found.warnings


def _report(rows: list[Measured], source: Source[LabelMap], provenance: Provenance, corrected: bool) -> Any:
    algorithm = identification_of(provenance, corrected)
    groups = [_group(row, source, algorithm) for row in rows]
    return report_of(groups, source.headers, "DeepSeg measurements, research use only", number=302)


def identification_of(provenance: Provenance, corrected: bool) -> Any:
    """What made a result, for a report.

    Args:
        corrected: whether a person changed it, or decided on it.
    """
    import highdicom as hd

    made_by = algorithm_of(provenance, corrected)
    return hd.sr.AlgorithmIdentification(
        name=made_by.name,
        version=made_by.version,
        parameters=["Corrected by a person"] if corrected else None,
    )


def report_of(groups: Sequence[Any], headers: Sequence[Any], description: str, number: int) -> Any:
    """A report (TID 1500) of groups of measurements on a series.

    Args:
        headers: of the series, see :class:`~.source.Source`.
        description, number: of the new series.
    """
    import highdicom as hd
    from pydicom.uid import generate_uid

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=[MANUFACTURER]),  # the same in all reports
        name="DeepSeg",
        manufacturer_name=MANUFACTURER,
        model_name="DeepSeg",
    )
    observer = hd.sr.ObserverContext(hd.sr.CodedConcept("121007", "DCM", "Device"), device)
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=groups,
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    # Coordinates in space (SCOORD3D) are not allowed in a Comprehensive SR.
    kind = hd.sr.Comprehensive3DSR if any(_in_space(group) for group in groups) else hd.sr.ComprehensiveSR
    return kind(
        evidence=headers,
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=number,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        series_description=description,
        manufacturer_model_name="DeepSeg",
        software_versions=__version__,
        device_serial_number="0",
    )


def _in_space(group: Any) -> bool:
    return any(item.ValueType == "SCOORD3D" for item in group[0].ContentSequence)


def _group(row: Measured, source: Source[LabelMap], algorithm: Any) -> Any:
    import highdicom as hd

    structure, is_ct = source.record.structure(row.name), source.headers[0].get("Modality") == "CT"
    kind, side = structure.type or TISSUE, SIDES.get(structure.laterality or "")
    site = hd.sr.FindingSite(_coded(structure.region or kind), laterality=_coded(side) if side else None)
    volume = hd.sr.Measurement(
        hd.sr.CodedConcept("118565006", "SCT", "Volume"),
        _rounded(row.volume_ml),
        hd.sr.CodedConcept("mL", "UCUM", "milliliter"),
        qualifier=_coded(_AT_LEAST) if row.cut else None,
    )
    statistics = (("373098007", "Mean", row.mean_hu), ("386136009", "Standard Deviation", row.sd_hu))
    attenuation = [
        hd.sr.Measurement(
            hd.sr.CodedConcept("112031", "DCM", "Attenuation Coefficient"),
            _rounded(value),
            hd.sr.CodedConcept("[hnsf'U]", "UCUM", "Hounsfield unit"),
            derivation=hd.sr.CodedConcept(code, "SCT", meaning),
        )
        for code, meaning, value in statistics
        if is_ct and value is not None
    ]
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), structure.title or structure.name),
        finding_category=_coded(structure.category or ANATOMICAL_STRUCTURE),
        finding_type=_coded(kind),
        finding_sites=[site],
        source_images=[_largest_slice(structure, source)],
        algorithm_id=algorithm,
        measurements=[volume, *attenuation],
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(_coded(_QUALITY), _coded(_CUT))] if row.cut else None,
    )


def _largest_slice(structure: Structure, source: Source[LabelMap]) -> Any:
    """A reference to the slice or frame that shows most of a structure."""
    import highdicom as hd

    k = int(np.count_nonzero(source.record.mask(structure.name), axis=(1, 2)).argmax())
    frame = source.planes[k].frame
    header = source.headers[0 if frame is not None else k]
    frames = None if frame is None else [frame + 1]
    return hd.sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID, frames)


def _coded(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning[:64])


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
