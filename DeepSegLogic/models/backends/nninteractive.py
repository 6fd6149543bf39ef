"""Model folders of nnInteractive (Isensee et al., 2025); :mod:`DeepSegLogic.refinement.nninteractive` runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...networks.names import NETWORKS, OPERATIONS
from ...util.errors import ModelError
from ..card import ModelCard
from ..files import check_regular, copy_files, read_json, read_text
from ..model import Model, segments_nothing
from .contract import Backend

_MARKS = ("inference_info.json", "inference_session_class.json")  # files that only its model folders have
_TEXTS = (*_MARKS, "dataset.json", "LICENSE")
_WEIGHTS = "fold_*/*.pth"
_LABEL_MANAGERS = (None, "LabelManager")  # nnU-Net imports any other by its name
_TRAINER = "nnInteractiveTrainer_stub"  # likewise; nnInteractive uses it for trainers that it does not know


class NnInteractive(Backend):
    """Models of nnInteractive. They are run by its own package, which gets only what is checked here."""

    data = _MARKS
    takes_prompts = True

    def find(self, folder: Path) -> list[Path]:
        return [file.parent for mark in _MARKS for file in folder.rglob(mark)]

    def make_card(self, folder: Path) -> ModelCard:
        """A card whose licence is the first line of the folder's ``LICENSE``."""
        try:
            lines = read_text(folder / "LICENSE").split("\n")
        except (OSError, ValueError):
            lines = []
        licence = next((line.strip() for line in lines if line.strip()), "")
        return ModelCard(
            id=folder.name,
            title=folder.name,
            modality=None,
            backend="nninteractive",
            structures=["foreground"],
            licence=licence[:200] or "unknown (that of the weights published in 2025 is CC BY-NC-SA 4.0)",
            citation="Isensee et al., nnInteractive, 2025",
            description="Corrects any structure from prompts. Needs the Python package nninteractive.",
            folder=folder,
        )

    def used_files(self, folder: Path) -> dict[str, Path]:
        weights = sorted(folder.glob(_WEIGHTS))
        if not weights:
            raise broken(folder, "it has no weights")
        files = [*(folder / name for name in (*_TEXTS, "plans.json") if (folder / name).is_file()), *weights]
        check_regular(folder, *files)
        return {file.relative_to(folder).as_posix(): file for file in files}

    def check(self, card: ModelCard) -> int | None:
        """Check that weights are numbers only, and that the plans name only known networks."""
        from ..weights import read_checkpoint

        for file in self.used_files(card.installed_folder).values():
            if file.suffix == ".pth":
                read_checkpoint(file)
        _checked_plans(card.installed_folder)
        return None

    def load(self, card: ModelCard) -> Model:
        raise segments_nothing(card)


BACKEND = NnInteractive()


def write_checked_copy(folder: Path, target: Path) -> None:
    """Write the files that a model needs to an empty folder, so that nnInteractive finds nothing that was not checked
    here: it unpickles the weights and imports what the plans name.

    Raises:
        ModelError: the folder is incomplete or broken, or would run code.
        OSError: the copy cannot be written.
    """
    import torch

    from ..weights import read_checkpoint

    files = BACKEND.used_files(folder)
    copy_files({name: file for name, file in files.items() if name in _TEXTS}, target)
    (target / "plans.json").write_text(json.dumps(_checked_plans(folder)), "utf-8")
    for name, file in files.items():
        if file.suffix == ".pth":
            (target / name).parent.mkdir(exist_ok=True)
            torch.save(read_checkpoint(file) | {"trainer_name": _TRAINER}, target / name)


def _checked_plans(folder: Path) -> dict[str, Any]:
    """The plans, if all classes that they name are on the list of :mod:`DeepSegLogic.networks.names`.

    Raises:
        ModelError: they cannot be used, or name another class.
    """
    try:
        plans: dict[str, Any] = read_json(folder / "plans.json")
        known = plans.get("label_manager") in _LABEL_MANAGERS
        for configuration in plans["configurations"].values():
            if "architecture" in configuration:
                known = known and _is_known(configuration["architecture"])
        if not known:
            raise ModelError(
                f"{folder / 'plans.json'} names code that is no network; nothing was run.",
                "Do not use this folder; get the model from its publisher.",
                code="model.untrusted",
            )
        return plans
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise broken(folder, str(error)) from error


def _is_known(architecture: dict[str, Any]) -> bool:
    arguments = architecture["arch_kwargs"]
    imported = [arguments.get(name) for name in architecture["_kw_requires_import"]]
    return architecture["network_class_name"] in NETWORKS and all(x is None or x in OPERATIONS for x in imported)


def broken(folder: Path, why: str) -> ModelError:
    """The error for a folder that cannot be used; of ``why`` the last line is shown."""
    reason = (why.strip().splitlines() or ["unreadable"])[-1]
    return ModelError(
        f"The nnInteractive model {folder} cannot be used ({reason}).",
        "Get it again from its publisher.",
        code="model.corrupted",
    )
