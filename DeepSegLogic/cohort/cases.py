"""The volumes of a cohort."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..io.archive import SUFFIX as ZIP
from ..io.dicom.folders import volumes_in
from ..io.read import SUFFIXES
from ..io.segmentations import SEGMENTATION_SUFFIXES
from ..util.errors import InputError


@dataclass(frozen=True)
class Case:
    """A volume of a cohort.

    Attributes:
        name: path of its results in the output folder, with ``/``.
        source: a file, a folder of DICOM slices, or one slice of a series.
    """

    name: str
    source: Path


def find_cases(sources: Iterable[Path], match: str = "", leave_out: Path | None = None) -> list[Case]:
    """The volumes among the given files and folders, sorted by name.

    Folders are searched with their sub-folders. Volumes are files with the suffix of a volume, except segmentations,
    zip files, and DICOM slices as :func:`~DeepSegLogic.io.dicom.folders.volumes_in` groups them. A case is
    named by its path in that folder, without the suffix unless two cases would then have the same name.

    Args:
        sources: files and folders.
        match: in folders, take only volumes whose path matches this pattern from the right, for example
            ``"*/ct.nii.gz"``.
        leave_out: a folder that is not searched, for example that of the results.

    Raises:
        InputError: there are no volumes, or a folder cannot be listed.
    """
    found: dict[Path, Path] = {}  # source: its path in the cohort
    for given in sources:
        if given.is_dir():
            inside = {v: v.relative_to(given) for v in _volumes(given, leave_out)}
            inside = {v: Path(given.resolve().name) if v == given else place for v, place in inside.items()}
            found |= {v: place for v, place in inside.items() if not match or v.match(match)}
        elif given.exists():
            found[given] = Path(given.name)
        else:
            raise InputError(f"{given} does not exist.", "Check the path.", code="input.missing")
    if not found:
        raise InputError(
            f"There are no volumes{f' that match {match}' if match else ''} in {', '.join(map(str, sources))}.",
            f"Volumes are folders of DICOM slices and files that end with {', '.join(SUFFIXES)}.",
            code="input.missing",
        )
    short = {source: _without_suffix(place.as_posix()) for source, place in found.items()}
    times = Counter(name.casefold() for name in short.values())
    names = {s: name if times[name.casefold()] == 1 else found[s].as_posix() for s, name in short.items()}
    twice = [name for name, count in Counter(n.casefold() for n in names.values()).items() if count > 1]
    if twice:
        raise InputError(
            f"Two volumes would have the same name: {twice[0]}.",
            "Choose the folder that contains both.",
            code="input.twice",
        )
    return [Case(name, source) for source, name in sorted(names.items(), key=lambda item: item[1])]


def _volumes(folder: Path, leave_out: Path | None) -> Iterable[Path]:
    def refuse(error: OSError) -> NoReturn:
        raise InputError(
            f"{error.filename} cannot be listed ({error.strerror}).", "Check its permissions.", code="input.missing"
        ) from error

    left_out = leave_out and leave_out.resolve()
    others: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        here = Path(place)
        folders[:] = sorted(n for n in folders if n[0] != "." and (here / n).resolve() != left_out)
        candidates = [here / n for n in sorted(files) if n[0] != "."]
        volumes = [p for p in candidates if _has_suffix(p)]
        yield from volumes
        others += [p for p in candidates if p not in volumes]
    yield from volumes_in(others)


def _has_suffix(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith((*SUFFIXES, ZIP)) and not name.endswith(SEGMENTATION_SUFFIXES)


def _without_suffix(name: str) -> str:
    suffix = next((s for s in (*SUFFIXES, ZIP, ".dcm") if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
