"""The cases of a data set on disk, in any of five layouts; no voxel is read here.

- nnU-Net's raw layout: ``dataset.json``, ``imagesTr/NAME_0000.nii.gz``, ``labelsTr/NAME.nii.gz``
- results folders of ``deepseg segment``, each with the CT that was segmented
- image and label files: ``NAME.nii.gz`` with ``NAME_seg.nii.gz`` or ``NAME.seg.nrrd``, a folder per case, or the
  folders ``images`` and ``labels``; a ``dataset.json`` there names the labels
- scenes of 3D Slicer (``.mrb``), each with an image and its segmentation; also among results or image files
- a table ``cases.csv`` with the columns ``image``, ``label`` and, if need be, ``looked_for``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..io.read import SUFFIXES
from ..io.slicer_scene import SUFFIX as SCENE
from ..models.files import file_digest, read_json
from ..util.errors import InputError
from ..util.tables import read_table

RESULT, PROVENANCE = "segmentation.seg.nrrd", "provenance.json"
IGNORE = "ignore"
"""nnU-Net's name for voxels that nobody labelled."""
_T = TypeVar("_T")

_LABEL_WORD = re.compile(r"(^|[_.-])(labels?|seg|segmentation|mask)$", re.IGNORECASE)
_LABEL_FOLDER, _IMAGE_FOLDER = re.compile("labels?(Tr)?|segmentations?|masks?"), re.compile("images?(Tr)?")
_HOW = (
    "Give nnU-Net's raw layout (imagesTr, labelsTr, dataset.json), results folders, image and label files side by side "
    "(NAME.nii.gz and NAME_seg.nii.gz), scenes of 3D Slicer (.mrb), or a CSV with the columns image and label."
)


@dataclass(frozen=True)
class CaseFiles:
    """Where one case is.

    Attributes:
        name: for messages and file names; unique in its data set.
        image, labels: files on the same grid; the same scene (``.mrb``) twice if that holds both.
        names: of the structures by label value; None if the file of the labels says it.
        looked_for: structures that were looked for; None for all that the labels' table names. What was not looked for
            is not learnt as background.
    """

    name: str
    image: Path
    labels: Path
    names: Mapping[int, str] | None = None
    looked_for: frozenset[str] | None = None

    @property
    def is_scene(self) -> bool:
        """Whether image and labels are in a scene of 3D Slicer."""
        return self.labels.suffix.lower() == SCENE and self.labels == self.image


def find_cases(data: Path) -> list[CaseFiles]:
    """The cases of a data set, sorted by name.

    Args:
        data: a folder, a CSV, or a scene.

    Raises:
        InputError: there are none, one lacks its image or labels, or a table cannot be used.
    """
    if not data.exists():
        raise InputError(f"There is no {data}.", "Check the path.", code="input.missing")
    if data.is_file():
        if data.suffix.lower() not in (".csv", SCENE):
            raise InputError(f"{data} is neither a folder, a CSV nor a scene.", _HOW, code="input.data")
        cases = _from_csv(data) if data.suffix.lower() == ".csv" else [_scene(data.parent, data)]
    elif (data / "imagesTr").is_dir():
        cases = _nnunet(data)
    else:
        results = sorted(p.parent for p in data.rglob(PROVENANCE) if (p.parent / RESULT).is_file())
        cases = [_result(data, folder) for folder in results] if results else _pairs(data)
        cases += [_scene(data, p) for p in data.rglob("*") if p.suffix.lower() == SCENE and p.is_file()]
    if not cases:
        raise InputError(f"{data} has no cases: no image with labels.", _HOW, code="input.data")
    return sorted(cases, key=lambda case: case.name)


def modality_of(data: Path) -> str | None:
    """What ``dataset.json`` says of the images, such as ``"CT"``; None without one.

    Raises:
        InputError: there are several channels.
    """
    path = (data if data.is_dir() else data.parent) / "dataset.json"
    if not path.is_file():
        return None
    content = _json(path)
    channels = content.get("channel_names") or content.get("modality") or {"0": ""}
    if len(channels) != 1:
        raise InputError(
            f"{path} has {len(channels)} channels; DeepSeg trains on one.", "Keep one channel.", code="input.data"
        )
    return str(next(iter(channels.values()))).upper() or None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        return content
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.", "Correct it.", code="input.data") from error


def _names(folder: Path) -> dict[int, str] | None:
    """Structures by value as ``dataset.json`` names them."""
    path = folder / "dataset.json"
    if not path.is_file():
        return None
    labels = _json(path).get("labels")
    if not isinstance(labels, dict) or not all(type(value) is int for value in labels.values()):
        raise InputError(
            f'"labels" in {path} must map each name to one whole number; regions of several are not supported.',
            'Write {"labels": {"background": 0, "liver": 1, …}}.',
            code="input.data",
        )
    names = {value: str(name) for name, value in labels.items() if value != 0}
    if len(names) < len(labels) - 1:
        raise InputError(f"{path} gives two names the same value.", "Correct it.", code="input.data")
    return names


