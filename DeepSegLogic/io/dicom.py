"""A DICOM folder as one volume: the right series, in the right order, on an even grid.

GDCM (in SimpleITK) decodes; what belongs together and whether it makes a regular volume is decided here,
from each slice's own header, because UIDs may be empty and ITK joins slices without looking at gaps.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..geometry import LPS_TO_RAS
from ..volume import Volume

_TAGS = {
    "series": "0020|000e",
    "number": "0020|0011",
    "description": "0008|103e",
    "modality": "0008|0060",
    "image_type": "0008|0008",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "spacing": "0028|0030",
    "rows": "0028|0010",
    "columns": "0028|0011",
    "slope": "0028|1053",
    "intercept": "0028|1052",
    "acquisition": "0020|0012",
    "time": "0020|0100",
}
_SAME_POSITION_MM = 0.01
_UNEVEN = 0.01  # of the spacing: what headers' rounding explains
_CORRECTABLE = 0.25  # of the spacing: slices are interpolated onto an even grid
_TILT_DEGREES = 0.1
_MOST_FILES = 20_000


@dataclass
class Slice:
    """What one file's header says. Vectors are LPS, mm."""

    path: Path
    tags: dict[str, str]
    position: np.ndarray
    orientation: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])


def read_series(path: Path) -> Volume:
    """Read the series in a folder (searched through its sub-folders), or the one that a file belongs to.

    Of several series the one with the most CT slices is taken; localizers and derived pictures with fewer
    than three slices never count. Two series that are equally long are not guessed between.

    Slices may be slightly uneven (a quarter of their distance) or tilted: they are then interpolated
    linearly onto an even, rectangular grid, with a warning. Duplicates of a position are dropped when
    their voxels agree.

    Raises:
        InputError: no usable series, several equal ones, missing slices, slices that contradict each other.
    """
    folder = path if path.is_dir() else path.parent
    groups = _grouped(_headers(folder))
    if path.is_file():
        groups = [g for g in groups if any(s.path == path for s in g)]
    if not groups:
        return _multiframe(path) if path.is_file() else _no_series(folder)
    slices, warnings = _chosen(groups, folder)
    slices = sorted(slices, key=lambda s: float(s.position @ slices[0].normal))
    slices = _without_duplicates(slices, warnings)
    return _assembled(slices, folder, warnings)


def _headers(folder: Path) -> list[Slice]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    if len(files) > _MOST_FILES:
        raise InputError(
            f"{folder} holds {len(files)} files.", "Give the folder of one patient's series.", code="input.dicom"
        )
    found = (_header(p) for p in files if p.name.upper() != "DICOMDIR")
    return [s for s in found if s is not None]


def _header(path: Path) -> Slice | None:
    """The header of a DICOM slice with a place in space; None for anything else."""
    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return None
    except OSError:
        return None
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.LoadPrivateTagsOff()
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    tags = {name: reader.GetMetaData(t).strip() for name, t in _TAGS.items() if reader.HasMetaDataKey(t)}
    try:
        position = np.array([float(x) for x in tags["position"].split("\\")])
        orientation = np.array([float(x) for x in tags["orientation"].split("\\")])
    except (KeyError, ValueError):
        return None
    if position.shape != (3,) or orientation.shape != (6,) or reader.GetSize()[2:3] not in ((), (1,)):
        return None
    return Slice(path, tags, position, orientation)


def _grouped(slices: list[Slice]) -> list[list[Slice]]:
    """Slices that can belong to one volume: same series, size, pixel spacing and orientation."""
    groups = defaultdict(list)
    for s in slices:
        t = s.tags
        same = ("series", "number", "description", "modality", "rows", "columns", "spacing")
        groups[(*(t.get(k, "") for k in same), *np.round(s.orientation, 3))].append(s)
    return list(groups.values())


def _chosen(groups: list[list[Slice]], folder: Path) -> tuple[list[Slice], list[str]]:
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
    warnings = []
    if len(groups) > 1:
        left = "; ".join(_named(g) for g in groups[1:6])
        warnings.append(
            f"The folder holds {len(groups)} series; the longest was taken: {_named(best)}. Left out: {left}."
        )
    return best, warnings


def _named(group: list[Slice]) -> str:
    tags = group[0].tags
    name = tags.get("description") or f"series {tags.get('number', '?')}"
    return f"{name} ({tags.get('modality', '?')}, {len(group)} slices, e.g. {group[0].path.name})"


def _without_duplicates(slices: list[Slice], warnings: list[str]) -> list[Slice]:
    kept, dropped = slices[:1], 0
    for s in slices[1:]:
        if abs((s.position - kept[-1].position) @ s.normal) > _SAME_POSITION_MM:
            kept.append(s)
        elif np.array_equal(_pixels(s), _pixels(kept[-1])):
            dropped += 1
        else:
            raise InputError(
                f"Two slices lie at the same place but differ: {kept[-1].path.name} and {s.path.name}.",
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
            f"{slices[at].path.name} and {slices[at + 1].path.name}.",
            "Copy the whole series, or resample it onto an even grid.",
            code="input.dicom_gap",
        )
    array = np.stack([_pixels(s) for s in slices])
    rows = [float(x) for x in first.tags["spacing"].split("\\")]
    in_plane = np.stack([first.orientation[:3] * rows[1], first.orientation[3:] * rows[0]], 1)
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
    if all("slope" not in s.tags and "intercept" not in s.tags for s in slices) and array.min() >= 0:
        warnings.append("The series states no rescaling to HU; its stored values are used.")
    from .reading import compact

    if array.min() == array.max():
        raise InputError(
            f"{folder} is empty: all its voxels are {array.flat[0]}.", "Choose another series.", code="input.empty"
        )
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


def _pixels(s: Slice) -> np.ndarray:
    try:
        image = sitk.ReadImage(str(s.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise InputError(
            f"The slice {s.path} cannot be decoded: it is truncated, or compressed in an unknown way.",
            "Copy or export the series again.",
            code="input.truncated",
        ) from error
    array = sitk.GetArrayFromImage(image)
    return array.reshape(array.shape[-2:])


def _multiframe(path: Path) -> Volume:
    """An enhanced (multi-frame) CT: one file is the whole volume."""
    from .reading import compact, ijk_to_ras

    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as DICOM.", "Export it again.", code="input.format") from error
    if image.GetNumberOfComponentsPerPixel() > 1 or image.GetDimension() != 3 or image.GetSize()[2] < 2:
        raise InputError(
            f"{path} is a single picture, not a volume.", "Give the folder of the series.", code="input.dimension"
        )
    modality = image.GetMetaData("0008|0060").strip() if image.HasMetaDataKey("0008|0060") else None
    return Volume(compact(sitk.GetArrayFromImage(image)), ijk_to_ras(image), path.stem, modality)


def _no_series(folder: Path) -> Volume:
    multiframe = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix.lower() == ".dcm"]
    if len(multiframe) == 1:
        return _multiframe(multiframe[0])
    if not any(folder.iterdir()):
        raise InputError(f"The folder {folder} is empty.", "Give a folder of DICOM slices.", code="input.dicom")
    raise InputError(
        f"The folder {folder} holds no DICOM series.",
        "Give a folder of DICOM slices or an image file.",
        code="input.dicom",
    )
