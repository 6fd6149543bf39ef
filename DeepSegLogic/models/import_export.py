"""Import and export of models as files."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..util.atomic_write import atomic_path
from ..util.digests import file_digest
from ..util.errors import ModelError, UsageError, told_as
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.safe_zip import extract
from .backends import backends, torchscript
from .card import ModelCard, Part, check_id, id_from
from .catalogue import catalogue
from .files import CARD_FILE, file_digests, model_files
from .find import is_bundled
from .install import download_model
from .recognise import DEEPSEG, copy, files_of, place, recognise
from .store import Store, verify
from .totalsegmentator import data_set

EXPORT_SUFFIX = ".deepseg.zip"


def import_model(
    path: Path,
    *,
    changes: Mapping[str, Any] | None = None,
    replace_installed: bool = False,
    store: Store | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """Install a model from a file or folder.

    Args:
        path: an export of :func:`export_model`; an nnU-Net v2 results folder, a MONAI bundle or an nnInteractive
            model, or a zip file of one; an archive of the catalogue that was downloaded elsewhere; or a TorchScript or
            ``state_dict`` file with a card (see :mod:`DeepSegLogic.models.backends.torchscript`).
        changes: card fields that the files lack or have wrong, e.g. ``{"licence": "CC-BY-4.0"}``.
        replace_installed: replace an installed model of the same id.

    Raises:
        ModelError: the file is broken, is not a model, would run code on reading, or is one of several that belong
            together.
        UsageError: the id cannot be used, or belongs to another model.
        OutputError: the store cannot be written.
    """
    store = store or Store()
    path = Path(path)
    if not path.exists():
        raise ModelError(f"There is no file or folder {path}.", "Check the path.", code="model.missing")
    if known := _of_catalogue(path):
        return _take_archive(*known, path, store, progress, cancel)
    changes = changes or {}
    if isinstance(changes.get("id"), str):
        check_id(changes["id"])
    with store.lock("import", progress, cancel), store.staging("import") as staged:
        staged, unpacked = staged / "model", staged / "unpacked"
        staged.mkdir()
        if path.is_file() and zipfile.is_zipfile(path) and path.suffix.lower() == ".zip":
            extract(path, unpacked, progress=progress, cancel=cancel)
            with told_as(unpacked, path):
                card = _stage(unpacked, path.stem, changes, staged)
        elif path.is_dir():
            card = _stage(path, path.name, changes, staged)
        else:
            card = torchscript.stage(path, changes, staged)
        check_id(card.id)
        if is_bundled(card.id):
            raise UsageError(
                f"The id {card.id} belongs to the model that comes with DeepSeg.",
                "Import this model under another id.",
                code="usage.model_exists",
                action="rename_model",
            )
        with store.lock(card.id, progress, cancel):
            if store.folder(card.id) and not replace_installed:
                raise UsageError(
                    f"A model {card.id} is installed already.",
                    "Replace it, or import this one under another id.",
                    code="usage.model_exists",
                    action="replace_model",
                )
            return store.install(card, staged)


def export_model(
    card: ModelCard, target: Path, progress: Progress = ignore_progress, cancel: Cancel = never_cancel
) -> Path:
    """Write a model with its card and the digests of its files to one zip file, for a machine without internet.

    Args:
        target: the file (``.zip``), or a folder, made if need be, in which the file is called ``<id>.deepseg.zip``.

    Returns:
        The file.

    Raises:
        ModelError: the model's files have changed since the installation, or one is a link.
        UsageError: its id cannot be a file name.
        OutputError: the file cannot be written.
    """
    check_id(card.id)
    if wrong := card.digests and verify(card, progress, cancel):
        raise ModelError(
            f"The model {card.id} was not exported: {' '.join(wrong)}", "Install it again.", code="model.corrupted"
        )
    target = Path(target)
    if target.is_dir() or target.suffix.lower() != ".zip":
        target = target / f"{card.id}{EXPORT_SUFFIX}"
    files = model_files(card.installed_folder) if card.digests else files_of(card)
    digests = card.digests or file_digests(files)
    text = json.dumps(replace(card, digests=digests).to_json(), indent=2, ensure_ascii=False)
    # Weights hardly compress, so they are stored as they are.
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", strict_timestamps=False) as zipped:
        zipped.writestr(f"{card.id}/{CARD_FILE}", text)
        for done, name in enumerate(sorted(digests)):
            check(cancel)
            progress("export", done / len(digests), name)
            zipped.write(files[name], f"{card.id}/{name}")
    progress("export", 1.0, target.name)
    return target


NO_LICENCE = "its licence"


def lacks(card: ModelCard) -> list[str]:
    """What is missing in a card, in words."""
    missing = {
        NO_LICENCE: card.licence in ("", "unknown"),
        "whom to cite": not card.citation,
        "its modality": card.modality is None,
        "the names of its structures": not card.structures,
    }
    return [what for what, is_missing in missing.items() if is_missing]


def _of_catalogue(path: Path) -> tuple[ModelCard, Part] | None:
    """The model and part that a zip file is the archive of, by its name, and by its digest where one is published:
    some names, e.g. ``weights.zip``, are common."""

    def is_archive_of(part: Part) -> bool:
        if path.name != part.url.rpartition("/")[2] or not path.is_file():
            return False
        return not part.digest or file_digest(path, algorithm=part.digest.partition(":")[0]) == part.digest

    return next(((card, part) for card in catalogue() for part in card.parts if is_archive_of(part)), None)


def _whose_data_set(folder: Path, structures: int) -> ModelCard | None:
    """The card of the catalogue for a folder that is called as TotalSegmentator calls that of its only network, and
    whose network marks as many structures."""
    names = (folder.name, folder.parent.name)
    cards = [c for c in catalogue() if len(c.parts) == 1 and data_set(c.parts[0]) in names]
    return next((c for c in cards if len(c.structures) + c.parts[0].auxiliary == structures), None)


def _take_archive(
    card: ModelCard, part: Part, path: Path, store: Store, progress: Progress, cancel: Cancel
) -> ModelCard:
    """Put an archive of the catalogue into the downloads folder, and install the model if no other is missing."""
    store.downloads.mkdir(parents=True, exist_ok=True)
    target = store.archive_path(part)
    if path.resolve() != target.resolve():
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
    missing = [p.url for p in card.parts if not store.archive_path(p).exists()]
    if missing:
        raise ModelError(
            f"{path.name} was imported, but the model {card.id} also needs {', '.join(missing)}.",
            "Import these files too.",
            code="model.incomplete",
            action="import_model",
        )
    return download_model(card, store, progress, cancel)


def _stage(source: Path, name: str, changes: Mapping[str, Any], staged: Path) -> ModelCard:
    """Copy the model in ``source`` to ``staged``; returns its card with the changes."""
    kind, root = recognise(source)
    if kind == DEEPSEG:
        card = ModelCard.read(root)
        if wrong := card.digests and verify(card):
            raise ModelError(
                f"{source} is damaged or was changed: {' '.join(wrong)}",
                "Export the model again.",
                code="model.digest",
            )
        copy(model_files(root), staged)
    else:
        card, part = backends()[kind].make_card(root), Part()
        known = _whose_data_set(root, len(card.structures))
        if known is not None:
            card, part = known, known.parts[0]
        else:
            card.id = id_from(backends()[kind].name_of(card, name))
        place(card, part, root, staged)
    try:
        return ModelCard.from_json({**card.to_json(), **changes})
    except (ValueError, TypeError) as error:
        raise ModelError(f"The given card cannot be used: {error}.", "Correct it.", code="model.card") from error
