"""From what the user names to a model on this machine."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from ..errors import DeepSegError, ModelError
from ..resources import resource_path
from . import nninteractive
from .card import CARD_FILE, ModelCard
from .catalogue import in_catalogue
from .store import Store


def bundled_models() -> list[ModelCard]:
    """The models that come with DeepSeg."""
    try:
        root = resource_path("Models")
    except DeepSegError:
        return []
    return [ModelCard.read(card.parent) for card in sorted(root.glob(f"*/{CARD_FILE}"))]


def models_here() -> dict[str, ModelCard]:
    """The bundled and the installed models by id."""
    return {card.id: card for card in (*bundled_models(), *Store().installed())}


def coarser_model(card: ModelCard, structures: Iterable[str]) -> ModelCard | None:
    """The model on this machine that knows these structures too, on the next larger voxels; it takes less memory."""
    if card.spacing is None:
        return None
    able = [
        other
        for other in models_here().values()
        if other.spacing is not None
        and math.prod(other.spacing) > math.prod(card.spacing)
        and other.modality == card.modality
        and set(structures) <= set(other.structures)
    ]
    return min(able, key=lambda other: math.prod(other.spacing), default=None)


def find_model(name: str | Path) -> ModelCard:
    """The bundled or installed model of this id, or the one in this folder.

    A folder without a card but with the files of a MONAI bundle, an nnU-Net v2 training or an nnInteractive
    model gets a card made from those.

    Raises:
        ModelError: there is no such model here; for one of the catalogue the remedy says how to get it.
    """
    store = Store()
    for card in bundled_models():
        if card.id == str(name):
            return card
    if card := store.find(str(name)):
        return card
    folder = Path(name).expanduser()
    if folder.is_dir():
        if (folder / CARD_FILE).is_file():
            return ModelCard.read(folder)
        if nninteractive.is_folder(folder):
            return nninteractive.card_from_folder(folder)
        if (folder / "configs" / "metadata.json").is_file():
            from .monai_bundle import card_from_bundle

            return card_from_bundle(folder)
        from .nnunet import card_from_results

        return card_from_results(folder)
    if card := in_catalogue(str(name)):
        raise ModelError(
            f"The model {card.id} ({card.title}) is not on this machine.",
            f"Get it with `deepseg models download {card.id}`. {store.how_to_bring(card)}",
            code="model.not_installed",
        )
    raise ModelError(
        f"There is no model {str(name)!r}: neither an installed model nor a folder.",
        "List the models with `deepseg models list`, or give the path of a model folder.",
        code="model.unknown",
    )
