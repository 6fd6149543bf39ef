"""Download and install models of the catalogue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..util.digests import file_digest
from ..util.disk_space import check_free_space
from ..util.errors import Cancelled, ModelError, told_as
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel, share
from ..util.safe_zip import extract
from .card import ModelCard, Part
from .catalogue import in_catalogue
from .find import find_model, missing_models
from .recognise import place
from .store import Store
from .totalsegmentator import folder_of


def ensure_model(
    name: str | Path,
    confirm: Callable[[ModelCard], bool],
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """Find a model as :func:`~DeepSegLogic.models.find.find_model`, and first download what is missing of it and of the
    models that it needs.

    Args:
        name: id, or path of the model's folder.
        confirm: called with the card (title, licence, size) of each model that must be downloaded; False declines.
        progress: called with stage, fraction from 0 to 1, and a message.
        cancel: asked now and then; True stops the download, which is resumed next time.

    Raises:
        ModelError: there is no such model, or the download fails; the remedy says which file to put where.
        ResourceError: the disk has too little space.
        Cancelled: the user declined or cancelled.

    Example:
        >>> from DeepSegLogic import ensure_model
        >>> ensure_model("ct_demo", confirm=lambda card: False).id  # comes with DeepSeg: no download
        'ct_demo'
    """
    missing = missing_models(here_or_catalogued(name))
    for card in missing:
        if not confirm(card):
            raise Cancelled(f"The model {card.id} was not downloaded.")
    for number, card in enumerate(missing):
        part = share(progress, number / len(missing), (number + 1) / len(missing))
        download_model(card, progress=part, cancel=cancel)
    return find_model(name)


def here_or_catalogued(name: str | Path) -> ModelCard:
    """As :func:`~DeepSegLogic.models.find.find_model`, but for a model that can be downloaded its catalogue card.

    Raises:
        ModelError: there is no such model.
    """
    try:
        return find_model(name)
    except ModelError as error:
        card = in_catalogue(str(name))
        if card is None or error.code != "model.not_installed":
            raise
        return card


def download_model(
    card: ModelCard,
    store: Store | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """Download, check and install a model of the catalogue. A partial download is resumed.

    Archives that the user put into the store's ``downloads`` folder are used, and so is what TotalSegmentator has
    downloaded (:mod:`~DeepSegLogic.models.totalsegmentator`). If the publisher states no digest, the
    SHA-256 of the first download is recorded, and later downloads must match it.

    Raises:
        ModelError, ResourceError, Cancelled: as :func:`~DeepSegLogic.models.download.download`.
    """
    store = store or Store()
    archives = sorted({store.archive_path(part).name for part in card.parts})  # two models may share one
    with ExitStack() as locks:
        for name in (card.id, *archives):
            locks.enter_context(store.lock(name, progress, cancel))
        if installed := store.find(card.id):
            return installed  # by another program meanwhile
        store.downloads.mkdir(parents=True, exist_ok=True)
        archived = [p for p in card.parts if store.archive_path(p).exists() or folder_of(p) is None]
        missing = [p for p in archived if not store.archive_path(p).exists()]
        # Space for the archives and for their content.
        check_free_space(store.downloads, 2 * sum(p.size_bytes or 0 for p in missing))
        for number, part in enumerate(archived):
            count = len(archived)
            _bring(card, part, store, share(progress, number / count, (number + 1) / count), cancel)
        with store.staging(card.id) as staged:
            for part in card.parts:
                _unpack(card, part, staged, store, progress, cancel)
            check(cancel)
            installed = store.install(card, staged)
        for part in card.parts:
            store.archive_path(part).unlink(missing_ok=True)
        return installed


def _bring(card: ModelCard, part: Part, store: Store, progress: Progress, cancel: Cancel) -> None:
    """Download a part's archive if it is missing, and check its digest."""
    from .download import LIMIT_BYTES, download

    archive = store.archive_path(part)
    if not archive.exists():
        try:
            limit = LIMIT_BYTES if part.size_bytes is None else 2 * part.size_bytes + (64 << 20)  # an approximate size
            download(part.url, archive, limit=limit, progress=progress, cancel=cancel)
        except ModelError as error:
            error.remedy = f"{error.remedy} {store.how_to_bring(card)}"
            raise
    known = {"published": part.digest, "first downloaded": store.recorded("archives").get(part.url)}
    for when, digest in known.items():
        if digest and file_digest(archive, algorithm=digest.partition(":")[0]) != digest:
            archive.unlink()
            raise ModelError(
                f"The file from {part.url} is not the one that was {when} ({digest}); it was deleted.",
                "Download it again. If this happens again, ask the publisher before you use it.",
                code="model.digest",
            )


def _unpack(card: ModelCard, part: Part, staged: Path, store: Store, progress: Progress, cancel: Cancel) -> None:
    archive = store.archive_path(part)
    elsewhere = folder_of(part)
    if elsewhere is not None and not archive.exists():
        progress("copy", 0.0, str(elsewhere))
        return place(card, part, elsewhere, staged)
    unpacked = staged / ".unpacked"
    try:
        extract(archive, unpacked, progress=progress, cancel=cancel)
        with told_as(unpacked, archive):
            place(card, part, unpacked, staged)
    except ModelError:
        archive.unlink()  # or it would be used again next time
        raise
    shutil.rmtree(unpacked)
    store.record("archives", part.url, file_digest(archive))
