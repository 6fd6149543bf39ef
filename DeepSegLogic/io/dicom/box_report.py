"""DICOM Structured Report of lesions found as boxes (TID 1500), by highdicom: a rectangle and sizes of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ...data.affine import LPS_TO_RAS
from ...data.run_record import Provenance
from ...data.types import FloatArray
from ...data.volume import Volume
from ...util.errors import UsageError
from .derived import save
from .report_writer import identification_of, report_of
from .seg_writer import must_have_highdicom
from .source import Source, source_of

Position: TypeAlias = tuple[float, float, float]


class Box(Protocol):
    """What is reported of a finding, as :class:`~DeepSegLogic.detection.finding.BoxFinding` has it."""

    @property
    def kind(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def state(self) -> str: ...
    @property
    def center_ras(self) -> Position: ...
    @property
    def size_mm(self) -> Position: ...


def write_box_report(
    findings: Sequence[Box],
    volume: Volume,
    path: Path | str,
    *,
    source: Path | str,
    provenance: Provenance | None = None,
) -> list[str]:
    """Write findings as DICOM SR: template TID 1500, a planar group (TID 1410) for each that nobody rejected.

    Each group has a rectangle in patient coordinates (SCOORD3D) on the plane through the middle of the box, edges of
    the box in mm, and the score as certainty in percent. Patient and study are those of the source series.

    Args:
        volume: that was searched.
        source: its series: the folder, or one of its slices.
        provenance: of the findings, for the name and version of the algorithm.

    Returns:
        what the series lacks and was made up, one sentence each.

    Raises:
        UsageError: highdicom is not installed, or nothing is to be reported.
        InputError: the series has no frame of reference or lies on another grid.
        OutputError: the file cannot be written.
    """
    must_have_highdicom()
    reported = [one for one in findings if one.state != "rejected"]
    if not reported:
        raise UsageError("There are no findings to report.", "Accept one, or lower the score.", code="usage.empty")
    found = source_of(source, volume)
    algorithm = identification_of(provenance or {}, any(one.state == "accepted" for one in reported))
    groups = [_group(one, number, found, algorithm) for number, one in enumerate(reported, start=1)]
    dataset = report_of(groups, found.headers, "DeepSeg findings, research use only", number=303)
    save(dataset, path)
    return found.warnings


def _group(finding: Box, number: int, source: Source[Volume], algorithm: Any) -> Any:
    import highdicom as hd

    mm, percent = hd.sr.CodedConcept("mm", "UCUM", "millimeter"), hd.sr.CodedConcept("%", "UCUM", "Percent")
    sizes = sorted(finding.size_mm)
    measures = [
        hd.sr.Measurement(hd.sr.CodedConcept("103339001", "SCT", "Long axis"), round(sizes[2], 2), mm),
        hd.sr.Measurement(hd.sr.CodedConcept("103340004", "SCT", "Short axis"), round(sizes[0], 2), mm),
        hd.sr.Measurement(
            hd.sr.CodedConcept("111012", "DCM", "Certainty of Finding"), round(100 * finding.score, 1), percent
        ),
    ]
    name = f"{number} {finding.kind.replace('_', ' ')}"[:64]
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), name),
        referenced_region=hd.sr.ImageRegion3D(
            hd.sr.GraphicTypeValues3D.POLYGON,
            _rectangle(finding, source.record),
            source.headers[0].FrameOfReferenceUID,
        ),
        finding_type=hd.sr.CodedConcept("52988006", "SCT", "Lesion"),
        algorithm_id=algorithm,
        measurements=measures,
    )


def _rectangle(finding: Box, volume: Volume) -> FloatArray:
    """A closed rectangle (5, 3) in LPS mm through the middle of a box, in the plane nearest to that of the slices."""
    across = int(np.argmax(np.abs(volume.ijk_to_ras[:3, 2])))  # the axis of R, A, S that runs through the slices
    first, second = (axis for axis in range(3) if axis != across)
    points = np.tile(np.array(finding.center_ras), (5, 1))
    for row, (one, other) in enumerate(((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))):
        points[row, first] += one * finding.size_mm[first] / 2
        points[row, second] += other * finding.size_mm[second] / 2
    return np.asarray(points @ LPS_TO_RAS[:3, :3])
