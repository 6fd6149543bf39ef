"""From the catalogue to an installed model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..errors import Cancelled, ModelError
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from .archive import extract
from .card import ModelCard, Part
from .catalogue import in_catalogue
from .digests import file_digest
from .download import check_free_space, download
from .folders import place
from .registry import find_model
from .store import Store


def ensure_model(
    name: str | Path,
    confirm: Callable[[ModelCard], bool],
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """The model of this id or folder, downloaded first if the catalogue has it and the user agrees.

    Args:
        confirm: shown the card (title, licence, size) of a model that must be downloaded; False declines.

    Raises:
        ModelError: no such model, or it cannot be had; the remedy says which file to bring where.
        Cancelled: the user declined or cancelled.
    """
    try:
        return find_model(name)
    except ModelError as error:
        card = in_catalogue(str(name))
        if card is None or error.code != "model.not_installed":
            raise
    if not confirm(card):
        raise Cancelled(f"The model {card.id} was not downloaded.")
    return download_model(card, progress=progress, cancel=cancel)


def download_model(
    card: ModelCard,
    store: Store | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """Download, check and install a model of the catalogue; what has come before is not fetched again.

    Archives that were put into the store's ``downloads`` folder by hand are taken from there.

    Raises:
        ModelError, ResourceError, Cancelled: as :func:`~DeepSegLogic.models.download.download`.
    """
    store = store or Store()
    archives = sorted({store.archive_path(part).name for part in card.parts})  # two models may share one
    with ExitStack() as locks:
        for name in (card.id, *archives):
            locks.enter_context(store.lock(name, progress, cancel))
        if installed := store.find(card.id):
            return installed  # by another program while this one waited
        store.downloads.mkdir(parents=True, exist_ok=True)
        missing = [p for p in card.parts if not store.archive_path(p).exists()]
        # Room for the archive and, beside it, for what comes out of it.
        check_free_space(store.downloads, 2 * sum(p.size_bytes or 0 for p in missing))
        for number, part in enumerate(card.parts):
            _bring(card, part, store, _share(progress, number, len(card.parts)), cancel)
        with store.staging(card.id) as staged:
            for part in card.parts:
                _unpack(card, part, staged, store, progress, cancel)
            check(cancel)
            installed = store.install(card, staged)
        for part in card.parts:
            store.archive_path(part).unlink(missing_ok=True)
        return installed


def _share(progress: Progress, number: int, count: int) -> Progress:
    return lambda stage, fraction, message: progress(stage, (number + fraction) / count, message)


def _bring(card: ModelCard, part: Part, store: Store, progress: Progress, cancel: Cancel) -> None:
    """The part's archive in the downloads folder, with the digest that the catalogue or the first time says."""
    archive = store.archive_path(part)
    if not archive.exists():
        try:
            download(part.url, archive, progress=progress, cancel=cancel)
        except ModelError as error:
            error.remedy = f"{error.remedy} {store.how_to_bring(card)}"
            raise
    known = {"published": part.digest, "first downloaded": store.recorded("archives").get(part.url)}
    for when, digest in known.items():
        if digest and file_digest(archive, algorithm=digest.partition(":")[0]) != digest:
            archive.unlink()
            raise ModelError(
                f"The file of {part.url} is not the one that was {when} ({digest}); it was deleted.",
                "Get it again; if it stays so, ask the publisher before you use it.",
                code="model.digest",
            )


def _unpack(card: ModelCard, part: Part, staged: Path, store: Store, progress: Progress, cancel: Cancel) -> None:
    archive = store.archive_path(part)
    unpacked = staged / ".unpacked"
    try:
        extract(archive, unpacked, progress=progress, cancel=cancel)
        place(card, part, unpacked, staged)
    except ModelError:
        archive.unlink()  # or every later try would meet the same broken file
        raise
    shutil.rmtree(unpacked)
    store.record("archives", part.url, file_digest(archive))
