"""A time point: the label map of a scan, and what else is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from ..data.label_grid import placed_on
from ..data.label_map import LabelMap
from ..data.volume import Volume
from ..evaluation.cases import the_case
from ..io import read_label_map, read_volume
from ..io.files import as_path, is_dicom
from ..io.result_files import is_of_result, provenance_of, was_changed
from ..review.measurements import Measurement, measure, read_measurements, same_voxels
from ..util.errors import InputError


@dataclass
class TimePoint:
    """A scan at one time.

    Attributes:
        label_map: its structures.
        volume: the scan, on the grid of the label map; None if it is not at hand: then no mean HU is measured, and the
            structures themselves are registered.
        confidence: structure name → mean probability, as far as known.
        mean_hu: structure name → mean HU measured earlier, as far as known; for time points without a volume.
        date: of the scan; None if unknown.
        cut: structures that are known to be cut, by a region of interest or the field of view.
        whole: structures that are known to be whole, also where they end at the edge of the label map: margins may have
            been left out, as 3D Slicer does. For time points without a volume.
    """

    label_map: LabelMap
    volume: Volume | None = None
    confidence: dict[str, float] = field(default_factory=dict)
    mean_hu: dict[str, float] = field(default_factory=dict)
    date: date | None = None
    cut: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def measured(self) -> list[Measurement]:
        """Measures of every structure on the scan's own grid."""
        if self.volume is not None:
            return measure(self.label_map, self.volume, self.confidence, cut=self.cut)
        rows = measure(self.label_map, None, self.confidence, cut=self.cut)
        return [
            replace(row, mean_hu=self.mean_hu.get(row.name), cut=row.cut and row.name not in self.whole) for row in rows
        ]


def read_time_point(
    path: Path | str,
    ct: Path | str | None = None,
    *,
    read_labels: Callable[[Path, Path | None], LabelMap] = read_label_map,
    read_image: Callable[[Path], Volume] = read_volume,
) -> TimePoint:
    """Read a time point.

    Args:
        path: a label map, or a folder of results.
        ct: the scan, or None. A DICOM series also tells the date; RTSTRUCT needs it.
        read_labels, read_image: for untrusted files, readers in a process of their own.

    Raises:
        InputError: a file cannot be read, or the scan does not have the label map's grid.

    Example:
        >>> from DeepSegLogic import read_time_point
        >>> point = read_time_point("organs.seg.nrrd", "ct.nrrd")
        >>> point.label_map.structures[5].name, point.volume is None, point.date
        ('left_lung', False, None)
    """
    file, scan = the_case(as_path(path)), None if ct is None else as_path(ct)
    point = TimePoint(read_labels(file, scan))
    if is_of_result(file) and (file.parent / "measurements.csv").is_file():
        _take_measured(point, file)
    if scan is not None:
        point.volume = read_image(scan)
        point.label_map = placed_on(point.volume, point.label_map)
        point.date = _date_of(scan)
    return point


def date_of(volume: Volume | None) -> date | None:
    """The date of the DICOM series that a volume was read from; None for other volumes, and where it was removed."""
    return _date_of(Path(volume.source)) if volume is not None and volume.source else None


def _take_measured(point: TimePoint, file: Path) -> None:
    """Take from ``measurements.csv`` what label map and scan do not tell, as far as it holds for corrected labels."""
    table = file.parent / "measurements.csv"
    try:
        rows = read_measurements(table)
    except (OSError, ValueError, LookupError) as error:
        raise InputError(
            f"{table} is damaged.", "Segment the scan again, or choose its label map.", code="input.table"
        ) from error
    point.cut = frozenset(row.name for row in rows if row.cut)
    if was_changed(file, provenance_of(file.parent)):
        now = {row.name: row for row in measure(point.label_map, None)}
        rows = [row for row in rows if row.name in now and same_voxels(now[row.name], row)]
    point.whole = frozenset(row.name for row in rows if not row.cut)
    point.confidence = {row.name: row.confidence for row in rows if row.confidence is not None}
    point.mean_hu = {row.name: row.mean_hu for row in rows if row.mean_hu is not None}


def _date_of(scan: Path) -> date | None:
    """The date of a DICOM series; None for other files, and where the date was removed."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    from ..io.dicom.series import files_below

    files = files_below(scan) if scan.is_dir() else [scan]
    first = next((file for file in files if is_dicom(file)), None)
    if first is None:
        return None
    tags = ["AcquisitionDate", "SeriesDate", "StudyDate"]
    try:
        header = dcmread(first, stop_before_pixels=True, specific_tags=tags)
        known = [str(header[tag].value) for tag in tags if header.get(tag)]
        return datetime.strptime(known[0], "%Y%m%d").date() if known else None
    except (InvalidDicomError, ValueError, LookupError, TypeError, AttributeError, OSError):
        return None
