"""What kind of model a folder holds, and its files put where the backends look for them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ..errors import ModelError
from . import nninteractive
from .card import CARD_FILE, PROMPTED, ModelCard, Part
from .nnunet import CHECKPOINTS, checkpoint_files, load_nnunet

_MARKS = {  # the files of which one tells what a folder is
    "deepseg": (CARD_FILE,),
    PROMPTED: nninteractive.MARKS,
    "nnunet": ("plans.json",),
    "monai": ("configs/metadata.json",),
}


def recognise(folder: Path) -> tuple[str, Path]:
    """What ``folder`` holds, perhaps a few levels down: ``"deepseg"``, ``"nninteractive"``, ``"nnunet"`` or
    ``"monai"``, and where.

    Raises:
        ModelError: nothing known, or more than one model.
    """
    for kind, marks in _MARKS.items():
        found = {file.parents[len(Path(mark).parts) - 1] for mark in marks for file in folder.rglob(mark)}
        roots = sorted(found, key=lambda r: len(r.parts))
        if kind == "nnunet":
            roots = [r for r in roots if (r / "dataset.json").is_file() and any(r.glob("fold_*"))]
        # What lies inside a model is part of it.
        roots = [r for r in roots if not any(other in r.parents for other in roots)]
        if len(roots) == 1:
            return kind, roots[0]
        if roots:
            names = ", ".join(r.relative_to(folder).as_posix() for r in roots)
            raise ModelError(
                f"{folder.name} holds more than one model: {names}.", "Import them one by one.", code="model.import"
            )
    raise ModelError(
        f"{folder.name} holds no model that DeepSeg knows.",
        "Give an nnU-Net v2 results folder (plans.json, dataset.json, fold_…), a MONAI bundle (configs/metadata.json), "
        "an nnInteractive model or what `deepseg models export` wrote.",
        code="model.import",
    )


def place(card: ModelCard, part: Part, source: Path, model_folder: Path) -> None:
    """Find a network in ``source`` and copy what it needs to its place in the model's folder.

    Of an nnU-Net results folder only plan, data set description and weights are taken: a training leaves
    validation images there, which are patients' data.

    Raises:
        ModelError: files are missing, hold code, cannot be used, or mark other structures than the card says.
    """
    kind, root = recognise(source)
    if kind != card.backend:
        raise ModelError(
            f"{source.name} holds a model of the kind {kind}, but {card.id} is of the kind {card.backend}.",
            "Get the right file.",
            code="model.import",
        )
    target = model_folder / part.name
    target.mkdir(exist_ok=True)
    if kind == PROMPTED:
        nninteractive.place(root, target)
        return
    if kind == "monai":
        shutil.copytree(root, target, dirs_exist_ok=True)
        return
    for checkpoint in checkpoint_files(root):
        (target / checkpoint.parent.name).mkdir()
        shutil.copy2(checkpoint, target / checkpoint.parent.name / CHECKPOINTS[0])
    for name in ("plans.json", "dataset.json"):
        shutil.copy2(root / name, target / name)
    marked = len(load_nnunet(replace(card, folder=target)).plan.labels)
    expected = len(part.structures or card.structures)
    if marked != expected:
        raise ModelError(
            f"The network in {source.name} marks {marked} structures, but {card.id} should have {expected} there.",
            "Get the file again from its publisher.",
            code="model.import",
        )
