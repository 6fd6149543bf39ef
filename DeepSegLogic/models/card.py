"""A model's card: what the model is, where it comes from and what it may be used for."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..util.errors import ModelError, UsageError
from ..util.file_names import is_file_name
from ..util.json_schema import faults
from ..util.resources import resource_path
from .backends import backends, kind_of
from .crop import Crop
from .files import CARD_FILE, check_regular, read_json
from .postprocess import Postprocess

DEMO_MODEL = "ct_demo"  # comes with DeepSeg
_RESERVED = {"downloads", "import", "known"}  # folders and locks of the store itself


@dataclass(frozen=True)
class Part:
    """One network of a model and where its weights come from.

    Attributes:
        name: folder in the model's folder; ``""`` if the model has a single network.
        structures: names in the network's label order, value 1 first; empty means those of the model.
        url: of the zip file; empty for a model that is not downloaded.
        digest: ``"sha256:…"`` or ``"sha1:…"`` of the zip file; None if unknown.
        size_bytes: approximate size of the zip file; None if unknown.
        auxiliary: number of labels after the structures that the network has, but that are not reported.
    """

    name: str = ""
    structures: tuple[str, ...] = ()
    url: str = ""
    digest: str | None = None
    size_bytes: int | None = None
    auxiliary: int = 0


@dataclass
class ModelCard:
    """Description of a model; ``card.json`` in its folder.

    Attributes:
        id: short name that is also the name of its folder, e.g. ``"ct_demo"``.
        title: in plain words.
        version: of the weights.
        modality: ``"CT"``, ``"MR"`` or None if unknown.
        backend: name of a backend (:mod:`DeepSegLogic.models.backends`), e.g. ``"nnunet"``. If the model has a folder,
            its files decide, see :func:`~DeepSegLogic.models.backends.kind_of`.
        task: ``"segmentation"``, or ``"detection"`` for a model that finds lesions as boxes, see
            :mod:`DeepSegLogic.detection`.
        structures: names in label order, value 1 first; of a detector the kinds of lesions.
        channels: names of the images that its networks see together, e.g. ``["CT", "PET"]``; empty for one image.
        orientation: directions of the input's I, J, K axes, e.g. ``"RAS"``; None leaves it to the backend.
        spacing: mm along I, J, K; None if only the model's own files say it.
        separate_z: whether the coarsest axis is resampled separately; None leaves it to the backend.
        licence, citation, description, intended_use: as text.
        provenance: facts about the training, in any form.
        dice: measured Dice coefficients by data set and structure.
        size_bytes: on disk; None if unknown.
        digests: SHA-256 (``"sha256:…"``) by file.
        source: web page of the publisher.
        memory_gb: approximate working memory of a run in GB; None if unknown.
        notes: what a user should know before relying on it, one sentence each.
        crop: the region that it was trained on and sees; None for the whole volume.
        postprocess: what is done with the labels; None for nothing.
        min_piece_ml: by structure, the volume up to which a connected piece is taken for a mistake and removed.
        one_piece: structures of which only the largest connected piece is kept.
        temperature: by which its logits are divided before they become probabilities, fitted on cases that it was not
            trained on (:mod:`DeepSegLogic.evaluation.temperature`); it changes no labels. Where structures overlap,
            each output may have its own.
        training_statistics: of the images that it was trained on, see :mod:`DeepSegLogic.inference.familiarity`; empty
            if unknown.
        parts: its networks; several run one after the other and their labels are joined.
        network: facts that single network files need, see :mod:`DeepSegLogic.models.backends.torchscript`.
        folder: of its files; None if it is not on this machine. Not part of the JSON.

    Example:
        >>> from DeepSegLogic import ModelCard
        >>> card = ModelCard.from_json({"id": "lab_liver", "title": "Liver", "structures": ["liver"]})
        >>> card.modality, card.licence, card.folder
        ('CT', 'unknown', None)
    """

    id: str
    title: str
    version: str = "1"
    modality: str | None = "CT"
    backend: str = "nnunet"
    task: str = "segmentation"
    structures: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    orientation: str | None = None
    spacing: list[float] | None = None
    separate_z: bool | None = None
    licence: str = "unknown"
    citation: str = ""
    description: str = ""
    intended_use: str = "Research use only."
    provenance: dict[str, Any] = field(default_factory=dict)
    dice: dict[str, Any] = field(default_factory=dict)
    size_bytes: int | None = None
    digests: dict[str, str] = field(default_factory=dict)
    source: str = ""
    memory_gb: float | None = None
    notes: list[str] = field(default_factory=list)
    crop: Crop | None = None
    postprocess: Postprocess | None = None
    min_piece_ml: dict[str, float] = field(default_factory=dict)
    one_piece: list[str] = field(default_factory=list)
    temperature: float | list[float] = 1.0
    training_statistics: dict[str, Any] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """Read the card in a model's folder.

        Raises:
            ModelError: there is none, or it cannot be used.
        """
        folder = Path(folder)
        path = folder / CARD_FILE
        try:
            card = cls.from_json(read_json(path), folder)
        except FileNotFoundError:
            raise ModelError(
                f"The model folder {folder} has no {CARD_FILE}.",
                "Import the model again.",
                code="model.card",
                action="import_model",
            ) from None
        except (OSError, ValueError) as error:
            raise ModelError(
                f"The model card {path} cannot be used: {error}.",
                "Correct it, or remove the model and install it again.",
                code="model.card",
            ) from error
        kinds = {kind for place in card.network_folders if (kind := kind_of(place)) is not None}
        return replace(card, backend=kinds.pop()) if len(kinds) == 1 else card

    @classmethod
    def from_json(cls, data: Any, folder: Path | None = None) -> ModelCard:
        """Make a card from plain JSON values; unknown names are ignored.

        Raises:
            ValueError: a value does not fit ``Resources/Schemas/model_card.schema.json``; the message says which.
        """
        _validate(data)
        return cls.of_valid(data, folder)

    @classmethod
    def of_valid(cls, data: dict[str, Any], folder: Path | None = None) -> ModelCard:
        """The same for values that are known to fit, as those of the catalogue: checking them takes longer."""
        known = {f.name for f in fields(cls)} - {"folder", "parts", "crop", "postprocess"}
        of_part = {f.name for f in fields(Part)}
        parts = [
            Part(**{k: v for k, v in p.items() if k in of_part} | {"structures": tuple(p.get("structures", ()))})
            for p in data.get("parts", ())
        ]
        values = {k: v for k, v in data.items() if k in known}
        crop, step = Crop.from_json(data.get("crop")), Postprocess.from_json(data.get("postprocess"))
        return cls(**values, crop=crop, postprocess=step, parts=parts, folder=folder)

    @property
    def installed_folder(self) -> Path:
        """The folder of its files.

        Raises:
            ModelError: the model is not on this machine.
        """
        if self.folder is None:
            raise ModelError(
                f"The model {self.id} is not on this machine.",
                "Install it first.",
                code="model.not_installed",
                action="download_model",
                model=self.id,
            )
        return self.folder

    @property
    def network_folders(self) -> list[Path]:
        """The folder of each of its networks; empty for a model that is not on this machine.

        Raises:
            ModelError: a part's name leads out of the model's folder.
        """
        if self.folder is None:
            return []
        return [self.part_folder(part) for part in self.parts] if len(self.parts) > 1 else [self.folder]

    def part_folder(self, part: Part) -> Path:
        """The folder of one of several networks.

        Raises:
            ModelError: its name leads out of the model's folder, or the model is not on this machine.
        """
        if not is_file_name(part.name):
            raise ModelError(
                f"The card of {self.id} has a part {part.name!r}, which cannot be the name of a folder.",
                "Install the model again.",
                code="model.card",
            )
        folder = self.installed_folder / part.name
        check_regular(self.installed_folder, folder)
        return folder

    @property
    def needs(self) -> list[str]:
        """Ids of the models that find its region, and whose labels its postprocessing needs."""
        return [step.model for step in (self.crop, self.postprocess) if step is not None and step.model is not None]

    @property
    def on_request(self) -> list[str]:
        """Names of the structures that are only there if they are asked for by name."""
        return list(self.postprocess.makes) if self.postprocess is not None else []

    @property
    def takes_prompts(self) -> bool:
        """Whether it corrects structures from prompts (:mod:`DeepSegLogic.refinement.prompted_network`) instead of
        segmenting."""
        known = backends().get(self.backend)
        return "guidance" in self.network or (known is not None and known.takes_prompts)

    @property
    def finds_boxes(self) -> bool:
        """Whether it finds lesions as boxes instead of segmenting."""
        return self.task == "detection"

    @property
    def download_bytes(self) -> int | None:
        """Approximate bytes to download; None if unknown."""
        sizes = [p.size_bytes for p in self.parts if p.size_bytes is not None]
        return sum(sizes) if sizes and len(sizes) == len(self.parts) else None

    @property
    def unstated_digests(self) -> str:
        """A sentence for the user if the publisher states no digest of some file to download; empty otherwise."""
        urls = [part.url for part in self.parts if part.url]
        lacking = [part.url for part in self.parts if part.url and not part.digest]
        if not lacking:
            return ""
        files = "the file" if len(urls) == 1 else f"{len(lacking)} of {len(urls)} files"
        return (
            f"Digest of {files}: recorded at the first download, not stated by the publisher; "
            "later downloads must match it."
        )

    def was_trained_on(self, *digests: str | None) -> bool:
        """Whether its provenance names an image, by a digest of the file or of the voxels; False if it names none."""
        told = json.dumps(self.provenance)
        return any(f'"{digest}"' in told for digest in digests if digest)

    def to_json(self) -> dict[str, Any]:
        """The card as plain JSON values."""
        data = asdict(self)
        del data["folder"]
        for listed in (*data["parts"], *filter(None, [data["crop"]])):
            listed["structures"] = list(listed["structures"])
        return data


def check_id(model_id: str) -> None:
    """Raise :class:`UsageError` for what cannot be a model's id, which names its folder and its lock."""
    if not is_file_name(model_id) or model_id.lower() in _RESERVED:
        shown = model_id if len(model_id) <= 100 else f"{model_id[:100]}…"
        raise UsageError(
            f"{shown!r} cannot be the id of a model.",
            "Use up to 100 letters, digits, '_', '-' and '.', beginning with a letter or digit.",
            code="usage.model_id",
        )


