"""Where the first stage of an nnU-Net cascade lies: a training of its own, whose labels the second stage sees.

nnU-Net leaves the trainings beside one another, e.g. ``nnUNetTrainer__nnUNetPlans__3d_lowres`` and
``nnUNetTrainer__nnUNetPlans__3d_cascade_fullres``. In a model's folder DeepSeg keeps the first stage inside the second,
as ``3d_lowres``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..util.errors import ModelError
from ..util.file_names import is_file_name
from .files import check_regular, read_json


def stage_of(folder: Path) -> str:
    """Name of the first stage's configuration, if a folder has the second stage of a cascade; else empty.

    No weights are read: the first stage lies in the folder, or the folder's name ends with the configuration.
    """
    try:
        configurations: dict[str, Any] = read_json(folder / "plans.json")["configurations"]
        stages = {name: str(entry.get("previous_stage") or "") for name, entry in configurations.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""  # loading it says what is wrong
    for name, stage in stages.items():
        if is_file_name(stage) and (folder.name.endswith(f"__{name}") or (folder / stage / "plans.json").is_file()):
            return stage
    return ""


def stage_folder(folder: Path, stage: str) -> Path:
    """The folder of the first stage, inside that of the second or beside it.

    Raises:
        ModelError: it is not there, or is a link.
    """
    trainer, _, own = folder.name.rpartition("__")
    places = []
    if is_file_name(stage):
        places.append(folder / stage)
        if trainer and own != stage:
            places.append(folder.with_name(f"{trainer}__{stage}"))
    for place in places:
        if (place / "plans.json").is_file():
            check_regular(place.parent, place)
            return place
    raise ModelError(
        f"{folder} is the second stage of a cascade, and its first stage ({stage[:100]}) is missing.",
        "Import the results folder that has the trainings of both stages.",
        code="model.missing",
    )
