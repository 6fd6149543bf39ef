"""Which folders of slices belong together, and which hold several patients: for cohorts, by headers alone."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..files import is_slice
from .objects import CT, class_in, header_of, may_be_slice

_SERIES_ELEMENT = 0x0020000E


@dataclass(frozen=True)
class _Header:
    path: Path
    patient: str
    series: str
    is_ct: bool
    stand_in: str  # tells patients apart where an anonymiser left all of them without an ID


def volumes_in(files: Iterable[Path]) -> list[Path]:
    """What to read for each volume among files, for :func:`~DeepSegLogic.io.read_volume`.

    Files that are no slices, such as segmentations, structures and reports, are left out. A folder with the slices of
    one patient is one volume; of several patients in one folder, each is one, given by a slice. Folders that share a
    series, as on a CD, are one volume.
    """
    headers = [header for path in files if (header := _header(path))]
    patients_of = {h.series: h.patient for h in headers if h.series and h.patient}
    often = Counter(h.stand_in for h in headers)  # some programs give each slice a study of its own
    headers = [
        replace(h, patient=h.patient or patients_of.get(h.series) or (h.stand_in if often[h.stand_in] > 1 else ""))
        for h in headers
    ]
    parts: dict[tuple[Path, str], list[_Header]] = defaultdict(list)  # folder and patient: slices
    for header in headers:
        parts[header.path.parent, header.patient].append(header)
    patients: dict[Path, int] = defaultdict(int)
    for folder, _ in parts:
        patients[folder] += 1
    sources = []
    for group in _linked(list(parts.values())):
        folders = {h.path.parent for h in group}
        common = Path(os.path.commonpath(folders))
        alone = all(folder in folders for folder in patients if common in (folder, *folder.parents))
        shared = any(patients[folder] > 1 for folder in folders)
        sources.append(common if alone and not shared else _first_of_longest(group))
    return sorted(sources)


def _header(path: Path) -> _Header | None:
    if path.name.upper() == "DICOMDIR" or not is_slice(path):
        return None
    header = header_of(path, _SERIES_ELEMENT)
    uid = class_in(header)
    if not may_be_slice(uid):
        return None
    patient, series, name, study = (
        str(header.get(keyword) or "")
        for keyword in ("PatientID", "SeriesInstanceUID", "PatientName", "StudyInstanceUID")
    )
    return _Header(path, patient, series, uid in CT, name or study)


def _linked(parts: list[list[_Header]]) -> list[list[_Header]]:
    """Parts of one patient that share a series, joined."""
    groups: list[tuple[set[tuple[str, str]], list[_Header]]] = []
    for part in parts:
        series = {(h.patient, h.series) for h in part if h.series}
        joined = [g for g in groups if g[0] & series]
        groups = [g for g in groups if not g[0] & series]
        groups.append((series.union(*(g[0] for g in joined)), [h for g in joined for h in g[1]] + part))
    return [headers for _, headers in groups]


def _first_of_longest(headers: list[_Header]) -> Path:
    """The first file of the longest CT series, or of the longest series if there is no CT."""
    series: dict[str, list[_Header]] = defaultdict(list)
    for header in headers:
        series[header.series].append(header)
    longest = max(series.values(), key=lambda s: (s[0].is_ct, len(s)))
    return min(h.path for h in longest)
