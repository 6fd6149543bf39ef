"""The folder in which downloaded and imported models live.

Layout, readable by people and safe with several programs at once::

    <root>/<id>/card.json …      one model, whole: folders appear by one rename
    <root>/downloads/            archives on their way; those brought by hand are taken from here
    <root>/known.json            digests of archives by address, and of models that the user trusts
    <root>/.staging/, .locks/    models being installed, and who is at it
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import filelock

from ..errors import ModelError, UsageError
from ..io.atomic import atomic_path, cannot_write
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from .card import CARD_FILE, ModelCard, Part
from .digests import file_digest, folder_digests, model_files

_POLL_S = 0.2
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RESERVED = {"downloads", "import", "known"}  # folders and locks of the store itself


class Store:
    """A folder of models.

    Args:
        root: the folder; default ``DEEPSEG_MODELS``, else ``DeepSeg/models`` in the user's data folder.
    """

    def __init__(self, root: Path | None = None):
        self.root = Path(root or os.environ.get("DEEPSEG_MODELS") or _default_root()).expanduser()
        self.downloads = self.root / "downloads"

    def archive_path(self, part: Part) -> Path:
        """Where the zip file of a part lies before it is unpacked."""
        return self.downloads / unquote(urlsplit(part.url).path.rpartition("/")[2])

    def how_to_bring(self, card: ModelCard) -> str:
        """The sentence that says what to carry where if this machine cannot download."""
        files = " and ".join(p.url for p in card.parts)
        return (
            f"Without internet here: download {files} elsewhere and put {'it' if len(card.parts) == 1 else 'them'} "
            f"into {self.downloads}; or bring the file that `deepseg models export {card.id}` writes on a machine "
            "that has the model and give it to `deepseg models import`."
        )

    def installed(self) -> list[ModelCard]:
        """Cards of the models here, by id; those that cannot be read are left out, see :meth:`broken`."""
        return [card for card in self._cards() if isinstance(card, ModelCard)]

    def broken(self) -> list[ModelError]:
        """What is wrong with the models here whose cards cannot be read."""
        return [error for error in self._cards() if isinstance(error, ModelError)]

    def folder(self, model_id: str) -> Path | None:
        """Where the model of this id lies, or None."""
        folder = self.root / model_id
        return folder if _ID.fullmatch(model_id) and (folder / CARD_FILE).is_file() else None

    def find(self, model_id: str) -> ModelCard | None:
        """The model of this id, or None.

        Raises:
            ModelError: its card cannot be read.
        """
        folder = self.folder(model_id)
        return None if folder is None else ModelCard.read(folder)

    @contextmanager
    def lock(self, name: str, progress: Progress = ignore_progress, cancel: Cancel = never_cancel) -> Iterator[None]:
        """Keep other programs away from the model or file ``name`` meanwhile; waits for them first.

        Raises:
            OutputError: the store cannot be written.
            Cancelled: the user cancelled while waiting.
        """
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
                progress("wait", 0.0, f"Another program is working on {name}")
                check(cancel)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Yield an empty folder for a model's files; call :meth:`install` before leaving. Needs ``lock(name)``."""
        folder = self.root / ".staging" / name
        shutil.rmtree(folder, ignore_errors=True)  # of a program that was killed
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            raise cannot_write(folder, error) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def install(self, card: ModelCard, staged: Path) -> ModelCard:
        """Record the digests of the staged files and put the model in its place, all at once."""
        size = sum(f.stat().st_size for f in model_files(staged).values())
        card = replace(card, digests=folder_digests(staged), size_bytes=size)
        (staged / CARD_FILE).write_text(json.dumps(card.to_json(), indent=2, ensure_ascii=False), "utf-8")
        target = self.root / card.id
        if target.exists():
            self._discard(target)
        staged.rename(target)
        return ModelCard.read(target)

    def remove(self, model_id: str) -> int:
        """Delete a model, also one whose card cannot be read; returns the bytes freed.

        Raises:
            UsageError: that cannot be an id.
            ModelError: it is not installed.
            OutputError: it is in use.
        """
        check_id(model_id)
        with self.lock(model_id):
            folder = self.folder(model_id)
            if folder is None:
                raise ModelError(
                    f"There is no model {model_id} in {self.root}.",
                    "See `deepseg models list`.",
                    code="model.not_installed",
                )
            size = disk_use(folder)
            self._discard(folder)
        return size

    def _cards(self) -> Iterator[ModelCard | ModelError]:
        for path in sorted(self.root.glob(f"[!.]*/{CARD_FILE}")):
            try:
                yield ModelCard.read(path.parent)
            except ModelError as error:
                yield error

    def _discard(self, folder: Path) -> None:
        """Take a model away by one rename, then delete it."""
        bin_ = self.root / ".staging" / f"{folder.name}.removed"
        shutil.rmtree(bin_, ignore_errors=True)
        try:
            bin_.parent.mkdir(exist_ok=True)
            folder.rename(bin_)
        except OSError as error:  # on Windows, while another program has one of its files open
            raise cannot_write(folder, error) from error
        shutil.rmtree(bin_, ignore_errors=True)

    def recorded(self, kind: str) -> dict[str, str]:
        """What ``known.json`` holds under ``"archives"`` (digest by address) or ``"trusted"`` (title by digest)."""
        try:
            return json.loads((self.root / "known.json").read_text("utf-8")).get(kind, {})
        except (FileNotFoundError, ValueError):
            return {}

    def record(self, kind: str, key: str, value: str) -> None:
        """Add to ``known.json``."""
        with self.lock("known"):
            path = self.root / "known.json"
            known = {k: self.recorded(k) for k in ("archives", "trusted")}
            known[kind][key] = value
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(known, indent=2, ensure_ascii=False), "utf-8")


def check_id(model_id: str) -> None:
    """Raise :class:`UsageError` for what cannot be the id of a model, which names its folder and its lock."""
    if not _ID.fullmatch(model_id) or model_id.lower() in _RESERVED:
        raise UsageError(
            f"{model_id!r} cannot be the id of a model.",
            "Use letters, digits, '_', '-' and '.', beginning with a letter or digit.",
            code="usage.model_id",
        )


def verify(card: ModelCard, progress: Progress = ignore_progress, cancel: Cancel = never_cancel) -> list[str]:
    """What is wrong with a model's files, one sentence each; empty when all are as recorded."""
    if not card.digests:
        return [f"No digests were recorded for {card.id}, so nothing can be said."]
    files = model_files(card.folder)
    wrong = [f"{name} is missing." for name in card.digests if name not in files]
    for done, (name, file) in enumerate(files.items()):
        check(cancel)
        progress("verify", done / len(files), name)
        if name not in card.digests:
            wrong.append(f"{name} was not part of the model.")
        elif file_digest(file) != card.digests[name]:
            wrong.append(f"{name} has changed.")
    return wrong


def disk_use(folder: Path) -> int:
    """Bytes of all files under ``folder``."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def _default_root() -> Path:
    import platformdirs

    return platformdirs.user_data_path("DeepSeg", False) / "models"
