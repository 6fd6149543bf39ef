"""A DICOM folder as one volume: the right series, in the right order, on an even grid.

Slices are grouped and checked by each slice's own header: UIDs may be empty, and ITK ignores gaps between slices.
A frame of a multi-frame file counts as a slice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...data.affine import LPS_TO_RAS
from ...data.volume import Volume, compact
from ...data.volume_checks import reject_unusable_voxels
from ...util.errors import InputError
from ...util.words import counted
from ..files import is_slice, must_fit
from ..headers.fields import check_unit, rectangular
from .files import Slice, decoded, pixels, slices_in
from .grid import grid_of, on_even_grid
from .objects import class_name, header_of, sop_class
from .scans import chosen, fidelity, same_place_mm, scans_of
from .values import voxels_of

_MOST_FILES = 20_000
_MOST_FOLDERS = 500  # beside a slice, looked into for the rest of its series
_LEVELS = 4  # between a slice on a CD and the DICOMDIR
_SERIES_ELEMENT = 0x0020000E
# Mean difference of a lossy copy from its original: of the same instance, and of one that an archive renamed.
_SAME_INSTANCE_HU, _SAME_PICTURE_HU = 25, 2


def read_series(path: Path) -> Volume:
    """Read the series in a folder, or the series that a file belongs to.

    A folder is searched with its sub-folders; a DICOMDIR stands for its folder. Of several scans, the CT with the
    most slices is read; those with fewer than three slices never count. If two are equally long, neither is read.

    Slices that are slightly uneven (up to a quarter of their distance), tilted or shifted sideways are interpolated
    linearly onto an even, rectangular grid, with a warning. Of copies of a slice, one is kept.

    Returns:
        voxels (K, J, I) in HU, int16 if that holds them exactly, else float32; the grid in RAS mm.

    Raises:
        InputError: no usable series, several equal ones, missing or damaged slices, contradicting slices.
        ResourceError: not enough memory.
    """
    warnings: list[str] = []
    slices = slices_of_scan(path, warnings)
    folder = path if path.is_dir() else path.parent
    try:
        return _assembled(_without_duplicates(slices, warnings), folder, warnings)
    finally:
        decoded.cache_clear()


def slices_of_scan(path: Path, warnings: list[str]) -> list[Slice]:
    """The slices that :func:`read_series` reads, sorted along their normal; there may be several at one place.

    Raises:
        InputError: no usable series, or several equal ones.
    """
    if path.name.upper() == "DICOMDIR":
        path = path.parent
    folder = path if path.is_dir() else path.parent
    found = [s for p in _files(path, warnings) for s in slices_in(p)]
    slices = [s for s in found if not s.lacks]
    scans = scans_of(slices)
    if path.is_file():
        scans = [g for g in scans if any(path in (s.path, *(c.path for c in s.copies)) for s in g)]
    unplaced = [s for s in found if s.lacks]
    if not scans:
        raise _unplaced(unplaced, len(found), path) if unplaced else _no_slices(path)
    scan = chosen(scans, folder, warnings)
    unplaced = [s for s in unplaced if s.tags.get("series") == scan[0].tags.get("series")]
    if unplaced:
        left = f"{counted(len(unplaced), 'slice')} of the series {'is' if len(unplaced) == 1 else 'are'} not used"
        warnings.append(f"{left}: {unplaced[0].name} {unplaced[0].lacks}.")
    return sorted(scan, key=lambda s: float(s.position @ scan[0].normal))


def _files(path: Path, warnings: list[str]) -> list[Path]:
    """The files to look for slices in, sorted."""
    folders = [path] if path.is_dir() else folders_of_series(path)
    files = [p for folder in folders for p in files_below(folder)]
    empty = [p.name for p in files if p.stat().st_size == 0]
    if empty:
        shown = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        warnings.append(f"The folder has empty files (0 bytes): {shown}. If they are slices, copy the series again.")
    return sorted({p for p in files if p.name.upper() != "DICOMDIR"})


def files_below(folder: Path) -> Iterable[Path]:
    """The files in a folder and its sub-folders, hidden ones left out.

    Raises:
        InputError: there are too many.
    """
    files: list[Path] = []
    for parent, _, names in os.walk(folder):  # folders that may not be entered are skipped
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        files += [p for p in paths if os.path.isfile(p)]  # noqa: PTH113 (raises for links into folders that may not be entered)
        if len(files) > _MOST_FILES:
            raise InputError(
                f"{folder} contains more than {_MOST_FILES} files.",
                "Choose the folder of one series.",
                code="input.dicom",
            )
    return files


def folders_of_series(path: Path) -> list[Path]:
    """The folder of a slice, and others that hold the rest of its series, as on a CD."""
    for parent in list(path.parents)[1:_LEVELS]:
        try:
            if any(p.name.upper() == "DICOMDIR" for p in parent.iterdir()):
                return [parent]
        except OSError:  # may not be listed
            break
    series = header_of(path, _SERIES_ELEMENT).get("SeriesInstanceUID")
    if not series:
        return [path.parent]

    def of_series(folder: Path) -> bool:
        one = next((p for p in sorted(folder.iterdir()) if p.name[0] != "." and is_slice(p)), None)
        return one is not None and header_of(one, _SERIES_ELEMENT).get("SeriesInstanceUID") == series

    try:
        beside = sorted(p for p in path.parent.parent.iterdir() if p.is_dir() and p != path.parent)
        return [path.parent, *(p for p in beside[:_MOST_FOLDERS] if of_series(p))]
    except OSError:
        return [path.parent]


def _without_duplicates(slices: list[Slice], warnings: list[str]) -> list[Slice]:
    """The slices at different places.

    Raises:
        InputError: slices at the same place differ.
    """
    exact, lossy = _checked_copies(slices)
    boundary: list[str] = []
    kept, near = slices[:1], same_place_mm(slices)
    for s in slices[1:]:
        last = kept[-1]
        if abs((s.position - last.position) @ s.normal) > near:
            kept.append(s)
            continue
        difference = _difference(s, last)
        if difference <= _SAME_PICTURE_HU:
            exact, lossy = exact + (difference == 0), lossy + (difference > 0)
            kept[-1] = min(last, s, key=fidelity)
        elif _acquisition(s) != _acquisition(last) and min(_acquisition(s), _acquisition(last)) >= 0:
            kept[-1] = max(s, last, key=_acquisition)
            boundary.append(min(s, last, key=_acquisition).name)
        else:
            raise InputError(
                f"Two slices lie at the same place but differ: {last.name} and {s.name}.",
                "The folder mixes several phases or reconstructions. Put one of them into a folder of its own.",
                code="input.dicom",
            )
    if exact:
        warnings.append(f"Duplicates of {counted(exact, 'slice')} are not used.")
    if lossy:
        warnings.append(
            f"Duplicates of {counted(lossy, 'slice')} have slightly different values, as after lossy compression. "
            f"One of the two is used, e.g. {kept[0].name}."
        )
    if boundary:
        warnings.append(
            f"Two acquisitions have a slice at the same place ({counted(len(boundary), 'time')}). "
            f"That of the later one is used, not {', '.join(boundary[:3])}."
        )
    return kept


def _acquisition(s: Slice) -> int:
    number = s.tags.get("acquisition", "")
    return int(number) if number.isdecimal() else -1


def _checked_copies(slices: list[Slice]) -> tuple[int, int]:
    """How many further files of the same instance hold the same voxels, and how many slightly different ones.

    Raises:
        InputError: they hold another picture.
    """
    exact = lossy = 0
    for turn in range(max(len(s.copies) for s in slices)):  # file by file, so that each is decoded once
        for s in (s for s in slices if len(s.copies) > turn):
            difference = _difference(s, s.copies[turn])
            if difference > _SAME_INSTANCE_HU:
                raise InputError(
                    f"{s.name} and {s.copies[turn].name} have the same SOP Instance UID and place, but differ.",
                    "Put the slices of one scan into a folder of their own.",
                    code="input.dicom",
                )
            exact, lossy = exact + (difference == 0), lossy + (difference > 0)
    return exact, lossy


def _difference(one: Slice, other: Slice) -> float:
    """Mean difference of the voxels of two slices of one size."""
    return float(np.abs(np.subtract(pixels(one), pixels(other), dtype=np.float64)).mean())


def _assembled(slices: list[Slice], folder: Path, warnings: list[str]) -> Volume:
    first = slices[0]
    if len(slices) < 3:
        raise InputError(
            f"{folder} has only {len(slices)} different slices.", "Choose a folder with all slices.", code="input.dicom"
        )
    check_unit(first.path, first.orientation.reshape(2, 3).T)
    grid = grid_of(slices, folder, warnings)
    must_fit(folder, len(slices) * pixels(first).nbytes)
    modality = Counter(s.tags.get("modality") for s in slices).most_common(1)[0][0]
    array, matrix = voxels_of(slices, warnings), grid.matrix
    if not grid.straight:
        array, matrix = on_even_grid(array, grid, modality, warnings)
    matrix[:3, :3], doubts = rectangular(first.path, matrix[:3, :3])
    reject_unusable_voxels(array, folder)
    name = Counter(s.tags.get("description") for s in slices).most_common(1)[0][0] or folder.name
    return Volume(compact(array), LPS_TO_RAS @ matrix, name, modality, warnings + doubts)


def _unplaced(slices: list[Slice], count: int, path: Path) -> InputError:
    s = next((s for s in slices if s.path == path), slices[0])
    number = f" ({len(slices)} of {count} slices are like it)" if count > 1 else ""
    return InputError(
        f"{s.path} {s.lacks}{number}: it cannot be placed in space.",
        "Export the series again from the scanner or the archive, with its original headers.",
        code="input.dicom",
    )


def _no_slices(path: Path) -> InputError:
    if path.is_file():
        kind = class_name(sop_class(path))
        return InputError(
            f"{path} is DICOM ({kind}) but not a slice or volume: perhaps structures, a report or a picture.",
            "Choose the folder of the CT series.",
            code="input.dicom",
        )
    if not any(path.iterdir()):
        return InputError(f"The folder {path} is empty.", "Choose a folder of DICOM slices.", code="input.dicom")
    return InputError(
        f"{path} contains no DICOM series.",
        "Choose a folder of DICOM slices or an image file.",
        code="input.dicom",
    )
