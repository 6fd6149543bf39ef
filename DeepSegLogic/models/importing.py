"""Models that come as files: other labs' trainings, archives fetched elsewhere, and our own export."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from ..errors import ModelError, UsageError
from ..io.atomic import atomic_path
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from . import monai_bundle, nninteractive, torchscript
from .archive import extract
from .card import CARD_FILE, PROMPTED, ModelCard, Part
from .catalogue import catalogue
from .digests import folder_digests
from .fetch import download_model
from .folders import place, recognise
from .nnunet import card_from_results
from .registry import bundled_models
from .store import Store, check_id, verify

EXPORT_SUFFIX = ".deepseg.zip"
_CARDS = {  # what makes a card for a folder without one
    "monai": monai_bundle.card_from_bundle,
    "nnunet": card_from_results,
    PROMPTED: nninteractive.card_from_folder,
}


def import_model(
    path: Path,
    *,
    changes: dict | None = None,
    replace_installed: bool = False,
    store: Store | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> ModelCard:
    """Install a model from a file or folder.

    Args:
        path: what :func:`export_model` wrote; an nnU-Net v2 results folder, a MONAI bundle or an nnInteractive
            model, or a zip file of one; an archive of the catalogue that was downloaded elsewhere; or a TorchScript
            or ``state_dict`` file, whose card says the rest (see :mod:`DeepSegLogic.models.torchscript`).
        changes: card fields that the files do not say or say wrongly, e.g. ``{"licence": "CC-BY-4.0"}``.
        replace_installed: take the place of an installed model of the same id.

    Raises:
        ModelError: the file is broken, not to be trusted, no model, or one of several that belong together.
        UsageError: the id cannot be one, or belongs to another model.
    """
    store = store or Store()
    path = Path(path)
    if not path.exists():
        raise ModelError(f"There is no file or folder {path}.", "Check the path.", code="model.missing")
    if known := _of_catalogue(path):
        return _take_archive(*known, path, store, progress, cancel)
    with store.lock("import", progress, cancel), store.staging("import") as staged:
        staged, unpacked = staged / "model", staged / "unpacked"
        staged.mkdir()
        if path.is_file() and zipfile.is_zipfile(path) and path.suffix.lower() == ".zip":
            extract(path, unpacked, progress=progress, cancel=cancel)
            card = _stage(unpacked, path.stem, changes or {}, staged)
        elif path.is_dir():
            card = _stage(path, path.name, changes or {}, staged)
        else:
            card = torchscript.stage(path, changes or {}, staged)
        check_id(card.id)
        if any(bundled.id == card.id for bundled in bundled_models()):
            raise UsageError(
                f"{card.id} is the model that comes with DeepSeg.",
                "Give this one another name with --id.",
                code="usage.model_exists",
            )
        with store.lock(card.id, progress, cancel):
            if store.folder(card.id) and not replace_installed:
                raise UsageError(
                    f"A model {card.id} is installed already.",
                    "Remove it first, replace it with --replace, or give this one another name with --id.",
                    code="usage.model_exists",
                )
            return store.install(card, staged)


def export_model(
    card: ModelCard, target: Path, progress: Progress = ignore_progress, cancel: Cancel = never_cancel
) -> Path:
    """Write a model with its card and the digests of its files to one file, for a machine without internet.

    Args:
        target: the file (``.zip``), or a folder, made if need be, in which it is called ``<id>.deepseg.zip``.

    Raises:
        ModelError: the model's files are not what was installed.
        OutputError: the file cannot be written.
    """
    if wrong := card.digests and verify(card, progress, cancel):
        raise ModelError(
            f"The model {card.id} was not exported: {' '.join(wrong)}", "Install it again.", code="model.corrupted"
        )
    target = Path(target)
    if target.is_dir() or target.suffix.lower() != ".zip":
        target = target / f"{card.id}{EXPORT_SUFFIX}"
    digests = card.digests or folder_digests(card.folder)
    text = json.dumps(replace(card, digests=digests).to_json(), indent=2, ensure_ascii=False)
    # Weights hardly compress, so they are stored as they are.
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr(f"{card.id}/{CARD_FILE}", text)
        for done, name in enumerate(sorted(digests)):
            check(cancel)
            progress("export", done / len(digests), name)
            zipped.write(card.folder / name, f"{card.id}/{name}")
    return target


def lacks(card: ModelCard) -> list[str]:
    """What a card should say and does not, in words."""
    missing = {
        "its licence": card.licence in ("", "unknown"),
        "whom to cite": not card.citation,
        "its modality": card.modality is None,
        "the names of its structures": not card.structures,
    }
    return [what for what, is_missing in missing.items() if is_missing]


def model_id(name: str) -> str:
    """A usable id from the name of a file, folder or data set."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "model"


def _of_catalogue(path: Path) -> tuple[ModelCard, Part] | None:
    for card in catalogue():
        for part in card.parts:
            if path.is_file() and path.name == part.url.rpartition("/")[2]:
                return card, part
    return None


def _take_archive(
    card: ModelCard, part: Part, path: Path, store: Store, progress: Progress, cancel: Cancel
) -> ModelCard:
    """Put an archive of the catalogue where a download would, and install if the others are there."""
    store.downloads.mkdir(parents=True, exist_ok=True)
    target = store.archive_path(part)
    if path.resolve() != target.resolve():
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
    missing = [p.url for p in card.parts if not store.archive_path(p).exists()]
    if missing:
        raise ModelError(
            f"{path.name} was taken in, but the model {card.id} also needs {', '.join(missing)}.",
            "Import these files too.",
            code="model.incomplete",
        )
    return download_model(card, store, progress, cancel)


def _stage(source: Path, name: str, changes: dict, staged: Path) -> ModelCard:
    """Copy the model found in ``source`` to ``staged``; returns its card with the changes made."""
    kind, root = recognise(source)
    if kind == "deepseg":
        card = ModelCard.read(root)
        if wrong := card.digests and verify(card):
            raise ModelError(
                f"{source.name} is damaged or was changed: {' '.join(wrong)}",
                "Export the model again.",
                code="model.digest",
            )
        shutil.copytree(root, staged, dirs_exist_ok=True)
    else:
        card = _CARDS[kind](root)
        card.id = model_id(card.title if kind == "nnunet" else name)
        place(card, Part(), root, staged)
    try:
        return ModelCard.from_json({**card.to_json(), **changes})
    except (TypeError, AttributeError) as error:
        raise ModelError(f"The card given cannot be used: {error}.", "Correct it.", code="model.card") from error
