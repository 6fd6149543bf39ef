"""A label map in, a folder of checked surface files out."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.label_map import LabelMap
from ..util.atomic_write import atomic_folder, atomic_path
from ..util.errors import InputError
from ..util.file_names import is_device
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .extract import make_surfaces
from .formats import FORMATS, FROM_RAS, Part, check_coordinates, check_formats, obj_materials
from .mesh_quality import SurfaceQuality, check_surfaces
from .printing import SMALLEST_ML, for_printing
from .simplify import check_goal, simplify_surfaces
from .surface import Surface, SurfaceSet

QUALITY_FILE = "surfaces.json"
_LONGEST = 200  # bytes of a file's name, of the 255 that systems take


@dataclass
class WrittenSurfaces:
    """What :func:`write_surfaces` made.

    Attributes:
        surfaces: as they were written, in RAS mm.
        qualities: the result of the checks, by structure name.
        files: the paths of all files; the last is ``surfaces.json``.
    """

    surfaces: SurfaceSet
    qualities: dict[str, SurfaceQuality]
    files: list[Path]


@checks_arguments
def write_surfaces(
    label_map: LabelMap,
    folder: Path | str,
    formats: Sequence[str],
    *,
    structures: Sequence[str] | None = None,
    smoothing: str = "standard",
    max_error_mm: float | None = None,
    triangles: int | None = None,
    joint: bool = False,
    printable: bool = False,
    min_wall_mm: float | None = None,
    min_piece_ml: float = SMALLEST_ML,
    coordinates: str = "LPS",
    make: Callable[..., SurfaceSet] = make_surfaces,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> WrittenSurfaces:
    """Make the surfaces of a label map, check them and write them, with the checks in ``surfaces.json``: all or none.

    Args:
        label_map: the voxels; it is not changed.
        folder: for the files; it is created if missing.
        formats: keys of :data:`~DeepSegLogic.surfaces.FORMATS`.
        structures, smoothing: as for :func:`~DeepSegLogic.surfaces.make_surfaces`.
        max_error_mm, triangles: simplify, as :func:`~DeepSegLogic.surfaces.simplify.simplify_surfaces` does; give
            one of them at most.
        joint: write one file with all structures; they share their boundaries even when simplified.
        printable: fill cavities and remove small loose pieces first
            (:func:`~DeepSegLogic.surfaces.printing.for_printing`), and repair triangles that cross each other. The
            checks then compare with the changed voxels.
        min_wall_mm, min_piece_ml: smallest wall in mm and smallest piece in ml, if ``printable``.
        coordinates: ``"LPS"`` or ``"RAS"``, as for :func:`~DeepSegLogic.surfaces.export_surfaces`.
        make: what makes the surfaces: the same function of a server does it there.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: an unknown structure, format, smoothing or coordinate system, or a size that is not possible.
        InputError: the label map lies so far from the origin that files cannot hold its surfaces.
        ResourceError: not enough memory.
        OutputError: a file cannot be written.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from tempfile import mkdtemp
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure, write_surfaces
        >>> array = np.zeros((20, 20, 20), np.uint8)
        >>> array[5:15, 5:15, 5:15] = 1
        >>> box = LabelMap(array, np.eye(4), [Structure(1, "box", "Box")])
        >>> written = write_surfaces(box, mkdtemp(), ["stl", "glb"])
        >>> [path.name for path in written.files]
        ['box.stl', 'organs.glb', 'surfaces.json']
        >>> written.qualities["box"].sound
        True
    """
    folder = Path(folder)
    check_formats(formats)
    check_goal(max_error_mm, triangles)
    if printable:
        progress("surfaces", 0.0, "cavities, loose pieces, thin walls")
        label_map = for_printing(label_map, min_wall_mm, min_piece_ml, cancel)
    found = make(
        label_map, structures, smoothing=smoothing, repair_crossings=printable, progress=progress, cancel=cancel
    )
    if max_error_mm is not None or triangles is not None:
        progress("simplify", 0.0, "")
        found = simplify_surfaces(found, max_error_mm=max_error_mm, triangles=triangles, joint=joint, cancel=cancel)
        progress("simplify", 1.0, "")
    _must_be_exact(found, label_map)
    qualities = check_surfaces(found, label_map, progress, cancel)
    with atomic_folder(folder) as temporary:
        files = export_surfaces(found, temporary, formats, coordinates.upper(), joint)
        _write_qualities(qualities, temporary / QUALITY_FILE)
        check(cancel)
    return WrittenSurfaces(found, qualities, [folder / name for name in (*(f.name for f in files), QUALITY_FILE)])


def export_surfaces(
    surfaces: SurfaceSet,
    folder: Path | str,
    formats: Sequence[str],
    coordinate_system: str = "LPS",
    joint: bool = False,
) -> list[Path]:
    """Write surfaces to files, in mm.

    STL, PLY, OBJ and VTP give one file per structure, or one for all with ``joint``. GLB and 3MF give one scene, in
    which each structure has its name and color. GLB is in metres with Y up, as its standard demands. All others have
    the given coordinate system, which STL, PLY, OBJ and VTP name.

    Args:
        surfaces: in RAS mm.
        folder: for the files; it is created if missing.
        formats: keys of :data:`~DeepSegLogic.surfaces.FORMATS`.
        coordinate_system: ``"LPS"`` (that of DICOM, and what 3D Slicer expects in such files) or ``"RAS"``.
        joint: all structures in one file, ``organs``.

    Returns:
        The paths of the files, without the ``.mtl`` files that come with OBJ.

    Raises:
        UsageError: an unknown format or coordinate system.
        OutputError: a file cannot be written.
    """
    check_formats(formats)
    check_coordinates(coordinate_system)
    made = [_part(s, coordinate_system) for s in surfaces]
    by_file = dict(zip(_file_names(surfaces), made, strict=True))
    by_node = dict(zip(_node_names(surfaces), made, strict=True))
    written = []
    for kind in (FORMATS[name] for name in formats):
        if kind.one_file or joint:
            whole = by_node if kind.one_file else by_file
            targets = {"organs": whole} if whole else {}
        else:
            targets = {name: {name: part} for name, part in by_file.items()}
        for name, parts in targets.items():
            target = Path(folder) / f"{name}.{kind.suffix}"
            if kind.suffix == "obj":
                with atomic_path(target.with_suffix(".mtl")) as path:
                    path.write_text(obj_materials(parts), encoding="utf-8")
            with atomic_path(target) as path:
                kind.write(parts, path, coordinate_system)
            written.append(target)
    return written


def _must_be_exact(surfaces: SurfaceSet, label_map: LabelMap) -> None:
    """Raise :class:`InputError` if the coordinates are so large that single precision, as in files, loses the shape."""
    farthest = max((float(np.abs(s.points).max()) for s in surfaces if len(s.points)), default=0.0)
    step, voxel = float(np.spacing(np.float32(farthest))), float(label_map.spacing_ijk.min())
    if step > voxel / 4:
        raise InputError(
            f"The surfaces lie {farthest:.0f} mm from the origin. Files hold such coordinates only in steps of "
            f"{step:.2g} mm, too coarse for voxels of {voxel:.2g} mm.",
            "Move the volume and its label map nearer to the origin, for example with Center Volume in 3D Slicer.",
            code="input.geometry",
        )


def _write_qualities(qualities: Mapping[str, SurfaceQuality], path: Path) -> None:
    content = {name: quality.as_json() for name, quality in qualities.items()}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _file_names(surfaces: Iterable[Surface]) -> list[str]:
    """The structures' names as file names that are valid, and different, on all platforms."""
    plain = []
    for surface in surfaces:
        name = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", surface.structure.name)).strip("._-")
        short = name.encode()[:_LONGEST].decode(errors="ignore") or f"label_{surface.structure.value}"
        plain.append(re.sub(r"(?=\.|$)", "_", short, count=1) if is_device(short) else short)
    return _distinct(plain, key=str.casefold)


def _node_names(surfaces: Iterable[Surface]) -> list[str]:
    """The structures' names as they are, but for what XML cannot hold; trimesh keeps one for itself."""
    return _distinct([re.sub(r"[\0-\x1f\ufffe\uffff]", "_", s.structure.name) for s in surfaces], {"world"})


def _distinct(names: Iterable[str], reserved: Iterable[str] = (), key: Callable[[str], str] = str) -> list[str]:
    distinct, taken = [], set(reserved)
    for name in names:
        while key(name) in taken:
            name += "_"
        taken.add(key(name))
        distinct.append(name)
    return distinct


def _part(surface: Surface, coordinate_system: str) -> Part:
    points = surface.points * FROM_RAS[coordinate_system]  # a rotation: the orientation of the faces stays
    title = surface.structure.title or surface.structure.name
    return Part(title, surface.structure.color, points, surface.triangles)
