"""The folder of downloaded and imported models, safe to use by several programs at once.

::

    <root>/<id>/card.json …      one complete model: its folder appears by one rename
    <root>/downloads/            archives being downloaded, and those that the user puts there
    <root>/known.json            digests of archives by address, and of the models that the user trusts
    <root>/.versions/<id>/       earlier versions of a model, see :mod:`.versions`
    <root>/.staging/, .locks/    models being installed or removed, and the locks on them
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..util.atomic_write import atomic_path, cannot_write
from ..util.digests import SHA256, file_digest
from ..util.errors import ModelError
from ..util.file_names import is_file_name
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.staging import exchange, flush, move, sweep
from .card import ModelCard, Part, check_id
from .card_files import read_card, read_cards
from .files import CARD_FILE, folder_digests, model_files, read_json

log = logging.getLogger(__name__)
_POLL_S = 0.2
_RECORDS = ("archives", "trusted")


class Store:
    """A folder of models.

    Args:
        root: the folder; by default ``DEEPSEG_MODELS``, else ``DeepSeg/models`` in the user's data folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(root or os.environ.get("DEEPSEG_MODELS") or _default_root()).expanduser()
        self.downloads = self.root / "downloads"
        self._known_file = self.root / "known.json"

    def archive_path(self, part: Part) -> Path:
        """The place of a part's zip file before it is unpacked.

        Raises:
            ModelError: its address does not end in a file name.
        """
        name = unquote(urlsplit(part.url).path.rpartition("/")[2])
        if not is_file_name(name):
            raise ModelError(
                f"The address {part.url} does not end in a file name.", "Correct it.", code="model.address"
            )
        return self.downloads / name

    def how_to_bring(self, card: ModelCard) -> str:
        """How to get the model onto a machine without internet, in words."""
        files = " and ".join(p.url for p in card.parts)
        return (
            f"Without internet: download {files} elsewhere and put {'it' if len(card.parts) == 1 else 'them'} into "
            f"{self.downloads}, or export {card.id} on a machine that has it and import that file here."
        )

    def installed(self) -> list[ModelCard]:
        """Cards of the installed models by id, without those that cannot be used; see :meth:`broken`."""
        return [card for _, card in self.entries() if isinstance(card, ModelCard)]

    def broken(self) -> list[ModelError]:
        """The errors of the installed models whose cards cannot be used."""
        return [error for _, error in self.entries() if isinstance(error, ModelError)]

    def entries(self) -> list[tuple[str, ModelCard | ModelError]]:
        """The installed models: name of the folder, and the card or its error."""
        return read_cards(self.root)

    def folder(self, model_id: str) -> Path | None:
        """The folder of the model of this id; None if it is not installed."""
        folder = self.root / model_id
        return folder if is_file_name(model_id) and os.path.lexists(folder / CARD_FILE) else None

    def versions_folder(self, model_id: str) -> Path:
        """Where the earlier versions of the model of this id are; there need not be any."""
        return self.root / ".versions" / model_id

    def find(self, model_id: str) -> ModelCard | None:
        """The model of this id; None if it is not installed.

        Raises:
            ModelError: its card cannot be used.
        """
        folder = self.folder(model_id)
        return None if folder is None else read_card(folder)

    @contextmanager
    def lock(self, name: str, progress: Progress = ignore_progress, cancel: Cancel = never_cancel) -> Iterator[None]:
        """Lock the model or file ``name`` against other programs; waits while another one has the lock.

        Raises:
            OutputError: the store cannot be written.
            Cancelled: the user cancelled while waiting.
        """
        import filelock  # takes longer than the rest of the module

        folder = self.root / ".locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.root, error) from error
        lock = filelock.FileLock(folder / f"{name}.lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_POLL_S)
            except filelock.Timeout:
                progress("wait", 0.0, f"Waiting for another program that uses {name}")
                check(cancel)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """An empty folder for a model's files; :meth:`install` must be called in its context. Needs ``lock(name)``."""
        folder = self.root / ".staging" / name
        for sentence in self.sweep(name):
            log.warning(sentence)
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            raise cannot_write(folder, error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, card: ModelCard, staged: Path) -> ModelCard:
        """Record the digests of the staged files and move the model to its place in one step.

        Raises:
            UsageError: its id cannot be used.
            OutputError: the store cannot be written.
        """
        check_id(card.id)
        size = sum(f.stat().st_size for f in model_files(staged).values())
        card = replace(card, digests=folder_digests(staged), size_bytes=size)
        (staged / CARD_FILE).write_text(json.dumps(card.to_json(), indent=2, ensure_ascii=False), "utf-8")
        flush(staged)
        target = self.root / card.id
        if not (target.exists() and exchange(staged, target)):  # exchange: now the old model is the staged one
            if target.exists():
                self._discard(target)
            move(staged, target)
        flush(self.root, deep=False)
        return read_card(target)

    def remove(self, model_id: str) -> int:
        """Delete a model with its earlier versions, even if its card cannot be used; returns the bytes freed.

        Raises:
            UsageError: ``model_id`` cannot be an id.
            ModelError: it is not installed.
            OutputError: it is in use.
        """
        check_id(model_id)
        with self.lock(model_id):
            folder = self.folder(model_id)
            if folder is None:
                raise ModelError(
                    f"There is no model {model_id} in {self.root}.",
                    "Choose an installed model.",
                    code="model.not_installed",
                    action="choose_model",
                )
            earlier = self.versions_folder(model_id)
            size = disk_use(folder) + disk_use(earlier)
            self._discard(folder)
            shutil.rmtree(earlier, ignore_errors=True)
        return size

    def _discard(self, folder: Path) -> None:
        """Move a model out of the way in one step, then delete it."""
        bin_ = self.root / ".staging" / f"{folder.name}.removed"
        shutil.rmtree(bin_, ignore_errors=True)
        try:
            bin_.parent.mkdir(exist_ok=True)
            move(folder, bin_)
        except OSError as error:  # on Windows, while another program has one of its files open
            raise cannot_write(folder, error) from error
        shutil.rmtree(bin_, ignore_errors=True)

    def sweep(self, held: str = "") -> list[str]:
        """Delete what killed programs left behind (:func:`~DeepSegLogic.util.staging.sweep`).

        Args:
            held: name of the lock that the caller has.

        Returns:
            A sentence for each thing deleted.
        """
        import filelock

        swept = sweep(self.root)
        for left in (self.root / ".staging").glob("*"):
            name = left.name.removesuffix(".removed")
            with suppress(filelock.Timeout, OSError), ExitStack() as kept:
                if name != held:
                    kept.enter_context(filelock.FileLock(self.root / ".locks" / f"{name}.lock").acquire(timeout=0))
                shutil.rmtree(left)
                swept.append(f"An interrupted run left files of the model {name}; they were removed.")
        return swept

    def recorded(self, kind: str) -> dict[str, str]:
        """The entries of ``known.json``: ``"archives"`` (digest by address) or ``"trusted"`` (title by digest); empty
        if the file cannot be used."""
        try:
            return self._records()[kind]
        except ModelError:
            return {}

    def record(self, kind: str, key: str, value: str) -> None:
        """Add an entry to ``known.json``. A file that cannot be used is kept as ``known.damaged.json``."""
        with self.lock("known"):
            try:
                known = self._records()
            except ModelError:
                move(self._known_file, self.root / "known.damaged.json")
                known = {k: {} for k in _RECORDS}
            known[kind][key] = value
            with atomic_path(self._known_file) as temporary:
                temporary.write_text(json.dumps(known, indent=2, ensure_ascii=False), "utf-8")

    def check_records(self) -> None:
        """Raise :class:`ModelError` if ``known.json`` cannot be used, so that no model is trusted."""
        self._records()

    def _records(self) -> dict[str, dict[str, str]]:
        try:
            known = read_json(self._known_file)
            if not isinstance(known, dict):
                raise ValueError("it is not a JSON object")
            for kind in _RECORDS:
                values = known.setdefault(kind, {})
                if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
                    raise ValueError(f'"{kind}" does not map names to texts')
            if not all(map(SHA256.fullmatch, known["archives"].values())):
                raise ValueError('"archives" contains a value that is not a digest')
            return {kind: known[kind] for kind in _RECORDS}
        except (FileNotFoundError, NotADirectoryError):
            return {kind: {} for kind in _RECORDS}
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{self._known_file} cannot be used: {error}. No model is trusted, and downloads are not compared with "
                "earlier ones.",
                "Correct it, or delete it and trust your models again.",
                code="model.known",
            ) from error


def verify(card: ModelCard, progress: Progress = ignore_progress, cancel: Cancel = never_cancel) -> list[str]:
    """The differences between a model's files and those that were installed, one sentence each."""
    if not card.digests:
        return [f"No digests were recorded for {card.id}, so its files cannot be checked."]
    try:
        files = model_files(card.installed_folder)
    except (ModelError, OSError) as error:
        return [str(error)]
    wrong = [f"{name} is missing." for name in card.digests if name not in files]
    for done, (name, file) in enumerate(files.items()):
        check(cancel)
        progress("verify", done / len(files), name)
        if name not in card.digests:
            wrong.append(f"{name} was not part of the model.")
            continue
        try:
            if file_digest(file) != card.digests[name]:
                wrong.append(f"{name} has changed.")
        except OSError:
            wrong.append(f"{name} cannot be read.")
    progress("verify", 1.0, card.id)
    return wrong


def disk_use(folder: Path) -> int:
    """Bytes of all files in a folder tree."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def _default_root() -> Path:
    import platformdirs

    return platformdirs.user_data_path("DeepSeg", False) / "models"
