"""Surfaces as DICOM Encapsulated STL: one object for each structure, in mm, in the frame of reference of its CT."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from ..data.label_map import Code, LabelMap, Structure, with_voxels
from ..data.run_record import Provenance
from ..data.terminology import TISSUE
from ..io.dicom.derived import coded, derived_object, item, reference_to, save
from ..io.dicom.source import Source, source_of
from ..util.errors import UsageError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .export import export_surfaces
from .extract import make_surfaces

SUFFIX = ".stl.dcm"


def write_dicom_stl(
    label_map: LabelMap,
    folder: Path | str,
    *,
    source: Path | str,
    provenance: Provenance | None = None,
    corrected: bool = False,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[str]:
    """Write the surfaces of a label map as Encapsulated STL, ``<structure>.stl.dcm``.

    The meshes are those of :func:`~DeepSegLogic.surfaces.make_surfaces`, in LPS mm. Structures without voxels are left
    out.

    Args:
        folder: for the files.
        source: the series that was segmented: its folder, or one of its slices.
        provenance: of the result, for the description of the files.
        corrected: whether somebody changed the result; the description says so.

    Returns:
        what the series lacks and was made up, one sentence each.

    Raises:
        UsageError: no structure has voxels.
        InputError: the series has no frame of reference or lies on another grid.
        OutputError: a file cannot be written.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic.surfaces.dicom_stl import write_dicom_stl
        >>> write_dicom_stl(result.label_map, "models", source="series")  # doctest: +SKIP
    """
    from pydicom.uid import generate_uid

    found = source_of(source, label_map)
    present = [s.name for s in with_voxels(label_map)]
    if not present:
        raise UsageError("The label map is empty: it has no surfaces.", "Choose another one.", code="usage.empty")
    surfaces = make_surfaces(label_map, present, progress=progress, cancel=cancel)
    model = (provenance or {}).get("model", {}).get("id", "")
    text = " ".join(filter(None, ("DeepSeg", model, "corrected" if corrected else "", "Research use only")))
    series = generate_uid()
    with tempfile.TemporaryDirectory() as scratch:
        files = export_surfaces(surfaces, scratch, ["stl"])
        for number, (surface, file) in enumerate(zip(surfaces, files, strict=True), 1):
            data = _encapsulated(found, surface.structure, file.read_bytes(), number, text)
            data.SeriesInstanceUID = series
            save(data, Path(folder) / f"{file.stem}{SUFFIX}")
    return found.warnings


def _encapsulated(source: Source[LabelMap], structure: Structure, stl: bytes, number: int, text: str) -> Any:
    from pydicom.uid import EncapsulatedSTLStorage

    data, now = derived_object(source, EncapsulatedSTLStorage, "M3D"), datetime.now()
    data.SeriesNumber, data.InstanceNumber, data.SeriesDescription = 302, number, "DeepSeg surfaces"
    data.ContentDate, data.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    data.AcquisitionDateTime, data.BurnedInAnnotation = "", "NO"
    data.DocumentTitle = (structure.title or structure.name)[:64]
    data.ContentDescription = text[:64]
    data.ConceptNameCodeSequence = [coded(structure.type or TISSUE)]
    images = [reference_to(header) for header in source.headers]
    series = source.headers[0].SeriesInstanceUID
    data.SourceInstanceSequence = images
    data.ReferencedSeriesSequence = [item(SeriesInstanceUID=series, ReferencedInstanceSequence=images)]
    data.MeasurementUnitsCodeSequence = [coded(Code("UCUM", "mm", "mm"))]
    data.MIMETypeOfEncapsulatedDocument = "model/stl"
    data.EncapsulatedDocumentLength = len(stl)
    data.EncapsulatedDocument = stl + b"\0" * (len(stl) % 2)
    return data
