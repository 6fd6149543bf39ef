"""A label map in, a folder of checked surfaces out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..labels import LabelMap
from ..progress import Cancel, Progress, ignore_progress, never_cancel
from .export import check_formats, export_surfaces, write_quality
from .extract import SurfaceSet, extract_surfaces
from .printing import SMALLEST_ML, for_printing
from .quality import SurfaceQuality, check_surfaces
from .simplify import simplify_surfaces

QUALITY_FILE = "surfaces.json"


@dataclass
class WrittenSurfaces:
    """What :func:`write_surfaces` made: the surfaces, what is known of each, and the files."""

    surfaces: SurfaceSet
    qualities: dict[str, SurfaceQuality]
    files: list[Path]


def write_surfaces(
    label_map: LabelMap,
    folder: Path,
    formats: list[str],
    *,
    structures: list[str] | None = None,
    smoothing: str = "standard",
    max_error_mm: float | None = None,
    triangles: int | None = None,
    joint: bool = False,
    printable: bool = False,
    min_wall_mm: float | None = None,
    min_piece_ml: float = SMALLEST_ML,
    coordinates: str = "LPS",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> WrittenSurfaces:
    """Extract, simplify if asked, check and write; ``surfaces.json`` beside the files says what the check found.

    Args:
        structures, smoothing: as for :func:`~DeepSegLogic.surfaces.extract_surfaces`.
        max_error_mm, triangles: as for :func:`~DeepSegLogic.surfaces.simplify.simplify_surfaces`; one of them.
        printable: fill cavities and drop loose bits first, see :mod:`DeepSegLogic.surfaces.printing`; surfaces are then
            compared with what that leaves. Triangles that cross each other are mended, before any simplification.
        min_wall_mm, min_piece_ml: as for :func:`~DeepSegLogic.surfaces.printing.for_printing`, if printable.
        joint: one file with all structures, which share their boundaries also when simplified.
        coordinates: as for :func:`~DeepSegLogic.surfaces.export_surfaces`.

    Raises:
        UsageError, OutputError, Cancelled: as those.
    """
    check_formats(formats)
    if max_error_mm is not None and triangles is not None:
        raise UsageError(
            "Both a largest error and a number of triangles are given.", "Give one of them.", code="usage.simplify"
        )
    if printable:
        progress("surfaces", 0.0, "cavities, loose pieces, thin walls")
        label_map = for_printing(label_map, min_wall_mm, min_piece_ml, cancel)
    found = extract_surfaces(
        label_map, structures, smoothing=smoothing, uncross=printable, progress=progress, cancel=cancel
    )
    if max_error_mm is not None or triangles is not None:
        progress("simplify", 0.0, "")
        found = simplify_surfaces(found, max_error_mm=max_error_mm, triangles=triangles, joint=joint, cancel=cancel)
        progress("simplify", 1.0, "")
    qualities = check_surfaces(found, label_map, progress, cancel)
    files = export_surfaces(found, folder, formats, coordinates.upper(), joint)
    write_quality(qualities, folder / QUALITY_FILE)
    return WrittenSurfaces(found, qualities, [*files, folder / QUALITY_FILE])