def _stem(path: Path) -> str:
    name = path.name
    suffix = next((s for s in (".seg.nrrd", SCENE, *SUFFIXES) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name.lower().endswith(SUFFIXES))


def _nnunet(folder: Path) -> list[CaseFiles]:
    names = _names(folder)
    if names is None or not (folder / "labelsTr").is_dir():
        lacking = "dataset.json" if names is None else "labelsTr"
        raise InputError(f"{folder} has imagesTr, but no {lacking}.", _HOW, code="input.data")
    modality_of(folder)
    images = {re.sub(r"_0000$", "", _stem(p)): p for p in _images(folder / "imagesTr")}
    labels = {_stem(p): p for p in _images(folder / "labelsTr")}
    return [CaseFiles(name, i, s, names) for name, i, s in _matched(folder, images, labels)]


def _matched(folder: Path, images: dict[str, _T], labels: dict[str, _T]) -> list[tuple[str, _T, _T]]:
    for kind, lacking in (("labels", images.keys() - labels.keys()), ("an image", labels.keys() - images.keys())):
        if lacking:
            few = ", ".join(sorted(lacking)[:5]) + (", …" if len(lacking) > 5 else "")
            raise InputError(
                f"{len(lacking)} cases in {folder} have no {kind.removeprefix('an ')}: {few}.",
                f"Add {kind} of the same name, or remove the file without it.",
                code="input.data",
            )
    return [(name, image, labels[name]) for name, image in images.items()]


def _pairs(folder: Path) -> list[CaseFiles]:
    """Files that differ in a word for labels: beside each other, in a folder per case, or in two folders."""
    names, images, labels = _names(folder), dict[str, Path](), dict[str, Path]()
    for place in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir() and p.name[0] != ".")]:
        files = _images(place)
        marked = {p for p in files if _LABEL_WORD.search(_stem(p)) or p.name.lower().endswith(".seg.nrrd")}
        marked = set(files) if _LABEL_FOLDER.fullmatch(place.name) and place != folder else marked
        parallel = _LABEL_FOLDER.fullmatch(place.name) or _IMAGE_FOLDER.fullmatch(place.name)
        above = (place.parent if parallel and place != folder else place).relative_to(folder)
        for path in files:
            base = _LABEL_WORD.sub("", _stem(path)) if path in marked else _stem(path)
            one_case = len(files) == 2 and len(marked) == 1 and not parallel
            own = place.resolve().name if place == folder else above.as_posix()
            key = own if one_case else (above / (base or "labels")).as_posix()
            kind = labels if path in marked else images
            if key in kind:
                raise InputError(
                    f"{kind[key].name} and {path.name} in {place} are of the same case.",
                    "Keep one of them.",
                    code="input.data",
                )
            kind[key] = path
    return [CaseFiles(name, image, label, names) for name, image, label in _matched(folder, images, labels)]


def _scene(data: Path, path: Path) -> CaseFiles:
    return CaseFiles(path.relative_to(data).with_suffix("").as_posix(), path, path)


def _result(data: Path, folder: Path) -> CaseFiles:
    """A result, perhaps corrected by hand. Its provenance names the CT, and what was looked for."""
    try:
        facts = _json(folder / PROVENANCE)
        source, digest = str(facts["input"]["name"]), facts["input"].get("digest")
        looked_for = frozenset(map(str, facts["settings"]["structures"]))
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / PROVENANCE} does not say what was segmented.", "Use a CSV instead.", code="input.data"
        ) from error
    name = folder.relative_to(data).as_posix() if folder != data else folder.resolve().name
    places = [place / Path(source).name for place in (folder, folder.parent, data)]
    image = next((p for p in places if p.is_file()), None)
    if image is None:
        raise InputError(
            f"The image {source} of the result {folder} is not there.",
            f"Put it into {folder} or {folder.parent}, or use a CSV with the columns image and label.",
            code="input.data",
        )
    if digest and file_digest(image) != digest:
        raise InputError(
            f"{image} is not the image that {folder} is the result of: its digest differs.",
            "Put the image that was segmented there.",
            code="input.data",
        )
    return CaseFiles(name, image, folder / RESULT, None, looked_for)


def _from_csv(path: Path) -> list[CaseFiles]:
    try:
        header, rows = read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}.", "Correct it.", code="input.data") from error
    header = [name.strip().lower() for name in header]
    if "image" not in header or "label" not in header:
        raise InputError(f"{path} has no columns image and label.", "Name them in its first line.", code="input.data")
    names, cases = _names(path.parent), list[CaseFiles]()
    for number, row in enumerate((r for r in rows if any(cell.strip() for cell in r)), start=2):
        cells = dict(zip(header, map(str.strip, row), strict=False))
        image = path.parent / cells.get("image", "")
        label = path.parent / (cells.get("label") or (cells["image"] if image.suffix.lower() == SCENE else ""))
        missing = next((f for f in (image, label) if not f.is_file()), None)
        if missing is not None:
            raise InputError(
                f"Line {number} of {path}: there is no file {missing}.",
                f"Paths are relative to {path.parent}.",
                code="input.data",
            )
        asked = frozenset(filter(None, re.split(r"[;,|\s]+", cells.get("looked_for", ""))))
        own = _stem(image) if all(_stem(image) != case.name for case in cases) else f"line_{number}"
        case = CaseFiles(own, image, label, names, asked or None)
        cases.append(replace(case, names=None) if case.is_scene else case)
    return cases
