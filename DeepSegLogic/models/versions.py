"""Earlier versions of a model in the store: whole copies in ``<root>/.versions/<id>/<version>``.

One version is installed, like any other model. Before another one takes its place, it is copied here.
"""

from __future__ import annotations

import shutil

from ..util.atomic_write import atomic_folder
from ..util.errors import ModelError
from ..util.file_names import is_file_name
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .card import ModelCard
from .files import CARD_FILE, model_files
from .recognise import copy
from .store import Store


def kept_versions(store: Store, model_id: str) -> list[ModelCard]:
    """The cards of all versions of a model, the installed one among them; those that cannot be used are left out."""
    found: dict[str, ModelCard] = {}
    folders = sorted(store.versions_folder(model_id).glob("[!.]*"))
    if (installed := store.folder(model_id)) is not None:
        folders.append(installed)
    for folder in folders:
        try:
            card = ModelCard.read(folder)
        except ModelError:
            continue
        if card.id == model_id:
            found[card.version] = card
    return sorted(found.values(), key=lambda c: (int(c.version) if c.version.isdecimal() else 0, c.version))


def keep_version(store: Store, model_id: str) -> None:
    """Copy the installed version of a model to its kept ones, if it is installed and not there yet.

    Raises:
        ModelError: its card or files cannot be used.
        OutputError: the store cannot be written.
    """
    card = store.find(model_id)
    if card is None:
        return
    if not is_file_name(card.version):
        raise ModelError(f"The version {card.version!r} of {card.id} cannot be kept.", "Correct its card.")
    place = store.versions_folder(model_id)
    with store.lock(model_id):
        if (place / card.version / CARD_FILE).is_file():
            return
        with atomic_folder(place) as temporary:
            copy(model_files(card.installed_folder), temporary / card.version)
            shutil.copyfile(card.installed_folder / CARD_FILE, temporary / card.version / CARD_FILE)


def use_version(
    store: Store,
    model_id: str,
    version: str,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """Install a kept version of a model in place of the present one, which is kept.

    Raises:
        ModelError: there is no such version, or its files have changed.
        OutputError: the store cannot be written.
    """
    from .import_export import import_model

    versions = {card.version: card for card in kept_versions(store, model_id)}
    if version not in versions:
        known = ", ".join(versions) or "none"
        raise ModelError(
            f"There is no version {version} of the model {model_id}.",
            f"The versions of it on this machine: {known}.",
            code="model.versions",
        )
    keep_version(store, model_id)
    chosen = versions[version]
    if chosen.folder == store.folder(model_id):
        return chosen
    return import_model(chosen.installed_folder, replace_installed=True, store=store, progress=progress, cancel=cancel)
