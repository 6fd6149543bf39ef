"""Find a model in a folder tree, and put its files where the backends expect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..util.atomic_write import cannot_write
from ..util.errors import ModelError, told_as
from ..util.words import counted
from .backends import backend_for, backends
from .card import ModelCard, Part
from .files import CARD_FILE, copy_files

DEEPSEG = "deepseg"  # a model with its card, as DeepSeg exports it
_DEFAULT = "__nnUNetPlans__"  # in the name of a training's folder: the plans that nnU-Net uses unless told otherwise


def recognise(folder: Path, published: bool = False) -> tuple[str, Path]:
    """The model in ``folder``, perhaps some levels down: ``"deepseg"`` or the name of a backend, and its folder.

    Args:
        published: whether the folder is what the catalogue knows. Then, of several trainings, that with nnU-Net's
            default plans is the model: TotalSegmentator's version 3 also has smaller networks in its files.

    Raises:
        ModelError: there is no known model, or more than one.
    """
    for kind in (DEEPSEG, *backends()):
        found = {file.parent for file in folder.rglob(CARD_FILE)} if kind == DEEPSEG else backends()[kind].find(folder)
        roots = sorted(set(found), key=lambda root: len(root.parts))
        # What lies inside a model is part of it.
        roots = [root for root in roots if not any(other in root.parents for other in roots)]
        if published and len(roots) > 1:
            roots = [root for root in roots if _DEFAULT in root.name] or roots
        if len(roots) == 1:
            return kind, roots[0]
        if roots:
            names = ", ".join(root.relative_to(folder).as_posix() for root in roots)
            raise ModelError(
                f"{folder} contains more than one model: {names}.", "Import them one by one.", code="model.import"
            )
    if is_first_version(folder):
        raise first_version(folder)
    raise ModelError(
        f"{folder} contains no model that DeepSeg knows.",
        "Choose an nnU-Net v2 results folder (plans.json, dataset.json, fold_…), a MONAI bundle "
        "(configs/metadata.json), an nnInteractive model, or an export of DeepSeg.",
        code="model.import",
    )


def is_first_version(folder: Path) -> bool:
    """Whether a folder tree has a training of nnU-Net v1."""
    return any(folder.rglob("plans.pkl"))


def first_version(folder: Path) -> ModelError:
    """The error for a training of nnU-Net v1."""
    return ModelError(
        f"{folder} is a training of nnU-Net v1 (plans.pkl), which DeepSeg does not read.",
        "Use a model that was trained with nnU-Net v2 (plans.json), or train it again with that.",
        code="model.unsupported",
    )


def place(card: ModelCard, part: Part, source: Path, model_folder: Path) -> None:
    """Find a network in ``source`` and copy the files that it needs to its folder in the model's.

    Raises:
        ModelError: files are missing, links, or not of the card's kind; they cannot be used; or the network marks
            another number of structures than the card says.
        OutputError: a file cannot be copied.
    """
    kind, root = recognise(source, published=bool(part.url))
    if kind != card.backend:
        raise ModelError(
            f"{source} contains a model of the kind {kind}, but {card.id} is of the kind {card.backend}.",
            "Choose the correct file.",
            code="model.import",
        )
    backend, target = backends()[kind], model_folder / part.name
    copy(backend.used_files(root), target)
    with told_as(target, root):
        marked, expected = (
            backend.check(replace(card, folder=target)),
            len(part.structures or card.structures) + part.auxiliary,
        )
    if marked is not None and marked != expected:
        raise ModelError(
            f"The network in {source} marks {counted(marked, 'structure')}, but {card.id} should have {expected} "
            "there.",
            "Get the file again from its publisher.",
            code="model.import",
        )


def copy(files: Mapping[str, Path], target: Path) -> None:
    """Copy a model's files to a folder that has none of them; the folder is made if need be.

    Raises:
        OutputError: a file cannot be read or written.
    """
    try:
        target.mkdir(exist_ok=True)
        copy_files(files, target)
    except OSError as error:
        raise cannot_write(target, error) from error


def files_of(card: ModelCard) -> dict[str, Path]:
    """The files that a model needs, by path in its folder.

    Raises:
        ModelError: files are missing, or one is a link or a device.
    """
    files: dict[str, Path] = {}
    for folder in card.network_folders:
        used = backend_for(card, folder).used_files(folder)
        inside = folder.relative_to(card.installed_folder)
        files |= {(inside / name).as_posix(): file for name, file in used.items()}
    return files
