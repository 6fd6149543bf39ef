"""Which prediction belongs to which reference: label maps and folders of them, matched by name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..io.read import SUFFIXES
from ..io.result_files import label_map_in
from ..io.segmentations import SEGMENTATION_SUFFIXES
from ..util.errors import InputError


@dataclass(frozen=True)
class CasePair:
    """The label maps of one case."""

    name: str
    prediction: Path
    reference: Path


@dataclass(frozen=True)
class Pairs:
    """Matched cases, and the names of those that only one side has."""

    pairs: list[CasePair]
    only_prediction: list[str] = field(default_factory=list)
    only_reference: list[str] = field(default_factory=list)


def find_pairs(prediction: Path, reference: Path, match: str = "") -> Pairs:
    """Match the cases of two files or folders.

    A folder of results is one case; other folders are searched with their sub-folders. A case is named by its path in
    the folder, without the suffix. Names match if they are equal, if they are without nnU-Net's channel (``_0000``),
    or if their folders are and hold one case each.

    Args:
        match: take only references whose path matches this pattern from the right, such as ``"*/labels.nii.gz"``.

    Raises:
        InputError: a path does not exist or has no label maps, or no names match.
    """
    (ours, one_of_ours), (theirs, one_of_theirs) = _label_maps(prediction), _label_maps(reference, match)
    if one_of_ours and one_of_theirs:
        (name, path), other = next(iter(ours.items())), next(iter(theirs.values()))
        return Pairs([CasePair(name, path, other)])
    pairs = []
    for left, right in [(_unique(ours, key), _unique(theirs, key)) for key in _KEYS]:
        for name in sorted(left.keys() & right.keys()):
            if left[name] in ours and right[name] in theirs:
                pairs.append(CasePair(name, ours.pop(left[name]), theirs.pop(right[name])))
    if not pairs:
        raise InputError(
            f"No case in {prediction} has the name of one in {reference}: {_some(ours)} and {_some(theirs)}.",
            "Give the files or folders of a case the same name on both sides, or choose two files.",
            code="input.pairs",
        )
    return Pairs(sorted(pairs, key=lambda pair: pair.name), sorted(ours), sorted(theirs))


def the_case(path: Path) -> Path:
    """The label map that a path stands for: itself, or that in a folder of results.

    Raises:
        InputError: the path does not exist, or is a folder of several cases.
    """
    found, single = _label_maps(path)
    if not single:
        raise InputError(
            f"{path} is a folder of label maps, but it is compared with a single one.",
            "Choose one file, or folders on both sides.",
            code="input.pairs",
        )
    return next(iter(found.values()))


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


_KEYS: tuple[Callable[[str], str], ...] = (str, lambda name: name.removesuffix("_0000"), _folder)


def _unique(names: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """Names by what ``key`` makes of them, where it is not empty and no other name's."""
    keys = {name: key(name) for name in names}
    times = Counter(keys.values())
    return {made: name for name, made in keys.items() if made and times[made] == 1}


def _label_maps(path: Path, match: str = "") -> tuple[dict[str, Path], bool]:
    """Label maps by case name, and whether the path itself is a single case."""
    path = path.expanduser()
    if path.is_file():
        return {_stem(path.name): path}, True
    if (of_result := label_map_in(path)) is not None:
        return {path.resolve().name: of_result}, True
    if not path.is_dir():
        raise InputError(f"{path} does not exist.", "Check the path.", code="input.missing")
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(path):
        here = Path(place)
        of_result = label_map_in(here)
        if of_result is not None:
            folders.clear()
        folders[:] = sorted(name for name in folders if name[0] != ".")
        candidates = [here / f for f in sorted(files) if f[0] != "." and f.lower().endswith(SUFFIXES)]
        for file in candidates if of_result is None else [of_result]:
            if not match or file.match(match):
                name = here if file == of_result else here / _stem(file.name)
                found.setdefault(name.relative_to(path).as_posix(), file)
    if not found:
        raise InputError(
            f"There are no label maps{f' that match {match}' if match else ''} in {path}.",
            f"Label maps are folders of results, and files that end with {', '.join(SUFFIXES)}.",
            code="input.missing",
        )
    return found, False


def _stem(name: str) -> str:
    suffix = next((s for s in (*SEGMENTATION_SUFFIXES, *SUFFIXES) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _some(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:3])
