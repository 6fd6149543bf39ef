"""What a model is, where it comes from and what it may be used for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from ..errors import ModelError

CARD_FILE = "card.json"
DEMO_MODEL = "ct_demo"  # which comes with DeepSeg
PROMPTED = "nninteractive"  # the backend of nnInteractive's models
_KINDS = {  # of values that people write by hand
    **dict.fromkeys(("id", "title", "licence"), str),
    **dict.fromkeys(("structures", "parts", "notes"), list),
    **dict.fromkeys(("network", "digests"), dict),
}


@dataclass(frozen=True)
class Part:
    """One network of a model and where its weights come from.

    Attributes:
        name: folder inside the model's; ``""`` where the model has one network only.
        structures: names in the network's own label order; empty: those of the model.
        url: of the zip file; empty for a model that is not downloaded.
        digest: ``"sha256:…"`` or ``"sha1:…"`` of the zip file, where known.
        size_bytes: of the zip file, about; None when unknown.
    """

    name: str = ""
    structures: tuple[str, ...] = ()
    url: str = ""
    digest: str | None = None
    size_bytes: int | None = None


@dataclass
class ModelCard:
    """Description of a model; ``card.json`` in its folder.

    Attributes:
        id: short name used on the command line, e.g. ``"ct_demo"``.
        title: in plain words.
        version: of the weights.
        modality: ``"CT"``, ``"MR"`` or None when unknown.
        backend: ``"nnunet"``, ``"monai"``, ``"torchscript"`` or ``"nninteractive"``.
        structures: names, in label order (value 1 first).
        orientation: where I, J, K of its input point, e.g. ``"RAS"``; None leaves it to the backend.
        spacing: mm along I, J, K; None when the backend's files say it.
        separate_z: whether the coarsest axis is resampled on its own; None leaves it to the backend.
        licence, citation, description, intended_use: as text.
        provenance: free facts about the training.
        dice: measured agreement, by data set and structure.
        size_bytes: on disk.
        digests: SHA-256 by file, ``"sha256:…"``.
        source: web page of the publisher.
        memory_gb: working memory a run takes, about; None when unknown.
        notes: what a user should know before relying on it, one sentence each.
        parts: its networks; several are run one after the other and their labels joined.
        network: for the ``"torchscript"`` backend, see :mod:`DeepSegLogic.models.torchscript`.
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
    source: str = ""
    memory_gb: float | None = None
    notes: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    network: dict = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """The card in a model's folder.

        Raises:
            ModelError: there is none, or it is broken.
        """
        path = Path(folder) / CARD_FILE
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")), Path(folder))
        except FileNotFoundError:
            raise ModelError(
                f"The model folder {folder} has no {CARD_FILE}.", "Import the model again.", code="model.card"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(
                f"The model card {path} cannot be read: {error}.",
                "Correct it, or remove the model and install it again.",
                code="model.card",
            ) from error

    @classmethod
    def from_json(cls, data: dict, folder: Path | None = None) -> ModelCard:
        """The card of plain JSON values; names it does not know are ignored.

        Raises:
            TypeError, AttributeError: the values are no card.
        """
        wrong = [name for name, kind in _KINDS.items() if not isinstance(data.get(name, kind()), kind)]
        wrong += [name for name, fits in _FITTING.items() if data.get(name) is not None and not fits(data[name])]
        if wrong:
            raise TypeError(f"what it says for {' and '.join(wrong)} is of the wrong kind")
        known = {f.name for f in fields(cls)} - {"folder", "parts"}
        parts = [Part(**{**p, "structures": tuple(p.get("structures", ()))}) for p in data.get("parts", ())]
        return cls(**{k: v for k, v in data.items() if k in known}, parts=parts, folder=folder)

    @property
    def takes_prompts(self) -> bool:
        """Whether it answers prompts, see :mod:`DeepSegLogic.refine.network`, and segments nothing by itself."""
        return "guidance" in self.network or self.backend == PROMPTED

    @property
    def download_bytes(self) -> int | None:
        """Bytes to be fetched, about; None when the catalogue does not know."""
        sizes = [p.size_bytes for p in self.parts]
        return sum(sizes) if sizes and None not in sizes else None

    def to_json(self) -> dict:
        """The card as plain JSON values."""
        data = asdict(self)
        del data["folder"]
        return data


def _is_spacing(value) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(s, int | float) and s > 0 for s in value)


def _is_orientation(value) -> bool:
    return isinstance(value, str) and sorted(value.upper().translate(str.maketrans("LPI", "RAS"))) == ["A", "R", "S"]


_FITTING = {"spacing": _is_spacing, "orientation": _is_orientation}
