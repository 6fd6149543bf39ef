"""What a model is, where it comes from and what it may be used for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..errors import ModelError

CARD_FILE = "card.json"


@dataclass
class ModelCard:
    """Description of a model; ``card.json`` in its folder.

    Attributes:
        id: short name used on the command line, e.g. ``"ct_demo"``.
        title: in plain words.
        version: of the weights.
        modality: ``"CT"``, ``"MR"`` or None when unknown.
        backend: ``"nnunet"``, ``"monai"`` or ``"torchscript"``.
        structures: names, in label order (value 1 first).
        orientation: where I, J, K of its input point, e.g. ``"RAS"``; None leaves it to the backend.
        spacing: mm along I, J, K; None when the backend's files say it.
        separate_z: whether the coarsest axis is resampled on its own; None leaves it to the backend.
        licence, citation, description, intended_use: as text.
        provenance: free facts about the training.
        dice: measured agreement, by data set and structure.
        size_bytes: on disk.
        digests: SHA-256 by file, ``"sha256:…"``.
        folder: where the files lie; not part of the JSON.
    """

    id: str
    title: str
    version: str = "1"
    modality: str | None = "CT"
    backend: str = "nnunet"
    structures: list[str] = field(default_factory=list)
    orientation: str | None = None
    spacing: list[float] | None = None
    separate_z: bool | None = None
    licence: str = "unknown"
    citation: str = ""
    description: str = ""
    intended_use: str = "Research use only."
    provenance: dict = field(default_factory=dict)
    dice: dict = field(default_factory=dict)
    size_bytes: int | None = None
    digests: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """The card in a model's folder.

        Raises:
            ModelError: there is none, or it is broken.
        """
        path = Path(folder) / CARD_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            known = {f.name for f in fields(cls)} - {"folder"}
            return cls(**{k: v for k, v in data.items() if k in known}, folder=Path(folder))
        except FileNotFoundError:
            raise ModelError(
                f"The model folder {folder} has no {CARD_FILE}.", "Import the model again.", code="model.card"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"The model card {path} cannot be read: {error}.",
                "Install the model again.",
                code="model.card",
            ) from error

    def to_json(self) -> dict:
        """The card as plain JSON values."""
        data = asdict(self)
        del data["folder"]
        return data
