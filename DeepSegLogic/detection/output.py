"""The folder of findings: table, ROI markups, masks, provenance, and a DICOM report if asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..data.volume import Volume
from ..io.result_files import facts_of_files, unchanged_files
from ..io.write import write_label_map
from ..util.atomic_write import atomic_folder
from ..util.errors import UsageError
from ..util.given import checks_arguments
from .files import (
    CSV_FILE,
    MARKUPS_FILE,
    MASKS_FILE,
    PROVENANCE_FILE,
    REPORT_FILE,
    write_findings_csv,
    write_roi_markups,
)
from .finding import BoxFinding, BoxFindings
from .masks import masks_of

FORMATS = ("csv", "mrk.json", "sr")
"""Table, ROI markups of 3D Slicer, DICOM SR."""


@checks_arguments
def write_findings(
    found: BoxFindings,
    folder: Path | str,
    formats: Sequence[str] = ("csv", "mrk.json"),
    *,
    volume: Volume | None = None,
) -> list[Path]:
    """Write findings to a folder, all files or none. Masks are written if the model drew some.

    Files of earlier findings that these do not replace are removed, unless they were changed since.

    Args:
        formats: of :data:`FORMATS`, for the boxes. Rejected findings are in the table only.
        volume: that was searched; ``"sr"`` needs one that was read from DICOM.

    Returns:
        the files. What a report had to make up is added to ``found.warnings``.

    Raises:
        UsageError: an unknown format, or a report without a DICOM volume or without findings.
        InputError, OutputError: see :func:`~DeepSegLogic.io.dicom.box_report.write_box_report`.

    Example:
        >>> from DeepSegLogic import detect, read_volume, write_findings
        >>> found = detect(read_volume("ct.nrrd"), "lung_nodule_ct_detection")  # doctest: +SKIP
        >>> write_findings(found, "findings")  # doctest: +SKIP
    """
    check_formats(formats)
    check_source(formats, volume)
    kept: list[BoxFinding] = [one for one in found.findings if one.state != "rejected"]
    names = [PROVENANCE_FILE]
    earlier = unchanged_files(Path(folder), PROVENANCE_FILE)
    with atomic_folder(folder, last=PROVENANCE_FILE, outdated=earlier) as temporary:
        if "csv" in formats:
            write_findings_csv(found.findings, temporary / CSV_FILE)
            names.append(CSV_FILE)
        if "mrk.json" in formats:
            write_roi_markups(kept, temporary / MARKUPS_FILE)
            names.append(MARKUPS_FILE)
        if found.masks is not None:
            write_label_map(masks_of(found.masks, kept), temporary / MASKS_FILE)
            names.append(MASKS_FILE)
        if "sr" in formats and volume is not None:
            from ..io.dicom.box_report import write_box_report

            report = temporary / REPORT_FILE
            notes = write_box_report(kept, volume, report, source=volume.source, provenance=found.provenance)
            found.warnings += [note for note in notes if note not in found.warnings]
            names.append(REPORT_FILE)
        facts = {**found.provenance, "files": facts_of_files(temporary)}
        (temporary / PROVENANCE_FILE).write_text(json.dumps(facts, indent=1), "utf-8")
    return [Path(folder) / name for name in names]


def check_formats(formats: Sequence[str]) -> None:
    """Check that there are these formats.

    Raises:
        UsageError: one is unknown, or its package is not installed.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UsageError(f"Unknown format {unknown[0]!r}.", f"Choose of {', '.join(FORMATS)}.", code="usage.format")
    if "sr" in formats:
        from ..io.dicom.seg_writer import must_have_highdicom

        must_have_highdicom()


def check_source(formats: Sequence[str], volume: Volume | None) -> None:
    """Raise :class:`UsageError` if a format refers to a DICOM series, and the volume is not from one."""
    if "sr" in formats and (volume is None or not volume.source):
        raise UsageError(
            "A DICOM report refers to the series of the CT, and this CT was not read from DICOM files.",
            "Open the DICOM series, or choose another format.",
            code="usage.dicom",
        )