def id_from(name: str) -> str:
    """An id made from the name of a file, folder or data set."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "model"


@cache
def _schema() -> Any:
    return read_json(resource_path("Schemas", "model_card.schema.json"))


def _validate(data: Any) -> None:
    """Raise ValueError, with the place, for what cannot be a card."""
    fault = next(faults(data, _schema(), _schema()), None)
    if fault is not None:
        raise ValueError(str(fault))
    if not is_file_name(data["id"]):
        raise ValueError(f"id: {data['id']!r} cannot be the name of a folder")
    numbers = [*(data.get("spacing") or ()), data.get("memory_gb") or 0, (data.get("crop") or {}).get("margin_mm", 0)]
    statistics = data.get("training_statistics", {})
    temperature = data.get("temperature", 1)
    numbers += temperature if isinstance(temperature, list) else [temperature]
    numbers += [statistics.get("limit", 1), *statistics.get("mean", ())]
    numbers += [*statistics.get("sd", ()), *(n for pair in statistics.get("ranges", {}).values() for n in pair)]
    if not all(map(math.isfinite, numbers)):  # Python's JSON reads NaN and Infinity
        raise ValueError("spacing, memory_gb, margin_mm, temperature or a statistic: a number is not finite")
    orientation = (data.get("orientation") or "RAS").upper()
    if sorted(orientation.translate(str.maketrans("LPI", "RAS"))) != ["A", "R", "S"]:
        raise ValueError(f"orientation: {orientation!r} does not name three axes")
    names = [part.get("name", "") for part in data.get("parts", ())]
    if len(names) > 1 and (len({n.lower() for n in names}) < len(names) or not all(map(is_file_name, names))):
        raise ValueError("parts: each needs a different name that can be the name of a folder")
