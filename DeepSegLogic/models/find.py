"""Find a model on this machine by its id or folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from ..util.errors import DeepSegError, ModelError
from ..util.file_names import is_file_name
from ..util.resources import resource_path
from .backends import backends, kind_of
from .card import ModelCard
from .card_files import read_cards
from .catalogue import catalogue, in_catalogue
from .files import CARD_FILE
from .recognise import first_version, is_first_version
from .store import Store
from .totalsegmentator import is_here, results_folder


def models_here() -> dict[str, ModelCard]:
    """The bundled and installed models by id, without those whose card is damaged."""
    return {name: card for name, card in entries_here().items() if isinstance(card, ModelCard)}


def damaged_models() -> dict[str, ModelError]:
    """The errors of the bundled and installed models whose card is damaged, by id."""
    return {name: error for name, error in entries_here().items() if isinstance(error, ModelError)}


def is_bundled(model_id: str) -> bool:
    """Whether a model of this id comes with DeepSeg."""
    try:
        return is_file_name(model_id) and (resource_path("Models") / model_id / CARD_FILE).is_file()
    except DeepSegError:
        return False


def entries_here() -> dict[str, ModelCard | ModelError]:
    """The bundled and installed models by id: the card, or what is wrong with it."""
    bundled = dict(_bundled())
    return bundled | {name: entry for name, entry in Store().entries() if name not in bundled}


def _bundled() -> list[tuple[str, ModelCard | ModelError]]:
    try:
        return read_cards(resource_path("Models"))
    except DeepSegError:
        return []


def coarser_model(card: ModelCard, structures: Iterable[str]) -> ModelCard | None:
    """The model on this machine with the next larger voxels that also marks these structures; it needs less memory."""
    own, wanted = _voxel_mm3(card), set(structures)
    able = [
        other
        for other in models_here().values()
        if _voxel_mm3(other) > own > 0 and other.modality == card.modality and wanted <= set(other.structures)
    ]
    return min(able, key=_voxel_mm3, default=None)


def _voxel_mm3(card: ModelCard) -> float:
    return math.prod(card.spacing) if card.spacing is not None else 0.0


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def find_model(name: str | Path) -> ModelCard:
    """Find a bundled or installed model by its id, or the model in a folder. No code of it runs.

    A folder without a card gets one made from its files, if they are an nnU-Net v2 training, a MONAI bundle or an
    nnInteractive model.

    Args:
        name: id, or path of the model's folder.

    Raises:
        ModelError: there is no such model on this machine (code ``model.unknown``, or ``model.not_installed`` if it can
            be downloaded), the folder is not a model (``model.folder``), or the card is damaged (``model.card``).

    Example:
        >>> from DeepSegLogic import find_model
        >>> find_model("ct_demo").title
        'Torso CT, demonstration'
    """
    store = Store()
    bundled = dict(_bundled()).get(str(name))
    if isinstance(bundled, ModelError):
        raise bundled
    if card := bundled or store.find(str(name)):
        return card
    folder = Path(name).expanduser()
    if _is_folder(folder):
        return _card_of(folder)
    if known := in_catalogue(str(name)):
        raise ModelError(
            f"The model {known.id} ({known.title}) is not on this machine.",
            f"Install it first. {_how_to_get(known, store)}",
            code="model.not_installed",
            action="download_model",
            model=known.id,
        )
    raise ModelError(
        f"There is no model {str(name)!r}: it is neither an installed model nor a folder.",
        _nearest(str(name)) or "Choose an installed model or the folder of one.",
        code="model.unknown",
        action="choose_model",
    )


def _nearest(name: str) -> str:
    """A question with the most similar ids; empty if there are none."""
    from difflib import get_close_matches

    known = {*models_here(), *(card.id for card in catalogue())}
    near = get_close_matches(name.strip().lower(), sorted(known), n=3)
    return f"Did you mean {', '.join(near)}?" if near else ""


def chain(card: ModelCard, find: Callable[[str], ModelCard | None] | None = None) -> list[ModelCard]:
    """A model, those that it needs (:attr:`~DeepSegLogic.models.card.ModelCard.needs`), and those that these need.

    Args:
        find: the card of an id, or None; by default that of the model here, else that of the catalogue.

    Raises:
        ModelError: there is no such model, or the models need each other in a circle.
    """
    find = find or _here_or_catalogued
    links = {card.id: card}

    def follow(user: ModelCard, path: tuple[str, ...]) -> None:
        for needed in user.needs:
            link = find(needed)
            if link is None or needed in path:
                why = "which is unknown" if link is None else "which needs it in turn"
                raise ModelError(
                    f"The model {user.id} needs the model {needed}, {why}.",
                    f"Import {needed}, or correct the card of {user.id}.",
                    code="model.needs",
                    action="import_model",
                )
            links.setdefault(needed, link)
            follow(link, (*path, needed))

    follow(card, (card.id,))
    return list(links.values())


def missing_models(card: ModelCard, find: Callable[[str], ModelCard | None] | None = None) -> list[ModelCard]:
    """The models that must be downloaded before a model can run: itself, and those of its :func:`chain`.

    Raises:
        ModelError: as :func:`chain`.
    """
    return [link for link in chain(card, find) if link.folder is None]


def check_helpers(card: ModelCard) -> None:
    """Check that the models which a model needs are on this machine.

    Raises:
        ModelError: one is not (``model.not_installed``), or as :func:`chain`.
    """
    for helper in chain(card)[1:]:
        if helper.folder is None:
            raise ModelError(
                f"The model {card.id} needs the model {helper.id} ({helper.title}), which is not on this machine.",
                f"Install {helper.id} first. {_how_to_get(helper, Store())}",
                code="model.not_installed",
                action="download_model",
                model=helper.id,
            )


def _here_or_catalogued(model_id: str) -> ModelCard | None:
    return models_here().get(model_id) or in_catalogue(model_id)


def _how_to_get(card: ModelCard, store: Store) -> str:
    if is_here(card):
        return f"TotalSegmentator has it in {results_folder()}: it is copied from there, and nothing is downloaded."
    return store.how_to_bring(card)


def _card_of(folder: Path) -> ModelCard:
    if (folder / CARD_FILE).is_file():
        return ModelCard.read(folder)
    kind = kind_of(folder)
    if kind is None and is_first_version(folder):
        raise first_version(folder)
    if kind is None:
        raise ModelError(
            f"{folder} is not a model folder: it has neither {CARD_FILE} nor the files of a known kind of model.",
            "Choose the folder that has the model's files, e.g. plans.json, dataset.json and fold_… of nnU-Net v2.",
            code="model.folder",
        )
    return backends()[kind].make_card(folder)
