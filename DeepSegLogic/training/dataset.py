"""The cases of a data set on disk, in any of five layouts; no voxel is read here.

- nnU-Net's raw layout: ``dataset.json``, ``imagesTr/NAME_0000.nii.gz`` (and ``_0001`` … of further channels),
  ``labelsTr/NAME.nii.gz``
- results folders of ``deepseg segment``, each with the CT that was segmented
- image and label files: ``NAME.nii.gz`` with ``NAME_seg.nii.gz`` or ``NAME.seg.nrrd``, a folder per case, or the
  folders ``images`` and ``labels``; a ``dataset.json`` there names the labels
- scenes of 3D Slicer (``.mrb``), each with an image and its segmentation; also among results or image files
- a table ``cases.csv`` with the columns ``image``, ``label`` and, if need be, ``looked_for`` (names, separated by
  ``;``) and ``patient``

In a folder, ``patients.csv`` with the columns ``case`` and ``patient`` says which cases are of one patient.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..io.patients import patient_key
from ..io.read import SUFFIXES
from ..io.result_files import PROVENANCE, label_map_in
from ..io.slicer_scene import SUFFIX as SCENE
from ..models.files import read_json
from ..models.provenance import identity
from ..util.errors import InputError
from ..util.tables import read_table
from ..util.words import counted
from .dataset_json import channel_names, label_names
from .regions import Regions

PATIENTS = "patients.csv"
"""Table in a folder of cases that says whose they are."""

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
        further: files of the further images (channels), at the same place as the first one.
        regions: the structures, if they overlap.
        model: those of the model to begin with, if they overlap: the labels may be a result of it.
        patient: key of the patient (:func:`~DeepSegLogic.io.patients.patient_key`) that a table states; else empty.
    """

    name: str
    image: Path
    labels: Path
    names: Mapping[int, str] | None = None
    looked_for: frozenset[str] | None = None
    further: tuple[Path, ...] = ()
    regions: Regions | None = None
    model: Regions | None = None
    patient: str = ""

    @property
    def is_scene(self) -> bool:
        """Whether image and labels are in a scene of 3D Slicer."""
        return self.labels.suffix.lower() == SCENE and self.labels == self.image


def find_cases(data: Path, patients: bool = True) -> list[CaseFiles]:
    """The cases of a data set, sorted by name.

    Args:
        data: a folder, a CSV, or a scene.
        patients: whether ``patients.csv`` counts.

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
        results = sorted(p.parent for p in data.rglob(PROVENANCE) if label_map_in(p.parent) is not None)
        cases = [_result(data, folder) for folder in results] if results else _pairs(data)
        cases += [_scene(data, p) for p in data.rglob("[!.]*") if p.suffix.lower() == SCENE and p.is_file()]
    if not cases:
        raise InputError(f"{data} has no cases: no image with labels.", _HOW, code="input.data")
    if len(named := channel_names(data)) > 1 and any(len(case.further) != len(named) - 1 for case in cases):
        raise InputError(
            f"{data} has {len(named)} channels ({', '.join(named)}), but is not in nnU-Net's raw layout.",
            "Put the images into imagesTr as NAME_0000, NAME_0001, …, and the labels into labelsTr as NAME.",
            code="input.data",
        )
    keys = patients_in(data, {case.name for case in cases}) if patients else {}
    return sorted((replace(case, patient=keys.get(case.name, case.patient)) for case in cases), key=lambda c: c.name)


def find_images(folder: Path) -> list[Path]:
    """All images below a folder, without what is named as labels.

    Raises:
        InputError: there are none, or no such folder.
    """
    if not folder.is_dir():
        what = f"{folder} is a file, not a folder." if folder.exists() else f"There is no folder {folder}."
        raise InputError(what, "Give a folder with NIfTI or NRRD files.", code="input.data")
    places = [folder, *sorted(p for p in folder.rglob("*") if p.is_dir() and p.name[0] != ".")]
    found = [
        path
        for place in places
        if place.is_dir() and (place == folder or not _LABEL_FOLDER.fullmatch(place.name))
        for path in _images(place)
        if not _LABEL_WORD.search(_stem(path)) and not path.name.lower().endswith(".seg.nrrd")
    ]
    if not found:
        raise InputError(f"{folder} has no images.", "Give a folder with NIfTI or NRRD files.", code="input.data")
    return found


def modality_of(data: Path) -> str | None:
    """What ``dataset.json`` says of the first image of each case, such as ``"CT"``; None without one.

    Raises:
        InputError: the file cannot be used.
    """
    names = channel_names(data)
    return (names[0].upper() or None) if names else None


def _stem(path: Path) -> str:
    name = path.name
    suffix = next((s for s in (".seg.nrrd", SCENE, *SUFFIXES) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name.lower().endswith(SUFFIXES))


def _nnunet(folder: Path) -> list[CaseFiles]:
    names, regions = label_names(folder)
    if names is None or not (folder / "labelsTr").is_dir():
        lacking = "dataset.json" if names is None else "labelsTr"
        raise InputError(f"{folder} has imagesTr, but no {lacking}.", _HOW, code="input.data")
    count = max(1, len(channel_names(folder)))
    images: dict[str, dict[int, Path]] = {}
    for path in _images(folder / "imagesTr"):
        name, number = _numbered(_stem(path))
        images.setdefault(name, {})[number] = path
    for name, own in images.items():
        if sorted(own) != list(range(count)):
            raise InputError(
                f"The case {name} in {folder} has the images {', '.join(f'{n:04d}' for n in sorted(own))}, but "
                f"dataset.json names {counted(count, 'channel')}.",
                f"Put {', '.join(f'{name}_{n:04d}' for n in range(count))} into imagesTr.",
                code="input.data",
            )
    labels = {_stem(p): p for p in _images(folder / "labelsTr")}
    cases = []
    for name, own, path in _matched(folder, images, labels):
        first, *further = (own[number] for number in range(count))
        cases.append(CaseFiles(name, first, path, names, further=tuple(further), regions=regions))
    return cases


def _numbered(stem: str) -> tuple[str, int]:
    """A case and the number of its image."""
    found = re.fullmatch(r"(.+)_(\d{4})", stem)
    return (found[1], int(found[2])) if found else (stem, 0)


def _matched(folder: Path, images: dict[str, _T], labels: dict[str, Path]) -> list[tuple[str, _T, Path]]:
    for kind, lacking in (("labels", images.keys() - labels.keys()), ("an image", labels.keys() - images.keys())):
        if lacking:
            few = ", ".join(sorted(lacking)[:5]) + (", …" if len(lacking) > 5 else "")
            raise InputError(
                f"{counted(len(lacking), 'case')} in {folder} without {kind}: {few}.",
                f"Add {kind} of the same name, or remove the file without it.",
                code="input.data",
            )
    return [(name, image, labels[name]) for name, image in images.items()]


def _pairs(folder: Path) -> list[CaseFiles]:
    """Files that differ in a word for labels: beside each other, in a folder per case, or in two folders."""
    (names, regions), images, labels = label_names(folder), dict[str, Path](), dict[str, Path]()
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
    matched = _matched(folder, images, labels)
    return [CaseFiles(name, image, label, names, regions=regions) for name, image, label in matched]


def _scene(data: Path, path: Path) -> CaseFiles:
    return CaseFiles(path.relative_to(data).with_suffix("").as_posix(), path, path)


def _result(data: Path, folder: Path) -> CaseFiles:
    """A result, perhaps corrected by hand. Its provenance names the CT, and what was looked for."""
    try:
        facts = read_json(folder / PROVENANCE)
        source, digest = str(facts["input"]["name"]), facts["input"].get("digest")
        looked_for = frozenset(map(str, facts["settings"]["structures"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / PROVENANCE} does not say what was segmented.", "Use a CSV instead.", code="input.data"
        ) from error
    name = folder.relative_to(data).as_posix() if folder != data else folder.resolve().name
    labels = label_map_in(folder)
    assert labels is not None  # else it is no result
    places = [place / Path(source).name for place in (folder, folder.parent, data)]
    image = next((p for p in places if p.exists()), None)
    if image is None:
        raise InputError(
            f"The image {source} of the result {folder} is not there.",
            f"Put it into {folder} or {folder.parent}, or use a CSV with the columns image and label.",
            code="input.image",
        )
    if digest and identity(image)["digest"] != digest:
        raise InputError(
            f"{image} is not the image that {folder} is the result of: its digest differs.",
            "Put the image that was segmented there.",
            code="input.data",
        )
    return CaseFiles(name, image, labels, None, looked_for)


def _rows(path: Path, *columns: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of a table that has these columns, with their numbers in the file; empty ones are left out."""
    try:
        header, rows = read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table: {error}.", "Correct it.", code="input.data") from error
    header = [name.strip().lower() for name in header]
    if not {*columns} <= {*header}:
        raise InputError(
            f"{path} has no columns {' and '.join(columns)}.", "Name them in its first line.", code="input.data"
        )
    for number, row in enumerate(rows, start=2):
        if any(cell.strip() for cell in row):
            yield number, dict(zip(header, map(str.strip, row), strict=False))


