"""Which slices make one scan, and which scan of a folder is read.

UIDs may be empty, archives merge series and edit their descriptions, and scanners put several acquisitions into one
series. So all that makes a scan another one is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from ...data.types import FloatArray
from ...util.errors import InputError
from ...util.words import counted
from .files import Slice
from .objects import SECONDARY_CAPTURE

_ALIKE = 2e-3  # difference of directions, relative difference of spacings: headers round differently
# A slice of another scan differs in one of these. Where only some slices state one, it decides nothing.
_OPTIONAL = ("patient", "study", "frame_of_reference", "modality", "kernel", "stack")
_REQUIRED = ("series", "rows", "columns")
_WITHOUT_UID = ("number", "description")  # archives edit them, so they count only where there is no UID
# Scans may differ in these, but so may parts of one scan that follow each other along the patient.
_IN_TURNS = (
    "time_point",
    "phase",
    "acquisition",
    "acquisition_time",
    "contrast",
    "kvp",
    "image_type",
    "thickness",
    "echo_time",
)
# Archives may edit these in single slices, so they count only where each part alone is an evenly spaced scan.
_IN_EVEN_TURNS = {
    "patient_name": "patient name",
    "birth_date": "birth date",
    "study_date": "study date",
    "series_time": "series time",
    "number": "series number",
    "description": "description",
    "protocol": "protocol",
    "acquisition_uid": "acquisition",
    "acquisition_date": "date",
    "acquisition_moment": "time",
    "content_time": "content time",
    "irradiation": "irradiation",
    "contrast_start": "contrast agent at",
    "filter": "filter",
    "algorithm": "reconstruction",
    "diameter": "field of view",
    "target_center": "center",
    "scan_options": "scan options",
    "patient_position": "patient position",
    "trigger_time": "trigger time",
    "echo": "echo",
    "repetition_time": "repetition time",
    "inversion_time": "inversion time",
    "flip_angle": "flip angle",
    "b_value": "b-value",
    "device": "device",
    "software": "software",
    "comments": "comment",
}
_MOST_SCANS = 50  # in a series; beyond, the values count slices
_SHOWN = {"acquisition": "acquisition", "kernel": "kernel", "contrast": "contrast agent", "kvp": "kV", "stack": "stack",
          "time_point": "time point", "phase": "phase", "thickness": "thickness", "acquisition_time": "time",
          "echo_time": "echo time", "image_type": "image type", **_IN_EVEN_TURNS}  # fmt: skip
_REFORMATTED = ("MPR", "MIP", "MINIP", "MNIP", "AVERAGE", "PROJECTION", "PROJECTION IMAGE", "REFORMATTED", "VRT", "CSA")
_FEW = 10  # slices: test bolus, monitoring


def scans_of(slices: Iterable[Slice]) -> list[list[Slice]]:
    """The scans that slices belong to, each in the order of its slices."""
    scans: list[tuple[dict[str, str], list[Slice]]] = []
    for s in _without_uids_per_slice(list(slices)):
        fitting = [scan for scan in reversed(scans) if _same_scan(*scan, s)]
        scan = next((f for f in fitting if all(f[0].get(k) == s.tags.get(k) for k in _OPTIONAL)), None)
        scan = scan or next(iter(fitting), None)
        if scan is None:
            scans.append((dict(s.tags), [s]))
        else:
            scan[0].update({k: v for k, v in s.tags.items() if v and not scan[0].get(k)})
            scan[1].append(s)
    return [part for _, scan in scans for part in _separated(_united(scan))]


def _without_uids_per_slice(slices: list[Slice]) -> list[Slice]:
    """The slices without UIDs of study and frame that number the slices of a series, as ITK's writer makes them."""
    by_series: dict[str, list[Slice]] = {}
    for s in slices:
        by_series.setdefault(s.tags.get("series", ""), []).append(s)
    numbering = {
        (series, key)
        for series, of_series in by_series.items()
        for key in ("study", "frame_of_reference")
        if series and len({s.tags.get(key) for s in of_series}) == len(of_series) > 2
    }
    if not numbering:
        return slices
    return [
        replace(s, tags={k: "" if (s.tags.get("series"), k) in numbering else v for k, v in s.tags.items()})
        for s in slices
    ]


