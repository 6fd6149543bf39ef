"""Model folders of nnInteractive (Isensee et al., 2025); :mod:`DeepSegLogic.refine.nninteractive` runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..errors import ModelError
from .card import PROMPTED, ModelCard

MARKS = ("inference_info.json", "inference_session_class.json")  # files that only its model folders have
_COPIED = (*MARKS, "plans.json", "dataset.json", "LICENSE", "fold_*/*.pth")
_CLASSES = "dynamic_network_architectures.architectures."


def is_folder(folder: Path) -> bool:
    """Whether this is the folder of an nnInteractive model."""
    return any((folder / mark).is_file() for mark in MARKS)


def card_from_folder(folder: Path) -> ModelCard:
    """A card for a model's folder as its publisher gives it; the licence is the first line of its ``LICENSE``."""
    try:
        lines = (folder / "LICENSE").read_text("utf-8").split("\n")
    except (OSError, ValueError):
        lines = []
    licence = next((line.strip() for line in lines if line.strip()), "")
    return ModelCard(
        id=folder.name,
        title=folder.name,
        modality=None,
        backend=PROMPTED,
        structures=["foreground"],
        licence=licence or "unknown (that of the weights published in 2025 is CC BY-NC-SA 4.0)",
        citation="Isensee et al., nnInteractive, 2025",
        description="Corrects any structure where prompts say so. Needs the Python package nninteractive.",
        folder=folder,
    )


def place(folder: Path, target: Path) -> None:
    """Copy what a model needs, and nothing else that may lie in its folder.

    Raises:
        ModelError: see :func:`check`.
    """
    check(folder)
    for file in (file for pattern in _COPIED for file in folder.glob(pattern)):
        copy = target / file.relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy2(file, copy)


def check(folder: Path) -> None:
    """nnInteractive unpickles the weights and calls what the plans name: look first that this is no foreign code.

    Raises:
        ModelError: the folder is incomplete, broken, or would run code of its own.
    """
    from .weights import read_checkpoint

    weights = list(folder.glob("fold_*/*.pth"))
    if not weights:
        raise broken(folder, "it has no weights")
    for file in weights:
        read_checkpoint(file)
    try:
        plans = json.loads((folder / "plans.json").read_text("utf-8"))
        for configuration in plans["configurations"].values():
            architecture = configuration.get("architecture", {})
            arguments = architecture.get("arch_kwargs", {})
            imported = [arguments.get(name) for name in architecture.get("_kw_requires_import", [])]
            foreign = [name for name in imported if name and not name.startswith("torch.nn.modules.")]
            if foreign or not architecture.get("network_class_name", _CLASSES).startswith(_CLASSES):
                raise ModelError(
                    f"{folder / 'plans.json'} names code that is no network; nothing was run.",
                    "Get the model from its publisher, and do not use this folder.",
                    code="model.untrusted",
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(folder, str(error)) from error


def broken(folder: Path, why: str) -> ModelError:
    """What to say of a folder that cannot be used; ``why`` may have several lines, of which the last one tells."""
    reason = (why.strip().splitlines() or ["unreadable"])[-1]
    return ModelError(
        f"The nnInteractive model {folder} cannot be used ({reason}).",
        "Get it again from its publisher.",
        code="model.corrupted",
    )
