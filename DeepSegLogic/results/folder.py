"""The folder of results of a segmentation, written completely or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ..data.label_map import LabelMap
from ..data.run_record import Provenance
from ..data.volume import Volume, volume_digest
from ..io.result_files import PROVENANCE, facts_of_files, is_as_written, unchanged_files
from ..io.write import write_array
from ..models.provenance import identity
from ..review.findings import Hidden
from ..review.measurements import Measurement, measure, write_measurements
from ..segmentation import Result
from ..util.atomic_write import atomic_folder
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .label_files import DEFAULT_LABELS, LABEL_FORMATS, check_labels, label_writers


def write_outputs(
    folder: Path,
    volume: Volume,
    result: Result,
    *,
    source: Path | None,
    formats: list[str],
    labels: Sequence[str] = DEFAULT_LABELS,
    progress: Progress,
    cancel: Cancel,
) -> tuple[list[Measurement], list[str]]:
    """Write label maps, surfaces, measurements, preview and provenance.

    All files are staged and moved into place at the end, so a failure or a cancellation leaves earlier results
    unchanged. Files of an earlier result that this one does not replace are removed, unless they were changed since.

    Args:
        source: the file or folder that was segmented, for the provenance; None if unknown.
        formats: of the surfaces; empty for no surfaces.
        labels: formats of the label map, see :data:`~DeepSegLogic.results.label_files.LABEL_FORMATS`. What a DICOM
            format had to make up joins the warnings of ``result``.

    Returns:
        the measurements, and the names of the files and folders.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
        Cancelled: ``cancel`` said so.
    """
    from ..surfaces import write_surfaces
    from .preview import write_preview

    label_map = result.label_map
    with atomic_folder(folder, last=PROVENANCE, outdated=unchanged_files(folder)) as temporary:
        progress("write", 0.0, "label maps")
        with ThreadPoolExecutor() as pool:  # compression, which is most of it, runs outside Python's lock
            writers = label_writers(
                label_map, volume, temporary, labels, source=source, provenance=result.provenance, cut=result.cut
            )
            written = [pool.submit(write) for write in writers]
            parts = [pool.submit(write) for write in _further_writers(result, temporary)]
            if not formats:
                parts.append(pool.submit(write_preview, volume, label_map, temporary / "preview.png"))
            rows = measure(label_map, volume, result.confidence, result.boundary_margin, result.cut)
            write_measurements(rows, temporary / "measurements.csv")
            for part in parts:
                part.result()
            told = [warning for one in written for warning in one.result()]
            result.warnings += [warning for warning in dict.fromkeys(told) if warning not in result.warnings]
        check(cancel)
        if formats:
            made = write_surfaces(label_map, temporary / "surfaces", formats, progress=progress, cancel=cancel)
            write_preview(volume, label_map, temporary / "preview.png", surfaces=made.surfaces)
        progress("write", 0.9, "provenance")
        facts = {**_facts(volume, result, source), "files": facts_of_files(temporary)}
        (temporary / PROVENANCE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        names = sorted(p.name + ("/" if p.is_dir() else "") for p in temporary.iterdir())
        check(cancel)
    progress("write", 1.0, "done")
    return rows, names


def _further_writers(result: Result, folder: Path) -> Iterator[Callable[[], None]]:
    """What writes the voxels that a result has beside its label map."""
    from ..io.probabilities import write_probabilities

    if result.uncertainty is not None:
        yield partial(write_array, result.uncertainty, result.label_map.ijk_to_ras, folder / "uncertainty.nii.gz")
    if result.enhanced is not None:
        yield partial(write_array, result.enhanced.array, result.enhanced.ijk_to_ras, folder / "enhanced.nii.gz")
    if result.probabilities is not None:
        yield partial(write_probabilities, result.probabilities, folder / "probabilities.npz")


def _facts(volume: Volume, result: Result, source: Path | None) -> dict[str, Any]:
    """The provenance of a result, but for its files."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "input": identity(source) if source else {"name": volume.name},
        "volume_digest": volume_digest(volume),
        **result.provenance,
        "timings_s": result.timings,
        "plan": result.plan,
        "warnings": result.warnings,
        "intended_use": "Research use only.",
    }


def export_result(
    folder: Path,
    label_map: LabelMap,
    volume: Volume,
    formats: list[str],
    *,
    source: Path | None = None,
    corrected: bool = False,
    confidence: dict[str, float] | None = None,
    boundary_margin: dict[str, float] | None = None,
    provenance: Provenance | None = None,
    plan: dict[str, Any] | None = None,
    draft: dict[str, Any] | None = None,
    hidden: Hidden = (),
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
    **surface_options: Any,
) -> list[Path]:
    """Write the chosen parts of a result.

    Args:
        formats: any of :data:`~DeepSegLogic.results.label_files.LABEL_FORMATS`, ``"csv"`` (measurements), ``"html"``
            (the report), ``"plan"`` (the plan file, if there is a plan) and the surface formats.
        source: the DICOM series that was segmented, for the DICOM formats; None if unknown.
        corrected: whether somebody changed the result, for the DICOM formats.
        provenance: of the result, for the report and the DICOM formats.
        plan: content of a plan file, for the report and the plan file.
        draft: of the report, as :meth:`~DeepSegLogic.results.draft.Draft.as_json` gives it.
        hidden: findings that the report only counts.
        surface_options: of :func:`~DeepSegLogic.surfaces.write_surfaces`.

    Returns:
        the paths of all files.

    Raises:
        UsageError, InputError, OutputError, Cancelled: nothing was written.
    """
    from ..planning import write_plan
    from ..planning.evaluation import PLAN_FILE
    from ..planning.plan_file import plan_in
    from ..surfaces import check_formats, write_surfaces
    from .draft import Draft, write_draft
    from .report import write_report

    meshes = [f for f in formats if f not in (*LABEL_FORMATS, "csv", "html", "plan")]
    check_formats(meshes)
    labels = [f for f in formats if f in LABEL_FORMATS]
    check_labels(labels, source)
    planned = plan_in(plan)
    with atomic_folder(folder) as temporary:
        for write in label_writers(
            label_map, volume, temporary, labels, source=source, provenance=provenance or {}, corrected=corrected
        ):
            write()
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
                if draft is not None:
                    write_draft(Path(whole), Draft.of_json(draft))
                write_report(Path(whole), temporary / "report.html", plan=planned, volume=volume, hidden=hidden)
        if "plan" in formats and planned is not None:
            write_plan(planned, temporary / PLAN_FILE)
        names = sorted(p.name for p in temporary.iterdir())
        check(cancel)
    return [folder / name for name in names]


def what_is_wrong(folder: Path, facts: dict[str, Any]) -> str:
    """Why the files of a result do not match its provenance, in words; empty if they do."""
    if not facts.get("files"):
        return "its provenance lists no files"
    try:
        for name, told in facts["files"].items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if not is_as_written(file, told):
                return f"{name} is damaged or was changed"
    except (OSError, LookupError, TypeError, AttributeError):
        return "its files cannot be checked"
    return ""