def chosen(scans: list[list[Slice]], folder: Path, warnings: list[str]) -> list[Slice]:
    """The scan to read: CT before others, then the one with most slices; the others are named in a warning.

    Raises:
        InputError: none has three slices at different places, or several are alike.
    """
    longest = max((places(scan) for scan in scans if _ordinary(scan)), default=0)

    def rank(scan: list[Slice]) -> tuple[bool, bool, int, int]:
        count = places(scan)
        few = count < _FEW and 3 * count <= longest
        return count >= 3, scan[0].tags.get("modality") == "CT", _ordinary(scan) - few, count

    scans = sorted(scans, key=rank, reverse=True)
    best = scans[0]
    if places(best) < 3:
        one_place = f": the {len(best)} images of {_named(best, scans)} lie at one place" if len(best) >= 3 else ""
        raise InputError(
            f"{folder} has no series with at least three slices{one_place}.",
            "Choose the folder that holds all slices of one series.",
            code="input.dicom",
        )
    rivals = [scan for scan in scans[1:] if rank(scan) == rank(best)]
    if rivals:
        same = [best, *rivals]
        listed = "; ".join(_named(s, same) for s in same[:6])
        raise InputError(
            f"{folder} contains {len(same)} series of the same length{_patients(same)}: {listed}.",
            "Choose one of them by the path of one of its files.",
            code="input.dicom_ambiguous",
        )
    if len(scans) > 1:
        left = "; ".join(_named(scan, scans) for scan in scans[1:6])
        warnings.append(
            f"The folder contains {len(scans)} series{_patients(scans)}. The longest is used: {_named(best, scans)}. "
            f"Not used: {left}."
        )
    return best


def _patients(scans: list[list[Slice]]) -> str:
    count = len({scan[0].tags.get("patient") for scan in scans})
    return f", of {count} patients" if count > 1 else ""


def depths(slices: Sequence[Slice]) -> FloatArray:
    """Position of each slice along the normal of the first, mm."""
    return np.array([s.position @ slices[0].normal for s in slices])


def same_place_mm(slices: Sequence[Slice]) -> float:
    """Slices nearer than this lie at the same place: small beside the voxels, which may be micrometres."""
    return min(0.01, 0.1 * float(min(slices[0].spacing)))


def places(slices: Sequence[Slice]) -> int:
    """Number of different places along the normal."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(depths(slices))) > same_place_mm(slices)))


def fidelity(s: Slice) -> tuple[bool, int]:
    """Sorts copies of a picture, the one nearest to the scanner's first."""
    return s.tags.get("lossy") == "01", -s.path.stat().st_size


def _same_scan(known: dict[str, str], scan: list[Slice], s: Slice) -> bool:
    required = _REQUIRED if s.tags.get("series") else _REQUIRED + _WITHOUT_UID
    return (
        all(known.get(k, "") == s.tags.get(k, "") for k in required)
        and all(known.get(k, "") in ("", s.tags.get(k)) or not s.tags.get(k) for k in _OPTIONAL)
        and _is_scout(scan[0]) == _is_scout(s)
        and np.allclose(scan[0].spacing, s.spacing, _ALIKE, 0)
        and np.allclose(scan[0].orientation, s.orientation, 0, _ALIKE)
    )


def _united(scan: list[Slice]) -> list[Slice]:
    """The slices without further files of the same instance, which become ``copies``: archives store lossy ones."""
    found: dict[object, Slice] = {}
    for s in sorted(scan, key=fidelity):
        key = (s.tags["instance"], s.frame, *np.round(s.position, 4)) if s.tags.get("instance") else id(s)
        if key in found:
            found[key].copies.append(s)
        else:
            found[key] = s
    return sorted(found.values(), key=lambda s: (s.path, s.frame or 0))