def patients_in(folder: Path, known: Collection[str] | None = None) -> dict[str, str]:
    """Name of a case → key of its patient, as far as ``patients.csv`` in a folder tells them.

    Args:
        known: the cases that it may name; None for any.

    Raises:
        InputError: the table names another case, or two patients of one, or cannot be read.
    """
    table, keys = folder / PATIENTS, dict[str, str]()
    for number, cells in _rows(table, "case", "patient") if table.is_file() else ():
        name, key = cells["case"], patient_key(cells.get("patient", ""))
        if known is not None and name not in known:
            raise InputError(
                f"Line {number} of {table}: there is no case {name!r}.",
                f"Name cases as here: {', '.join(sorted(known)[:3])}.",
                code="input.data",
            )
        if keys.setdefault(name, key) != key:
            raise InputError(f"{table} gives the case {name} two patients.", "Keep one of them.", code="input.data")
    return keys


def _from_csv(path: Path) -> list[CaseFiles]:
    (names, regions), cases = label_names(path.parent), list[CaseFiles]()
    for number, cells in _rows(path, "image", "label"):
        image = path.parent / cells.get("image", "")
        label = path.parent / (cells.get("label") or (cells["image"] if image.suffix.lower() == SCENE else ""))
        missing = next((f for f in (image, label) if not f.is_file()), None)
        if missing is not None:
            raise InputError(
                f"Line {number} of {path}: there is no file {missing}.",
                f"Paths are relative to {path.parent}.",
                code="input.data",
            )
        asked = _asked(cells.get("looked_for", ""), names)
        own = _stem(image) if all(_stem(image) != case.name for case in cases) else f"line_{number}"
        patient = patient_key(cells.get("patient", ""))
        case = CaseFiles(own, image, label, names, asked or None, regions=regions, patient=patient)
        cases.append(replace(case, names=None, regions=None) if case.is_scene else case)
    return cases


def _asked(text: str, names: Mapping[int, str] | None) -> frozenset[str]:
    """The structures in ``"left lung; liver"``. Spaces separate where nothing else does, unless the text is a name."""
    parts = re.split(r"[;,|]", text)
    if len(parts) == 1 and text not in (names or {}).values():
        parts = text.split()
    return frozenset(filter(None, map(str.strip, parts)))
