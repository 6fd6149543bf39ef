"""The files that hold a result's label map, or DICOM's report of its measurements, by format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..io.result_files import LABEL_MAP_FILES
from ..util.errors import InputError, UsageError

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..data.run_record import Provenance
    from ..data.volume import Volume

DEFAULT_LABELS = ("seg.nrrd", "nii.gz")
LABEL_FORMATS = {**LABEL_MAP_FILES, "sr": "measurements.sr.dcm", "dcm-stl": "*.stl.dcm"}
"""Names of formats and of their files; the DICOM ones are :data:`DICOM_FORMATS`. A file for each structure has a
``*``."""
DICOM_FORMATS = ("dcm-seg", "dcm-labelmap", "rtstruct", "sr", "dcm-stl")
"""Those that need the DICOM series that was segmented."""


def check_labels(formats: Iterable[str], source: Path | None, volume: Volume | None = None) -> None:
    """Check before a long run that label maps can be written.

    Args:
        formats: of :data:`LABEL_FORMATS`.
        source: the file or folder that is segmented; None if unknown.
        volume: what was read from it; None if nothing was read yet.

    Raises:
        UsageError: an unknown format, or a package is not installed.
        InputError: a DICOM format, and the source is not a DICOM series that it can refer to.
    """
    from ..io.dicom.exports import EXPORTS
    from ..io.dicom.seg_writer import must_have_highdicom
    from ..io.dicom.source import must_be_dicom, source_of

    for name in formats:
        if name not in LABEL_FORMATS:
            known = ", ".join(LABEL_FORMATS)
            raise UsageError(f"{name} is not a label map format.", f"Choose from {known}.", code="usage.format")
        if name in DICOM_FORMATS:
            if name in EXPORTS:
                EXPORTS[name].check_installed()
            elif name == "sr":
                must_have_highdicom()
            if source is None:
                raise InputError(
                    f"The format {name} needs the DICOM series that was segmented, which is not known.",
                    "Segment the series from its folder, or choose another format.",
                    code="input.dicom",
                )
            must_be_dicom(Path(source).expanduser())
            if volume is not None:
                source_of(source, volume)


def label_writers(
    label_map: LabelMap,
    volume: Volume,
    folder: Path,
    formats: Iterable[str],
    *,
    source: Path | None,
    provenance: Provenance,
    corrected: bool = False,
    cut: Collection[str] = (),
) -> list[Callable[[], list[str]]]:
    """What writes a label map, one call for each format; each returns warnings.

    Args:
        volume: what was segmented, for measurements.
        formats, source: checked by :func:`check_labels`.
        corrected: whether somebody changed the result.
        cut: see :class:`DeepSegLogic.segmentation.Result`.
    """
    from ..io.dicom.exports import EXPORTS
    from ..io.dicom.report_writer import write_measurement_report
    from ..io.write import write_label_map
    from ..review.measurements import measure
    from ..surfaces.dicom_stl import write_dicom_stl

    def plain(path: Path) -> list[str]:
        write_label_map(label_map, path)
        return []

    def dicom(name: str, path: Path) -> list[str]:
        assert source is not None  # checked before
        facts: dict[str, Any] = {"source": source, "provenance": provenance, "corrected": corrected}
        if name in EXPORTS:
            return EXPORTS[name].write(label_map, path, **facts)
        if name == "dcm-stl":
            return write_dicom_stl(label_map, folder, **facts)
        return write_measurement_report(measure(label_map, volume, cut=cut), label_map, path, **facts)

    def writer(name: str) -> Callable[[], list[str]]:
        path = folder / LABEL_FORMATS[name]
        return (lambda: dicom(name, path)) if name in DICOM_FORMATS else (lambda: plain(path))

    return [writer(name) for name in formats]
