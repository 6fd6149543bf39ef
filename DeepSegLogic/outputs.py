"""The folder of results that a segmentation leaves: whole, or as it was before."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from .errors import OutputError
from .io import write_label_map, write_volume
from .io.atomic import atomic_folder
from .labels import LabelMap
from .measures import Measurement, measure, write_measurements
from .models.digests import file_digest
from .pipeline import Result
from .progress import Cancel, Progress, check, ignore_progress, never_cancel
from .volume import Volume

LABEL_FORMATS = ("seg.nrrd", "nii.gz")


def check_output_folder(folder: Path) -> None:
    """Find out before a long run whether its results can be written.

    Raises:
        OutputError: they cannot.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, not a folder.", "Choose another folder.", code="output.not_writable")
    with atomic_folder(folder):
        pass


def write_outputs(
    folder: Path,
    volume: Volume,
    result: Result,
    *,
    source: Path | None,
    formats: list[str],
    progress: Progress,
    cancel: Cancel,
) -> tuple[list[Measurement], list[str]]:
    """Write label maps, surfaces, measurements, preview and provenance.

    Everything is made beside its place and moved there at the end, so that a failure or a cancellation
    leaves the results of an earlier run as they were.

    Args:
        source: the file or folder that was segmented, for the provenance; None if it is not known any more.
        formats: of the surfaces; none for no surfaces.

    Returns:
        the measurements, and the names of what was written.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
        Cancelled: ``cancel`` said so.
    """
    from .io.probabilities import write_probabilities
    from .preview import write_preview
    from .surfaces import extract_surfaces, write_surfaces

    label_map = result.label_map
    with atomic_folder(folder) as temporary:
        progress("write", 0.0, "label maps")
        write_label_map(label_map, temporary / "segmentation.seg.nrrd")
        write_label_map(label_map, temporary / "segmentation.nii.gz")
        if result.uncertainty is not None:
            write_volume(Volume(result.uncertainty, label_map.ijk_to_ras), temporary / "uncertainty.nii.gz")
        if result.probabilities is not None:
            write_probabilities(result.probabilities, temporary / "probabilities.npz")
        rows = measure(label_map, volume, result.confidence, result.boundary_margin)
        write_measurements(rows, temporary / "measurements.csv")
        if formats:
            made = write_surfaces(label_map, temporary / "surfaces", formats, progress=progress, cancel=cancel)
            surfaces = made.surfaces
        else:
            surfaces = extract_surfaces(label_map, progress=progress, cancel=cancel)
        check(cancel)
        progress("write", 0.7, "preview")
        write_preview(volume, label_map, surfaces, temporary / "preview.png")
        facts = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "input": identity(source) if source else {"name": volume.name},
            **result.provenance,
            "timings_s": result.timings,
            "plan": result.plan,
            "warnings": result.warnings,
            "intended_use": "Research use only.",
        }
        (temporary / "provenance.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        names = sorted(p.name + ("/" if p.is_dir() else "") for p in temporary.iterdir())
        check(cancel)
    progress("write", 1.0, "done")
    return rows, names


def export_result(
    folder: Path,
    label_map: LabelMap,
    volume: Volume,
    formats: list[str],
    *,
    confidence: dict[str, float] | None = None,
    boundary_margin: dict[str, float] | None = None,
    provenance: dict | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
    **surface_options,
) -> list[Path]:
    """Write what a user picked of a result.

    Args:
        formats: any of :data:`LABEL_FORMATS`, ``"csv"`` (measurements), ``"html"`` (the report) and the formats of
            surfaces.
        provenance: of the result; the report shows it.
        surface_options: of :func:`~DeepSegLogic.surfaces.write_surfaces`.

    Returns:
        the paths of all files.

    Raises:
        UsageError, OutputError, Cancelled: nothing was written.
    """
    from .report import write_report
    from .surfaces import check_formats, write_surfaces

    meshes = [f for f in formats if f not in (*LABEL_FORMATS, "csv", "html")]
    check_formats(meshes)
    with atomic_folder(folder) as temporary:
        for suffix in LABEL_FORMATS:
            if suffix in formats:
                write_label_map(label_map, temporary / f"segmentation.{suffix}")
        if "csv" in formats:
            rows = measure(label_map, volume, confidence, boundary_margin)
            write_measurements(rows, temporary / "measurements.csv")
        if meshes:
            write_surfaces(label_map, temporary, meshes, progress=progress, cancel=cancel, **surface_options)
        if "html" in formats:
            with tempfile.TemporaryDirectory(dir=temporary) as whole:
                result = Result(label_map, confidence or {}, boundary_margin or {}, provenance=provenance or {})
                write_outputs(
                    Path(whole), volume, result, source=None, formats=["glb"], progress=progress, cancel=cancel
                )
                write_report(Path(whole), temporary / "report.html")
        names = sorted(p.name for p in temporary.iterdir())
        check(cancel)
    return [folder / name for name in names]


def identity(source: Path) -> dict[str, str]:
    """What was segmented: its name, and the digest of the file, or of a folder's files in the order of their names."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    return {"name": source.name, "digest": file_digest(*files)}
