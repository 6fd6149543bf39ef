"""A DICOM folder as one volume: the right series, in the right order, on an even grid.

What belongs together and whether it makes a regular volume is decided here, from each slice's own header, because
UIDs may be empty and ITK joins slices without looking at gaps. A frame of a multi-frame file is a slice like any other.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import LPS_TO_RAS
from ..volume import Volume, compact
from ..volume_checks import reject_unusable_voxels
from .dicom_files import Slice, decoded, pixels, slices_in

_SAME_POSITION_MM = 0.01
_UNEVEN = 0.01  # of the spacing: what headers' rounding explains
_CORRECTABLE = 0.25  # of the spacing: slices are interpolated onto an even grid
_TILT_DEGREES = 0.1
_ALIKE = 2e-3  # directions, and spacings in relation: headers write the same number with more or fewer digits
_MOST_FILES = 20_000


def read_series(path: Path) -> Volume:
    """Read the series in a folder (searched through its sub-folders; a DICOMDIR stands for its folder), or the one
    that a file belongs to.

    Of several series the one with the most CT slices is taken; localizers and derived pictures with fewer
    than three slices never count. Two series that are equally long are not guessed between.

    Slices may be slightly uneven (a quarter of their distance) or tilted: they are then interpolated
    linearly onto an even, rectangular grid, with a warning. Duplicates of a position are dropped when
    their voxels agree.

    Raises:
        InputError: no usable series, several equal ones, missing or damaged slices, slices that contradict each other.
    """
    if path.name.upper() == "DICOMDIR":
        path = path.parent
    folder = path if path.is_dir() else path.parent
    slices, warnings = _headers(folder)
    groups = _grouped(slices)
    if path.is_file():
        groups = [g for g in groups if any(s.path == path for s in g)]
    if not groups:
        raise _no_slices(path)
    slices = _chosen(groups, folder, warnings)
    slices = sorted(slices, key=lambda s: float(s.position @ slices[0].normal))
    try:
        return _assembled(_without_duplicates(slices, warnings), folder, warnings)
    finally:
        decoded.cache_clear()


def _headers(folder: Path) -> tuple[list[Slice], list[str]]:
    files = []
    for parent, _, names in os.walk(folder):  # what may not be entered is left out
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        files += [p for p in paths if os.path.isfile(p)]  # noqa: PTH113, which raises for links into closed folders
        if len(files) > _MOST_FILES:
            raise InputError(
                f"{folder} holds more than {_MOST_FILES} files.",
                "Give the folder of one patient's series.",
                code="input.dicom",
            )
    files.sort()
    empty = [p.name for p in files if p.stat().st_size == 0]
    warnings = []
    if empty:
        names = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        warnings.append(
            f"Files of the folder are empty (0 bytes): {names}. If they were slices, copy the series again."
        )
    return [s for p in files if p.name.upper() != "DICOMDIR" for s in slices_in(p)], warnings


def _grouped(slices: list[Slice]) -> list[list[Slice]]:
    """Slices that can belong to one volume: same series, size, pixel spacing and orientation."""
    groups: list[list[Slice]] = []
    for s in slices:
        group = next((g for g in reversed(groups) if _alike(g[0], s)), None)
        if group is None:
            groups.append([s])
        else:
            group.append(s)
    return groups


def _alike(a: Slice, b: Slice) -> bool:
    same = ("series", "number", "description", "modality", "rows", "columns")
    return (
        all(a.tags.get(k, "") == b.tags.get(k, "") for k in same)
        and np.allclose(a.spacing, b.spacing, _ALIKE, 0)
        and np.allclose(a.orientation, b.orientation, 0, _ALIKE)
    )


def _chosen(groups: list[list[Slice]], folder: Path, warnings: list[str]) -> list[Slice]:
    def rank(group):
        tags = group[0].tags
        picture = any(word in tags.get("image_type", "").upper() for word in ("LOCALIZER", "SECONDARY"))
        return tags.get("modality") == "CT" and not picture, len(group)

    groups = sorted(groups, key=rank, reverse=True)
    best = groups[0]
    if len(best) < 3:
        raise InputError(
            f"{folder} has no series with at least three slices.",
            "Give the folder that holds all slices of one series.",
            code="input.dicom",
        )
    rivals = [g for g in groups[1:] if rank(g) == rank(best)]
    if rivals:
        listed = "; ".join(_named(g) for g in [best, *rivals])
        raise InputError(
            f"{folder} holds {len(rivals) + 1} series of the same length: {listed}.",
            "Choose one: give the path of one of its files instead of the folder.",
            code="input.dicom_ambiguous",
        )
    if len(groups) > 1:
        left = "; ".join(_named(g) for g in groups[1:6])
        warnings.append(
            f"The folder holds {len(groups)} series; the longest was taken: {_named(best)}. Left out: {left}."
        )
    return best


def _named(group: list[Slice]) -> str:
    tags = group[0].tags
    name = tags.get("description") or f"series {tags.get('number', '?')}"
    return f"{name} ({tags.get('modality', '?')}, {len(group)} slices, e.g. {group[0].path.name})"


def _without_duplicates(slices: list[Slice], warnings: list[str]) -> list[Slice]:
    kept, dropped = slices[:1], 0
    for s in slices[1:]:
        if abs((s.position - kept[-1].position) @ s.normal) > _SAME_POSITION_MM:
            kept.append(s)
        elif np.array_equal(pixels(s), pixels(kept[-1])):
            dropped += 1
        else:
            raise InputError(
                f"Two slices lie at the same place but differ: {kept[-1].name} and {s.name}.",
                "The folder mixes several phases or reconstructions: give one of them in a folder of its own.",
                code="input.dicom",
            )
    if dropped:
        warnings.append(f"{dropped} slices were there twice; the copies were left out.")
    return kept


def _assembled(slices: list[Slice], folder: Path, warnings: list[str]) -> Volume:
    first = slices[0]
    if len(slices) < 3:
        raise InputError(f"{folder} has only {len(slices)} different slices.", "Give all slices.", code="input.dicom")
    normal = first.normal
    depth = np.array([s.position @ normal for s in slices])
    gaps = np.diff(depth)
    step = float(np.median(gaps))
    uneven = np.abs(gaps - step).max() / step
    if uneven > _CORRECTABLE:
        at = int(np.argmax(np.abs(gaps - step)))
        raise InputError(
            f"Slices are missing in {folder}, or unevenly spaced: {gaps[at]:.2f} mm instead of {step:.2f} mm between "
            f"{slices[at].name} and {slices[at + 1].name}. {' '.join(warnings)}".strip(),
            "Copy the whole series, or resample it onto an even grid.",
            code="input.dicom_gap",
        )
    array = np.stack([pixels(s) for s in slices])
    in_plane = np.stack([first.orientation[:3] * first.spacing[1], first.orientation[3:] * first.spacing[0]], 1)
    shift = np.stack([s.position - first.position - (s.position - first.position) @ normal * normal for s in slices])
    tilt = np.degrees(np.arctan2(np.linalg.norm(shift[-1]), depth[-1] - depth[0]))
    if uneven > _UNEVEN or tilt > _TILT_DEGREES:
        array = _on_even_grid(array, depth, shift @ np.linalg.pinv(in_plane).T)
        step = (depth[-1] - depth[0]) / (len(slices) - 1)
        if tilt > _TILT_DEGREES:
            warnings.append(f"The gantry was tilted by {tilt:.1f}°; the slices were resampled onto a rectangular grid.")
        if uneven > _UNEVEN:
            warnings.append(f"The slices are unevenly spaced (by up to {uneven:.0%}); they were interpolated.")
    else:
        step = (depth[-1] - depth[0]) / (len(slices) - 1)
    matrix = np.eye(4)
    matrix[:3, :2] = in_plane
    matrix[:3, 2] = normal * step
    matrix[:3, 3] = first.position
    low, _ = reject_unusable_voxels(array, folder)
    if low >= 0 and all("slope" not in s.tags and "intercept" not in s.tags for s in slices):
        warnings.append("The series states no rescaling to HU; its stored values are used.")
    name = first.tags.get("description") or folder.name
    modality = Counter(s.tags.get("modality") for s in slices).most_common(1)[0][0]
    return Volume(compact(array), LPS_TO_RAS @ matrix, name, modality, warnings)


def _on_even_grid(array: np.ndarray, depth: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Interpolate slices linearly: first each one back by its in-plane shift (I, J voxels), then between depths."""
    from scipy.ndimage import shift as shifted

    straight = np.empty(array.shape, np.float32)
    for k, (moved_i, moved_j) in enumerate(shift):
        straight[k] = shifted(array[k].astype(np.float32), (moved_j, moved_i), order=1, mode="nearest")
    even = np.linspace(depth[0], depth[-1], len(depth))
    upper = np.clip(np.searchsorted(depth, even), 1, len(depth) - 1)
    weight = ((even - depth[upper - 1]) / (depth[upper] - depth[upper - 1])).astype(np.float32)[:, None, None]
    return np.rint(straight[upper - 1] * (1 - weight) + straight[upper] * weight)


def _no_slices(path: Path) -> InputError:
    if path.is_file():
        return InputError(
            f"{path} is DICOM but no slice or volume: perhaps structures, a report or a picture.",
            "Give the folder of the CT series.",
            code="input.dicom",
        )
    if not any(path.iterdir()):
        return InputError(f"The folder {path} is empty.", "Give a folder of DICOM slices.", code="input.dicom")
    return InputError(
        f"{path} holds no DICOM series.",
        "Give a folder of DICOM slices or an image file.",
        code="input.dicom",
    )