def _separated(scan: list[Slice]) -> list[list[Slice]]:
    """A scan split where slices of several scans lie in turns."""
    for key in (*_IN_TURNS, *_IN_EVEN_TURNS):
        parts: dict[str, list[Slice]] = {}
        for s in scan:
            parts.setdefault(s.tags.get(key, ""), []).append(s)
        found = list(parts.values())
        if _in_turns(found) and (key in _IN_TURNS or all(map(_even, found))):
            return [part for p in found for part in _separated(p)]
    files: dict[str, list[Slice]] = {}
    for s in scan:
        files.setdefault("" if s.frame is None else str(s.path), []).append(s)
    for split in (list(files.values()), _sweeps(scan)):
        if _in_turns(split) and places(scan) >= sum(places(part) for part in split):
            return split
    return [scan]


def _sweeps(scan: list[Slice]) -> list[list[Slice]]:
    """A CT's slices in the order of their numbers, split where the scanner must have begun again."""
    numbers = [s.tags.get("instance_number", "") for s in scan]
    if (
        len(scan) < 6
        or scan[0].tags.get("modality") != "CT"
        or not all(n.isdecimal() for n in numbers)
        or len(set(numbers)) < len(scan)
    ):
        return [scan]
    scan = sorted(scan, key=lambda s: int(s.tags["instance_number"]))
    steps = np.diff(depths(scan))
    ends = [0, *(np.flatnonzero(np.sign(steps) != np.sign(np.median(steps))) + 1), len(scan)]
    parts = [scan[start:end] for start, end in pairwise(ends)]
    return parts if min(map(len, parts)) >= 3 else [scan]


def _in_turns(parts: list[list[Slice]]) -> bool:
    """Whether two of the parts share a stretch along the patient, more than the slices where one follows the other."""
    if not 1 < len(parts) <= _MOST_SCANS:
        return False
    normal = parts[0][0].normal
    lines = [np.array([s.position @ normal for s in part]) for part in parts]
    for a, b in combinations(lines, 2):
        low, high = max(a.min(), b.min()) - 1e-3, min(a.max(), b.max()) + 1e-3
        shared = min(np.count_nonzero((x >= low) & (x <= high)) for x in (a, b))
        if min(len(a), len(b)) >= 3 and shared >= (2 if min(len(a), len(b)) <= 4 else 3):
            return True
    return False


def _even(part: list[Slice]) -> bool:
    """Whether slices are nearly all at the same distance from one another, as those of a scan."""
    steps = np.diff(np.sort(depths(part)))
    return len(steps) >= 2 and bool(np.isclose(steps, np.median(steps), rtol=0.1, atol=1e-3).mean() >= 0.8)


def _is_scout(s: Slice) -> bool:
    return "LOCALIZER" in s.tags.get("image_type", "").upper()


def _ordinary(scan: list[Slice]) -> int:
    """1 for slices of a scanner, 0 for pictures reformatted from them, -1 for scouts and captured screens."""
    tags = scan[0].tags
    words = [word.strip() for word in tags.get("image_type", "").upper().split("\\")]
    if _is_scout(scan[0]) or tags.get("class", "").startswith(SECONDARY_CAPTURE):
        return -1
    return 0 if any(word in _REFORMATTED for word in words[2:]) else 1


def _named(scan: list[Slice], others: list[list[Slice]]) -> str:
    """A scan for messages, with what tells it from others of the same name."""
    tags = scan[0].tags
    name = tags.get("description") or f"series {tags.get('number', '?')}"
    alike = [o[0].tags for o in others if o[0].tags.get("description") == tags.get("description")]
    telling = [k for k in _SHOWN if len({o.get(k) for o in alike}) > 1]
    told = "".join(f", {_SHOWN[k]} {tags.get(k) or 'not stated'}" for k in telling[:2])
    return f"{name} ({tags.get('modality') or '?'}, {counted(len(scan), 'slice')}{told}, e.g. {scan[0].path.name})"
